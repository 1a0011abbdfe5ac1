// A gateway with a proxy in front of it, as docs/behind-a-proxy.md says or otherwise, and what
// clients of the proxy do.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { start } from '../../node/lib/gateway.mjs';
import { Peer } from '../../node/lib/peer.mjs';
import { within } from '../../node/lib/wait.mjs';
import { Socket } from '../../node/lib/websocket.mjs';
import { caddyConfig, freePort, haproxyConfig, nginxConfig, startProxy } from './proxy.mjs';

/** The name of the gateway in the documentation. */
const NAME = 'gw.example.com';
export const PAGE = await readFile(new URL('../../../../docs/behind-a-proxy.md', import.meta.url), 'utf8');
/** A folder with gw.pem and gw.key. */
const { CERTIFICATE } = process.env;

/** The block of the documentation in this language. */
function block(language) {
  const found = [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))];
  assert.equal(found.length, 1, `docs/behind-a-proxy.md has one configuration in ${language}`);
  return found[0][1];
}

/** What the documentation adds for a special case: the indented lines from one that holds `start` to the
 * next that is empty or of another. */
export function fragment(start) {
  const lines = PAGE.split('\n');
  const begin = lines.findIndex((line) => line.startsWith('    ') && line.includes(start));
  assert.ok(begin >= 0, `docs/behind-a-proxy.md shows ${start}`);
  const end = lines.findIndex((line, at) => at > begin && !line.startsWith('    '));
  return lines.slice(begin, end).map((line) => line.slice(4)).join('\n');
}

/** Replaces each in a text that must have it. */
export function replace(text, changes) {
  return changes.reduce((changed, [from, to]) => {
    assert.ok(changed.includes(from), `${JSON.stringify(from)} in:\n${text}`);
    return changed.replaceAll(from, to);
  }, text);
}

/** The gateway of the documentation on these ports, with more TOML at the end. `change` may change
 * what is documented. */
export function documentedGateway({ gateway, operations, plain, secure }, { end = '', change = (text) => text } = {}) {
  const config = replace(change(block('toml')), [
    ['127.0.0.1:8080', `127.0.0.1:${gateway}`],
    ['127.0.0.1:9100', `127.0.0.1:${operations}`],
    [`names = ["${NAME}"]`, `names = ["${NAME}:${plain}", "${NAME}:${secure}"]`],
  ]);
  return start(`${config.replace(`https://${NAME}`, `https://${NAME}:${secure}`)}\n${end}`);
}

/** A proxy of the documentation in front of a gateway on these ports. `change` may add to it. */
export async function documentedProxy(kind, { gateway, plain, secure }, change = (text) => text) {
  const file = (name) => join(CERTIFICATE, name);
  // Other files of tests run at the same time.
  const pem = file(`both-${process.pid}.pem`);
  await writeFile(pem, (await readFile(file('gw.pem'), 'utf8')) + (await readFile(file('gw.key'), 'utf8')));
  const config = {
    nginx: () =>
      nginxConfig({
        http: replace(change(block('nginx')), [
          ['127.0.0.1:8080', `127.0.0.1:${gateway}`],
          ['listen 80;', `listen 127.0.0.1:${plain};`],
          ['listen 443 ssl;', `listen 127.0.0.1:${secure} ssl;`],
          ['/etc/ssl/gw.pem', file('gw.pem')],
          ['/etc/ssl/gw.key', file('gw.key')],
        ]),
      }),
    haproxy: () =>
      replace(change(block('haproxy')), [
        ['127.0.0.1:8080', `127.0.0.1:${gateway}`],
        ['bind :80', `bind 127.0.0.1:${plain}`],
        ['bind :443', `bind 127.0.0.1:${secure}`],
        ['/etc/haproxy/gw.pem', pem],
      ]),
    // Caddy cannot fetch a certificate here.
    caddy: () => {
      const site = replace(change(block('caddyfile')), [['127.0.0.1:8080', `127.0.0.1:${gateway}`]]);
      const tls = `tls ${file('gw.pem')} ${file('gw.key')}`;
      return caddyConfig(
        replace(site, [[`${NAME} {`, `http://${NAME}:${plain} {\n    bind 127.0.0.1`]]) +
          replace(site, [[`${NAME} {`, `https://${NAME}:${secure} {\n    bind 127.0.0.1\n    ${tls}`]]),
      );
    },
  };
  return startProxy(kind, config[kind](), plain);
}

/** The plainest configuration of each that has something in front of a gateway. */
export function plainProxy(kind, port, gateway) {
  const config = {
    nginx: nginxConfig({ http: `server { listen 127.0.0.1:${port}; location / { proxy_pass http://127.0.0.1:${gateway}; } }` }),
    haproxy: haproxyConfig(`listen web\n    bind 127.0.0.1:${port}\n    server gw 127.0.0.1:${gateway}\n`),
    caddy: caddyConfig(`http://127.0.0.1:${port} {\n    reverse_proxy 127.0.0.1:${gateway}\n}`),
  };
  return startProxy(kind, config[kind], port);
}

export async function freePorts(...names) {
  const ports = {};
  for (const name of names) ports[name] = await freePort();
  return ports;
}

/** What clients find at a port: under the name of the documentation, or by address. */
export class Front {
  /** `from`: the address that the clients have. */
  constructor(port, { secure = false, name = `${NAME}:${port}`, from } = {}) {
    Object.assign(this, { port, secure, name, from });
    this.agent = new (secure ? https : http).Agent({ keepAlive: true });
  }

  /** The address of a page or a POST. */
  http(path) {
    return `${this.secure ? 'https' : 'http'}://${this.name}${path}`;
  }

  /** The origin of its pages. */
  get origin() {
    return new URL(this.http('/')).origin;
  }

  #options(url, headers) {
    const { host, hostname, pathname, search } = new URL(url, this.http('/'));
    return {
      host: '127.0.0.1',
      port: this.port,
      localAddress: this.from,
      path: pathname + search,
      servername: hostname,
      rejectUnauthorized: false,
      headers: { host, ...headers },
    };
  }

  /** A request; the address may be whole. */
  request(url, { method = 'GET', headers = {}, body } = {}) {
    const options = { ...this.#options(url.startsWith('/') ? this.http(url) : url, headers), method, agent: this.agent };
    const answer = new Promise((resolve, reject) => {
      const sent = (this.secure ? https : http).request(options, (response) => {
        const parts = [];
        response.on('data', (data) => parts.push(data));
        response.on('error', reject);
        response.on('end', () => {
          const { statusCode: status, headers } = response;
          resolve({ status, headers, text: Buffer.concat(parts).toString() });
        });
      });
      sent.on('error', reject);
      sent.end(body);
    });
    return within(10_000, `${method} ${url}`, answer);
  }

  /** The same, as `fetch` answers. */
  async fetch(url) {
    const { status, headers, text } = await this.request(url);
    return { status, url, headers: new Headers(headers), text: async () => text };
  }

  /** A WebSocket. */
  socket(path, protocols = [], { headers = {}, ...more } = {}) {
    const { path: target, ...options } = this.#options(this.http(path), { origin: this.origin, ...headers });
    const scheme = this.secure ? 'wss' : 'ws';
    return [`${scheme}://127.0.0.1:${this.port}${target}`, protocols, { ...options, ...more }];
  }

  open(path, ...more) {
    return Socket.open(...this.socket(path, ...more));
  }

  /** A session of @stomp/stompjs. */
  async stomp(t, path = '/messaging') {
    const webSocketFactory = () => new Socket(...this.socket(path, ['v12.stomp'])).ws;
    const peer = await Peer.open(undefined, { webSocketFactory });
    t.after(() => peer.client.deactivate({ force: true }));
    return peer;
  }
}
