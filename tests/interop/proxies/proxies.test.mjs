// nginx, HAProxy and Caddy in front of the gateway, as docs/behind-a-proxy.md configures them and
// in the plainest way: pages, WebSockets and POST work, and what is for operators stays inside.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from '../node/lib/gateway.mjs';
import { walk } from '../node/lib/pages.mjs';
import { unique } from '../node/lib/peer.mjs';
import { refusal } from '../node/lib/websocket.mjs';
import { documentedGateway, documentedProxy, fragment, freePorts, Front, PAGE, plainProxy, replace } from './lib/front.mjs';
import { freePort, startProxy, haproxyConfig, caddyConfig, nginxConfig } from './lib/proxy.mjs';

const KINDS = ['nginx', 'haproxy', 'caddy'];

/** The pages are whole, and known again. */
async function pages(front, path = '/') {
  const folder = front.http(path);
  const read = await walk(folder, folder, (url) => front.fetch(url));
  for (const url of read.keys()) {
    // Caddy asks for gzip by itself where the client accepts nothing.
    const headers = { 'accept-encoding': 'identity' };
    const got = await front.request(url, { headers });
    const head = await front.request(url, { method: 'HEAD', headers });
    assert.equal(head.status, 200, url);
    assert.equal(head.text, '');
    assert.equal(head.headers.etag, got.headers.etag);
    const known = await front.request(url, { headers: { ...headers, 'if-none-match': got.headers.etag } });
    assert.equal(known.status, 304, url);
    const coded = await front.request(url, { headers: { 'accept-encoding': 'br' } });
    if (/\.js$/.test(url) && got.text.length > 2000) assert.equal(coded.headers['content-encoding'], 'br', url);
  }
  const services = await front.fetch(`${folder}services.json`);
  return Object.fromEntries(
    Object.entries(JSON.parse(await services.text())).map(([kind, service]) => [kind, new URL(service, folder).pathname]),
  );
}

/** Large and small messages come back. */
async function echo(t, front, path = '/echo') {
  const socket = await front.open(path);
  t.after(() => socket.terminate());
  for (const size of [5, 126, 70_000, 3 << 20]) {
    const message = 'é'.repeat(size / 2);
    socket.send(message);
    assert.equal(await socket.next(15_000), message);
  }
  socket.ws.close(1000, 'done');
  assert.deepEqual(await socket.end(), [1000, 'done']);
}

/** A session of STOMP, and a POST that reaches it. */
async function publish(t, front, { broker = '/messaging', topics = '/topics', receiver = front } = {}) {
  const topic = unique('proxied');
  const peer = await receiver.stomp(t, broker);
  const subscription = await peer.subscribe(`/topic/${topic}`);
  const large = 'x'.repeat(900_000);
  for (const body of ['{"hello":1}', large]) {
    const posted = await front.request(`${topics}/${topic}`, { method: 'POST', body, headers: { 'content-type': 'text/plain' } });
    assert.equal(posted.status, 204, posted.text);
    assert.equal((await subscription.next()).body, body);
  }
  await peer.send(`/topic/${topic}`, 'by STOMP');
  assert.equal((await subscription.next()).body, 'by STOMP');
  await peer.close();
}

/** Metrics are for operators, health is for all. */
async function operations(front) {
  for (const path of ['/metrics', '/metrics/', '/metrics?a']) {
    for (const headers of [{}, { 'x-real-ip': '127.0.0.1' }, { 'x-forwarded-for': '127.0.0.1' }, { forwarded: 'for=127.0.0.1' }]) {
      const answer = await front.request(path, { headers });
      assert.equal(answer.status, 404, `${path} ${JSON.stringify(headers)}`);
      assert.doesNotMatch(answer.text, /passerelle_/);
    }
  }
  for (const path of ['/healthz', '/readyz']) assert.equal((await front.request(path)).status, 200, path);
}

for (const kind of KINDS) {
  test(`${kind} as documented`, async (t) => {
    const ports = await freePorts('gateway', 'operations', 'plain', 'secure');
    const gateway = await documentedGateway(ports);
    t.after(() => gateway.stop());
    const proxy = await documentedProxy(kind, ports);
    t.after(() => proxy.stop());

    for (const [scheme, front] of [
      ['http', new Front(ports.plain)],
      ['https', new Front(ports.secure, { secure: true })],
    ]) {
      await t.test(`pages by ${scheme}`, () => pages(front));
      await t.test(`echo by ${scheme}`, (t) => echo(t, front));
      await t.test(`STOMP and POST by ${scheme}`, (t) => publish(t, front));
      await t.test(`metrics and health by ${scheme}`, () => operations(front));
      await t.test(`pages of others by ${scheme}`, async () => {
        for (const origin of ['https://evil.example', 'null', `https://${front.name}.evil.example`]) {
          const refused = await refusal(...front.socket('/echo', [], { headers: { origin } }));
          assert.equal(refused.status, 403, origin);
          const posted = await front.request('/topics/a', { method: 'POST', body: 'x', headers: { origin } });
          assert.equal(posted.status, 403, origin);
        }
      });
      await t.test(`what is too large is refused by the gateway, by ${scheme}`, async () => {
        const posted = await front.request('/topics/a', { method: 'POST', body: 'x'.repeat(1_500_000) });
        assert.equal(posted.status, 413);
        assert.match(posted.text, /large/);
        assert.doesNotMatch(posted.text, /<html>/);
      });
    }

    await t.test('the listener for operators serves metrics', async () => {
      const inside = new Front(ports.operations, { name: `127.0.0.1:${ports.operations}` });
      const answer = await inside.request('/metrics');
      assert.equal(answer.status, 200);
      assert.match(answer.text, /^passerelle_/m);
    });
  });
}

test('the plainest configurations', async (t) => {
  const ports = await freePorts('gateway', 'operations');
  const gateway = await start(`[[listen]]
address = "127.0.0.1:${ports.gateway}"
[[listen]]
address = "127.0.0.1:${ports.operations}"
operations = true
`);
  t.after(() => gateway.stop());
  const direct = new Front(ports.gateway, { name: `127.0.0.1:${ports.gateway}` });
  for (const kind of KINDS) {
    await t.test(kind, async (t) => {
      const port = await freePort();
      const proxy = await plainProxy(kind, port, ports.gateway);
      t.after(() => proxy.stop());
      const front = new Front(port, { name: `127.0.0.1:${port}` });
      await t.test('pages', () => pages(front));
      await t.test('metrics and health', () => operations(front));
      if (kind === 'nginx') {
        // It speaks HTTP/1.0 to the gateway and passes on no upgrade.
        await t.test('POST', (t) => publish(t, front, { receiver: direct }));
        await t.test('no WebSocket, and why', async () => {
          const refused = await refusal(...front.socket('/echo'));
          assert.ok(refused.status >= 400 && refused.status < 500, `${refused.status}`);
          assert.match(refused.body, /WebSocket/i);
        });
      } else {
        await t.test('POST', (t) => publish(t, front));
        await t.test('echo', (t) => echo(t, front));
      }
    });
  }
  await t.test('nginx with a named upstream and no Host of its own: 421, but health is told', async (t) => {
    const port = await freePort();
    const http = `upstream back { server 127.0.0.1:${ports.gateway}; }
      server { listen 127.0.0.1:${port}; location / { proxy_pass http://back; } }`;
    const proxy = await startProxy('nginx', nginxConfig({ http }), port);
    t.after(() => proxy.stop());
    const front = new Front(port, { name: `127.0.0.1:${port}` });
    assert.equal((await front.request('/')).status, 421);
    assert.equal((await front.request('/metrics')).status, 421);
    assert.equal((await front.request('/healthz')).status, 200);
  });
});

/** What the documentation adds to have the gateway below /live. */
const BELOW = {
  nginx: (config) => config.replace(/    location \/ \{.*?\}/s, fragment('location /live/')),
  haproxy: (config) => config + `    ${/http-request replace-path \S+ \S+(?=`)/.exec(PAGE)[0]}\n`,
  caddy: (config) => {
    assert.match(PAGE, /`handle_path \/live\/\* \{ … \}` around `reverse_proxy`/);
    return replace(config, [['reverse_proxy', 'handle_path /live/* {\nreverse_proxy'], ['\n}\n', '\n}\n}\n']]);
  },
};

for (const kind of KINDS) {
  test(`${kind}, documented below a path`, async (t) => {
    const ports = await freePorts('gateway', 'operations', 'plain', 'secure');
    const gateway = await documentedGateway(ports);
    t.after(() => gateway.stop());
    const proxy = await documentedProxy(kind, ports, BELOW[kind]);
    t.after(() => proxy.stop());
    for (const front of [new Front(ports.plain), new Front(ports.secure, { secure: true })]) {
      const { broker, echo: path, topics } = await pages(front, '/live/');
      assert.equal(broker, '/live/messaging');
      await echo(t, front, path);
      await publish(t, front, { broker, topics });
      assert.equal((await front.request('/live/metrics')).status, 404);
    }
  });
}

/** Configurations that have the gateway below a path, which they take off or keep. */
const PREFIXED = {
  nginx: (port, gateway, from, to) =>
    nginxConfig({
      http: `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server {
        listen 127.0.0.1:${port};
        location ${from}/ {
          proxy_pass http://127.0.0.1:${gateway}${to}/;
          proxy_http_version 1.1;
          proxy_set_header Host $http_host;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
        }
      }`,
    }),
  haproxy: (port, gateway, from, to) =>
    haproxyConfig(`listen web
    bind 127.0.0.1:${port}
    http-request redirect location ${from}/ code 308 if { path ${from} }
    http-request return status 418 unless { path_beg ${from}/ }
    http-request replace-path ${from}/(.*) ${to}/\\1
    server gw 127.0.0.1:${gateway}
`),
  caddy: (port, gateway, from, to) =>
    caddyConfig(`http://127.0.0.1:${port} {
    redir ${from} ${from}/ 308
    ${to === from ? 'handle' : 'handle_path'} ${from}/* {
        reverse_proxy 127.0.0.1:${gateway}
    }
    respond 418
}`),
};

for (const [word, from, to, layout] of [
  ['strips', '/live', '', { ui: '/ui', base: '' }],
  ['strips several folders of', '/a/b', '', { ui: '/ui', base: '' }],
  ['keeps', '/live', '/live', { ui: '/live/ui', base: '/live' }],
]) {
  for (const kind of KINDS) {
    test(`${kind}, which ${word} a prefix`, async (t) => {
      const { ui, base } = layout;
      const ports = await freePorts('gateway', 'proxy');
      const services = [[ui, 'pages'], [`${base}/ws/messaging`, 'broker'], [`${base}/echo`, 'echo'], [`${base}/topics`, 'topics']];
      if (base === '') services.push(['/', 'pages']);
      const gateway = await start(
        `[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\n` +
          services.map(([path, type]) => `[[service]]\npath = "${path}"\ntype = "${type}"\n`).join(''),
      );
      t.after(() => gateway.stop());
      const proxy = await startProxy(kind, PREFIXED[kind](ports.proxy, ports.gateway, from, to), ports.proxy);
      t.after(() => proxy.stop());
      const front = new Front(ports.proxy, { name: `127.0.0.1:${ports.proxy}` });

      const outside = { broker: `${from}/ws/messaging`, echo: `${from}/echo`, topics: `${from}/topics` };
      assert.deepEqual(await pages(front, `${from}/ui/`), outside);
      if (base === '') assert.deepEqual(await pages(front, `${from}/`), outside);
      await echo(t, front, outside.echo);
      await publish(t, front, outside);
      // Without its slash, the folder of the pages leads to itself, wherever the proxy has it.
      const { status, headers } = await front.request(`${from}/ui`);
      assert.equal(status, 308);
      assert.equal(new URL(headers.location, front.http(`${from}/ui`)).pathname, `${from}/ui/`);
    });
  }
}
