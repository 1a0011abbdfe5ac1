// Whose connection or request it is: by the PROXY protocol and by headers, from proxies that are
// believed and from those that are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from '../node/lib/gateway.mjs';
import { Tcp } from '../node/lib/raw.mjs';
import { Inbox } from '../node/lib/wait.mjs';
import { documentedGateway, documentedProxy, fragment, freePorts, Front, plainProxy, replace } from './lib/front.mjs';
import { haproxyConfig, nginxConfig, startProxy } from './lib/proxy.mjs';

/** The client's address, which is not the proxy's. */
const CLIENT = '127.0.0.5';
const LOG = '[log]\nformat = "json"\n';

/** The peers of the connections that the gateway says are open. */
function opened(gateway) {
  const peers = new Inbox('a line of the log that says "open"');
  let rest = '';
  gateway.process.stderr.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      const { message, peer } = JSON.parse(line).fields ?? JSON.parse(line);
      if (message === 'open') peers.push(peer.replace(/:\d+$/, ''));
    }
  });
  return peers;
}

/** A WebSocket there and back. */
async function echo(front, headers) {
  const socket = await front.open('/echo', [], { headers });
  socket.send('hello');
  assert.equal(await socket.next(), 'hello');
  socket.terminate();
}

const FORGED = [
  {},
  { 'x-forwarded-for': '192.0.2.66' },
  { 'x-forwarded-for': '127.0.0.1' },
  { forwarded: 'for=192.0.2.66;proto=https' },
  { forwarded: 'for=192.0.2.66', 'x-forwarded-for': '192.0.2.67, 192.0.2.66' },
  { 'x-real-ip': '192.0.2.66' },
];

for (const kind of ['nginx', 'haproxy', 'caddy']) {
  test(`${kind} as documented tells who a client is, whatever the client says`, async (t) => {
    const ports = await freePorts('gateway', 'operations', 'plain', 'secure');
    // The scheme that the proxy says is believed too, so that no origin needs to be allowed.
    const [, listen] = /^(forwarded-from = \[.*?\])/m.exec(fragment('forwarded-from').trimStart());
    const change = (toml) => toml.replace(/^allow-origins.*$/m, '').replace(/^names/m, `${listen}\nnames`);
    const gateway = await documentedGateway(ports, { end: LOG, change });
    t.after(() => gateway.stop());
    const peers = opened(gateway);
    const proxy = await documentedProxy(kind, ports);
    t.after(() => proxy.stop());
    for (const front of [new Front(ports.plain, { from: CLIENT }), new Front(ports.secure, { secure: true, from: CLIENT })]) {
      for (const headers of FORGED) {
        await echo(front, headers);
        assert.equal(await peers.next(), CLIENT, JSON.stringify(headers));
      }
    }
  });
}

// The plainest configuration of nginx has no WebSockets.
for (const kind of ['haproxy', 'caddy']) {
  test(`${kind} that is not believed is who it is`, async (t) => {
    const ports = await freePorts('gateway', 'proxy');
    const gateway = await start(`${LOG}[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\nforwarded-from = ["10.0.0.0/8"]\n`);
    t.after(() => gateway.stop());
    const peers = opened(gateway);
    const proxy = await plainProxy(kind, ports.proxy, ports.gateway);
    t.after(() => proxy.stop());
    for (const headers of FORGED) {
      await echo(new Front(ports.proxy, { name: '127.0.0.1', from: CLIENT }), headers);
      assert.equal(await peers.next(), '127.0.0.1', JSON.stringify(headers));
    }
  });
}

const documented = (text, from, port, gateway) =>
  replace(text, [[from, from.replace(/:?61613/, ` 127.0.0.1:${port}`)], ['127.0.0.1:8081', `127.0.0.1:${gateway}`]]);
const SPEAKERS = [
  ['nginx, as documented', 'nginx', (port, gateway) =>
    nginxConfig({ stream: documented(/stream \{\n(.*)\n\}/s.exec(fragment('stream {'))[1], 'listen 61613', port, gateway) })],
  ['HAProxy, as documented', 'haproxy', (port, gateway) =>
    haproxyConfig(documented(`${fragment('listen stomp')}\n`, 'bind :61613', port, gateway))],
  ...[['1', 'send-proxy'], ['2', 'send-proxy-v2']].flatMap(([version, option]) => [
    [`HAProxy, TCP, version ${version}`, 'haproxy', (port, gateway) =>
      haproxyConfig(`listen any\n    mode tcp\n    bind 127.0.0.1:${port}\n    server gw 127.0.0.1:${gateway} ${option} check inter 100ms\n`)],
    [`HAProxy, HTTP, version ${version}`, 'haproxy', (port, gateway) =>
      haproxyConfig(`listen web\n    bind 127.0.0.1:${port}\n    option httpchk GET /readyz\n    server gw 127.0.0.1:${gateway} ${option} check inter 100ms\n`)],
  ]),
];

for (const [name, kind, configure] of SPEAKERS) {
  test(`PROXY protocol: ${name}`, async (t) => {
    const ports = await freePorts('gateway', 'proxy');
    const gateway = await start(`${LOG}[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\nproxy-protocol-from = ["127.0.0.1"]\n`);
    t.after(() => gateway.stop());
    const peers = opened(gateway);
    const proxy = await startProxy(kind, configure(ports.proxy, ports.gateway), ports.proxy);
    t.after(() => proxy.stop());
    const front = new Front(ports.proxy, { name: '127.0.0.1', from: CLIENT });
    for (let i = 0; i < 3; i += 1) {
      await echo(front);
      assert.equal(await peers.next(), CLIENT);
      // What a header says is not believed because a PROXY header is.
      await echo(front, { 'x-forwarded-for': '192.0.2.66' });
      assert.equal(await peers.next(), CLIENT);
      assert.equal((await front.request('/')).status, 200);
      assert.equal((await front.request('/topics/a', { method: 'POST', body: 'x' })).status, 204);
      assert.equal((await front.request('/metrics')).status, 404);
    }
    if (name.includes('HTTP')) return;
    const tcp = await Tcp.open({ port: ports.proxy, localAddress: CLIENT });
    t.after(() => tcp.destroy());
    assert.equal((await tcp.connect()).command, 'CONNECTED');
  });
}
