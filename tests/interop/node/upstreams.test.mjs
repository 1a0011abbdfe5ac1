// What a proxy connects to: servers with TLS, good and bad ones, and several of which some are down.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import tls from 'node:tls';
import { Authority } from './lib/certificates.mjs';
import { start } from './lib/gateway.mjs';
import { peers } from './lib/peer.mjs';
import { Inbox, pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

let authority;
let gateway;
const servers = [];
/** Ports of the servers, by name. */
const ports = {};
/** Connections to the servers as they come, by name: of those that are there to look at. */
const connections = { a: new Inbox('a connection'), b: new Inbox('a connection') };

async function listen(server, port = 0) {
  server.on('tlsClientError', () => {});
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  return server.address().port;
}

/** Sends back what it receives. */
const echo = (socket) => {
  socket.on('error', () => {});
  socket.pipe(socket);
};

before(async () => {
  authority = await Authority.create();
  const other = await Authority.create();
  const good = await authority.issue(['127.0.0.1']);
  const bad = {
    wrong: await authority.issue(['other.test', 'more.test']),
    expired: await authority.issue(['127.0.0.1'], { to: '20210101000000Z' }),
    early: await authority.issue(['127.0.0.1'], { from: '20480101000000Z' }),
    unknown: await other.issue(['127.0.0.1']),
  };
  await other.remove();
  ports.good = await listen(tls.createServer(good, echo));
  ports.old = await listen(tls.createServer({ ...good, maxVersion: 'TLSv1.2' }, echo));
  for (const [name, certificate] of Object.entries(bad)) ports[name] = await listen(tls.createServer(certificate, echo));
  ports.plain = await listen(net.createServer((socket) => socket.on('error', () => {}).write('220 no TLS here\r\n')));
  ports.ancient = await listen(tls.createServer({ ...good, ciphers: 'AES128-SHA', maxVersion: 'TLSv1.2' }, echo));
  ports.resets = await listen(net.createServer((socket) => socket.once('data', () => socket.resetAndDestroy())));
  ports.closes = await listen(net.createServer((socket) => socket.on('error', () => {}).once('data', () => socket.end())));
  ports.silent = await listen(net.createServer((socket) => socket.on('error', () => {}).resume()));
  for (const name of ['a', 'b']) {
    ports[name] = await listen(net.createServer((socket) => {
      echo(socket);
      connections[name].push(socket);
    }));
  }
  const proxy = (path, connect, more = '') =>
    `[[service]]\npath = "/${path}"\ntype = "proxy"\nconnect = ${JSON.stringify(connect)}\n${more}\n`;
  const at = (name, scheme = 'tls') => `${scheme}://127.0.0.1:${ports[name]}`;
  const ca = 'ca = "ca.pem"\n';
  gateway = await start(
    [
      '[log]\nformat = "json"\n',
      ...['good', 'old', 'wrong', 'expired', 'early', 'unknown', 'plain', 'ancient', 'resets', 'closes'].map((name) => proxy(name, at(name), ca)),
      proxy('silent', at('silent'), `${ca}connect-timeout = "500ms"`),
      proxy('named', at('wrong'), `${ca}server-name = "more.test"`),
      proxy('system', at('good')),
      proxy('refuses', 'tcp://127.0.0.1:1'),
      proxy('nameless', 'tcp://none.invalid:1'),
      // That may be ::1 as well, where nothing listens.
      proxy('localhost', `tcp://localhost:${ports.a}`),
      proxy('both', [at('a', 'tcp'), at('b', 'tcp')]),
      proxy('second', ['tcp://127.0.0.1:1', at('b', 'tcp')]),
      proxy('late', [at('silent'), at('good')], `${ca}connect-timeout = "1s"`),
    ].join('\n'),
    { files: { 'ca.pem': authority.pem } },
  );
  gateway.log = [];
  let rest = '';
  gateway.process.stderr.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) gateway.log.push(JSON.parse(line).fields ?? JSON.parse(line));
  });
});
after(async () => {
  await gateway?.stop();
  for (const server of servers) server.close();
  await authority?.remove();
});

const open = async (t, path, options) => {
  const socket = await Socket.open(gateway.ws(path), [], options);
  t.after(() => socket.terminate());
  return socket;
};

/** Lines of the log with this message, of a service; waits until there are some. */
async function logged(message, service) {
  for (const end = Date.now() + 5000; Date.now() < end; await pause(10)) {
    const lines = gateway.log.filter((line) => line.message === message && line.service === service);
    if (lines.length > 0) return lines;
  }
  throw new Error(`no line “${message}” of ${service}`);
}

/** A figure of an upstream. */
async function figure(name, service, upstream) {
  const text = await (await fetch(gateway.http('/metrics'))).text();
  const start = `passerelle_upstream_${name}{service="${service}",upstream="${upstream}"} `;
  return Number(text.split('\n').find((line) => line.startsWith(start)).slice(start.length));
}

test('bytes go through a server with TLS and back, large ones too', async (t) => {
  for (const path of ['/good', '/old', '/named']) {
    const socket = await open(t, path, { perMessageDeflate: false, maxPayload: 1 << 26 });
    socket.send('small');
    assert.equal((await socket.next()).toString(), 'small');
    const block = Buffer.alloc(1 << 20, 'x');
    for (let i = 0; i < 16; i += 1) socket.send(block);
    let bytes = 0;
    while (bytes < 16 << 20) bytes += (await socket.next(10_000)).length;
    assert.equal(bytes, 16 << 20);
    socket.ws.close();
    await socket.end();
  }
  assert.equal(await figure('up', '/good', `tls://127.0.0.1:${ports.good}`), 1);
});

test('a peer that does not read stops a server with TLS, and misses nothing', async (t) => {
  const socket = await open(t, '/good', { perMessageDeflate: false, maxPayload: 1 << 26 });
  socket.ws.pause();
  const block = Buffer.alloc(1 << 20, 'x');
  for (let i = 0; i < 32; i += 1) socket.send(block);
  await pause(300);
  socket.ws.resume();
  let bytes = 0;
  while (bytes < 32 << 20) bytes += (await socket.next(20_000)).length;
  assert.equal(bytes, 32 << 20);
});

const bad = {
  '/wrong': /^its certificate is not for 127\.0\.0\.1, but for other\.test, more\.test$/,
  '/expired': /^its certificate has expired$/,
  '/early': /^its certificate is not valid yet$/,
  '/unknown': /^its certificate is signed by none of the authorities that are trusted$/,
  '/system': /^its certificate is signed by none of the authorities that are trusted$/,
  '/plain': /^it does not speak TLS: /,
  '/ancient': /^it refuses the TLS handshake with the alert HandshakeFailure$/,
  '/resets': /^it reset the connection in the TLS handshake$/,
  '/closes': /^it closed the connection in the TLS handshake$/,
  '/silent': /^the TLS handshake takes longer than connect-timeout allows$/,
  '/refuses': /^cannot connect: Connection refused/,
  '/nameless': /^its name cannot be resolved: /,
};
for (const [path, why] of Object.entries(bad)) {
  test(`${path}: the peer is told that the upstream failed, the log why`, async (t) => {
    const before = gateway.log.length;
    for (let i = 0; i < 3; i += 1) {
      const socket = await open(t, path);
      assert.deepEqual(await socket.end(15_000), [1014, 'the upstream cannot be reached']);
    }
    const lines = (await logged('the upstream is down', path)).filter((line) => gateway.log.indexOf(line) >= before);
    assert.equal(lines.length, 1, 'once');
    assert.match(lines[0].error, why);
    assert.match(lines[0].upstream, /^t(cp|ls):\/\//);
    const closed = (await logged('closed', path)).at(-1);
    assert.equal(closed.detail, `${lines[0].upstream}: ${lines[0].error}`);
    assert.equal(await figure('up', path, lines[0].upstream), 0);
    assert.equal(await figure('connections_failed_total', path, lines[0].upstream), 3);
    assert.equal(await figure('connections_open', path, lines[0].upstream), 0);
  });
}

test('STOMP goes through to a broker with TLS', async (t) => {
  const { key, cert } = await authority.issue(['127.0.0.1']);
  const broker = await start(
    '[[listen]]\naddress = "127.0.0.1:0"\ntls = { certificate = "gw.pem", key = "gw.key" }\n[[service]]\npath = "/messaging"\ntype = "broker"\n',
    { files: { 'gw.pem': cert, 'gw.key': key } },
  );
  t.after(() => broker.stop());
  const front = await start(
    `[[service]]\npath = "/stomp"\ntype = "proxy"\nconnect = "tls://127.0.0.1:${broker.port}"\nca = "ca.pem"\n`,
    { files: { 'ca.pem': authority.pem } },
  );
  t.after(() => front.stop());
  const peer = await peers(t, () => front)({ path: '/stomp' });
  assert.equal(peer.socket.protocol, 'v12.stomp');
  const subscription = await peer.subscribe('/queue/orders', { ack: 'client-individual' });
  for (let i = 0; i < 100; i += 1) peer.publish('/queue/orders', `order ${i} ${'x'.repeat(i * 100)}`);
  for (let i = 0; i < 100; i += 1) {
    const message = await subscription.next();
    assert.equal(message.body, `order ${i} ${'x'.repeat(i * 100)}`);
    message.ack();
  }
  await peer.close();
});

test('all addresses of a name are tried', async (t) => {
  const socket = await open(t, '/localhost');
  socket.send('hello');
  assert.equal((await socket.next()).toString(), 'hello');
});

test('of several servers the one with the fewest connections is next', async (t) => {
  const sockets = [];
  for (let i = 0; i < 6; i += 1) {
    const socket = await open(t, '/both');
    socket.send(`${i}`);
    await socket.next();
    sockets.push(socket);
  }
  const upstreams = ['a', 'b'].map((name) => `tcp://127.0.0.1:${ports[name]}`);
  for (const upstream of upstreams) assert.equal(await figure('connections_open', '/both', upstream), 3);
  for (const socket of sockets) socket.ws.close();
  await Promise.all(sockets.map((socket) => socket.end()));
});

test('where one server is down the others serve, and it is used again once it is up', async (t) => {
  const [first, second] = ['tcp://127.0.0.1:1', `tcp://127.0.0.1:${ports.b}`];
  for (let i = 0; i < 10; i += 1) {
    const socket = await open(t, '/second');
    socket.send('hello');
    assert.equal((await socket.next()).toString(), 'hello');
  }
  assert.equal((await logged('the upstream is down', '/second')).length, 1);
  assert.equal(await figure('connections_open', '/second', second), 10);
  assert((await figure('connections_failed_total', '/second', first)) < 5, 'it is left out');
});

test('a server that is too slow leaves time for the next', async (t) => {
  const socket = await open(t, '/late');
  socket.send('hello');
  assert.equal((await socket.next()).toString(), 'hello');
});

test('a server that comes back is used again', async (t) => {
  const returning = net.createServer(echo);
  const port = await listen(returning);
  returning.close();
  const own = await start(
    `[log]\nformat = "json"\n[[service]]\npath = "/back"\ntype = "proxy"\nconnect = "tcp://127.0.0.1:${port}"\n`,
  );
  t.after(() => own.stop());
  let text = '';
  own.process.stderr.on('data', (data) => (text += data));
  const down = await Socket.open(own.ws('/back'));
  assert.deepEqual(await down.end(), [1014, 'the upstream cannot be reached']);
  await listen(net.createServer(echo), port);
  const up = await Socket.open(own.ws('/back'));
  t.after(() => up.terminate());
  up.send('hello');
  assert.equal((await up.next()).toString(), 'hello');
  await within(5000, 'a line of the log', (async () => {
    while (!text.includes('the upstream is up again')) await pause(10);
  })());
});
