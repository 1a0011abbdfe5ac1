// A proxy to WebSocket servers: npm's ws, with TLS and without, and servers that are none.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:https';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { Authority } from './lib/certificates.mjs';
import { start } from './lib/gateway.mjs';
import { Inbox, pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

let authority;
let gateway;
const servers = [];
/** `[socket, request]` of each connection to the server without TLS. */
const accepted = new Inbox('a connection to the upstream');
const log = [];

const reply = (status, ...fields) => [`HTTP/1.1 ${status} x`, ...fields, '', ''].join('\r\n');
const UPGRADE = ['Upgrade: websocket', 'Connection: Upgrade'];
/** What servers that are none reply, and what the log says of them. */
const bad = {
  forbidden: [reply(403), /^it replies with status 403 to the WebSocket handshake$/],
  ok: [reply(200, 'Content-Length: 0'), /^it replies with status 200 to/],
  elsewhere: [reply(301, 'Location: /'), /^it replies with status 301 to/],
  accept: [reply(101, ...UPGRADE, 'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='), /wrong Sec-WebSocket-Accept$/],
  other: ['220 mail.example.com\r\n', /is no HTTP\/1\.1$/],
  long: [`HTTP/1.1 101 x\r\na: ${'b'.repeat(20_000)}`, /has more than 16 KiB$/],
  half: ['HTTP/1.1 101 x\r\nUpgr', /^the WebSocket handshake takes longer than connect-timeout allows$/],
  closed: [null, /^the connection ended in the WebSocket handshake: /],
};

async function listen(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  servers.push(server);
  return server.address().port;
}

const echo = (socket) => socket.on('message', (data, binary) => socket.send(data, { binary }));

before(async () => {
  authority = await Authority.create();
  const options = { maxPayload: 1 << 26, perMessageDeflate: true };
  const plain = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  await once(plain, 'listening');
  servers.push(plain);
  plain.on('connection', (socket, request) => {
    socket.on('error', () => {});
    echo(socket);
    if (request.url === '/look') accepted.push([socket, request]);
  });
  const https = createServer(await authority.issue(['127.0.0.1']));
  new WebSocketServer({ server: https, ...options }).on('connection', echo);
  const port = plain.address().port;
  const proxy = (path, connect, more = '') => `[[service]]\npath = "/${path}"\ntype = "proxy"\nconnect = "${connect}"\n${more}\n`;
  const services = [
    proxy('plain', `ws://127.0.0.1:${port}/echo`),
    proxy('look', `ws://127.0.0.1:${port}/look`),
    proxy('secure', `wss://127.0.0.1:${await listen(https)}/echo?a=b`, 'ca = "ca.pem"'),
    proxy('pinged', `ws://127.0.0.1:${port}/look`, '[service.ping]\nchat = "200ms"'),
    proxy('small', `ws://127.0.0.1:${port}/look`, 'limits = { message-bytes-max = 1000 }'),
  ];
  for (const [name, [bytes]] of Object.entries(bad)) {
    const answer = (socket) => (bytes ? socket.write(bytes) : socket.end());
    const wrong = await listen(net.createServer((socket) => socket.on('error', () => {}).once('data', () => answer(socket))));
    services.push(proxy(name, `ws://127.0.0.1:${wrong}`, 'connect-timeout = "500ms"'));
  }
  gateway = await start(['[log]\nformat = "json"\n', ...services].join('\n'), { files: { 'ca.pem': authority.pem } });
  let rest = '';
  gateway.process.stderr.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) log.push(JSON.parse(line).fields ?? JSON.parse(line));
  });
});
after(async () => {
  await gateway?.stop();
  for (const server of servers) server.close();
  await authority?.remove();
});

const open = async (t, path, protocols, options) => {
  const socket = await Socket.open(gateway.ws(path), protocols, options);
  t.after(() => socket.terminate());
  return socket;
};

/** A WebSocket, and the server's end of it. */
async function both(t, path, protocols, options) {
  const client = await open(t, path, protocols, options);
  const [server, request] = await accepted.next();
  server.removeAllListeners('message');
  server.messages = new Inbox('a message at the upstream');
  server.on('message', (data, binary) => server.messages.push(binary ? data : data.toString()));
  server.closed = new Promise((resolve) => server.once('close', (code, reason) => resolve([code, reason.toString()])));
  return { client, server, request };
}

test('text stays text, bytes stay bytes, and messages stay whole', async (t) => {
  for (const path of ['/plain', '/secure']) {
    for (const perMessageDeflate of [false, true]) {
      const socket = await open(t, path, [], { perMessageDeflate, maxPayload: 1 << 26 });
      for (const message of ['', 'hello', 'Grüße 😀', Buffer.from([0, 255, 1]), Buffer.alloc(126, 1), 'ä'.repeat(40_000), Buffer.alloc(900_000, 7)]) {
        socket.send(message);
        assert.deepEqual(await socket.next(), message);
      }
      socket.send('one ', { fin: false });
      socket.send('two ', { fin: false });
      socket.send('three', { fin: true });
      assert.equal(await socket.next(), 'one two three');
      socket.ws.close();
      await socket.end();
    }
  }
});

test('a message of several frames goes on before it is whole', async (t) => {
  const { client, server } = await both(t, '/look', [], { perMessageDeflate: false });
  server.send('é'.repeat(3), { fin: false });
  server.send('rest', { fin: true });
  assert.equal(await client.next(), 'ééérest');
  const [raw] = [server._socket];
  const seen = once(raw, 'data');
  client.send('begun', { fin: false });
  await within(5000, 'a fragment at the upstream', seen);
  client.send(' ended', { fin: true });
  assert.equal(await server.messages.next(), 'begun ended');
});

test('an upstream is pinged as often as its client', async (t) => {
  const socket = await Socket.open(gateway.ws('/pinged'), ['chat']);
  t.after(() => socket.terminate());
  const [upstream] = await accepted.next();
  // Not after the usual 30 s.
  await within(15_000, 'a ping to the upstream', once(upstream, 'ping'));
});

test('the subprotocol that the client speaks is offered, and no origin is told', async (t) => {
  const { client, request } = await both(t, '/look', ['v12.stomp', 'mqtt']);
  assert.equal(client.ws.protocol, 'v12.stomp');
  assert.equal(request.headers['sec-websocket-protocol'], 'v12.stomp');
  assert.equal(request.headers.origin, undefined);
  assert.equal(request.headers['sec-websocket-extensions'], undefined);
  assert.match(request.headers.host, /^127\.0\.0\.1:\d+$/);
});

test('codes and reasons of closes go through, both ways', async (t) => {
  for (const [code, reason] of [[1000, ''], [1000, 'done'], [1011, 'a fault'], [3999, 'späť'], [4999, 'x'.repeat(123)]]) {
    const one = await both(t, '/look');
    one.client.ws.close(code, reason);
    assert.deepEqual(await within(5000, 'the close', one.server.closed), [code, reason]);
    assert.deepEqual(await one.client.end(), [code, reason]);
    const other = await both(t, '/look');
    other.server.close(code, reason);
    assert.deepEqual(await other.client.end(), [code, reason]);
    assert.deepEqual(await within(5000, 'the close', other.server.closed), [code, reason]);
  }
  const none = await both(t, '/look');
  none.server.close();
  assert.deepEqual(await none.client.end(), [1005, '']);
});

test('what was sent before a close arrives before it', async (t) => {
  const { client, server } = await both(t, '/look', [], { maxPayload: 1 << 26 });
  for (let i = 0; i < 20; i += 1) server.send(Buffer.alloc(500_000, i));
  server.close(4000, 'that was all');
  for (let i = 0; i < 20; i += 1) assert.deepEqual(await client.next(10_000), Buffer.alloc(500_000, i));
  assert.deepEqual(await client.end(), [4000, 'that was all']);
});

test('a client that goes without a close is 1001 to the upstream', async (t) => {
  const { client, server } = await both(t, '/look');
  client.send('connected');
  assert.equal(await server.messages.next(), 'connected');
  client.terminate();
  assert.equal((await within(5000, 'the close', server.closed))[0], 1001);
});

test('an upstream that goes without a close is 1014', async (t) => {
  const ends = {
    'the connection to the upstream ended': (server) => server._socket.end(),
    'the upstream reset the connection': (server) => server._socket.resetAndDestroy(),
    'the upstream does not keep to its protocol': (server) => server._socket.write(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 65])),
  };
  for (const [why, act] of Object.entries(ends)) {
    const { client, server } = await both(t, '/look');
    act(server);
    assert.deepEqual(await client.end(), [1014, why]);
  }
  assert(log.some((line) => line.message === "the upstream's connection broke" && line.error === "a server's frame must not be masked"));
});

test('messages are bounded in both directions', async (t) => {
  const large = await both(t, '/small', [], { perMessageDeflate: false });
  large.client.send(Buffer.alloc(1001));
  assert.equal((await large.client.end())[0], 1009);
  assert.equal((await within(5000, 'the close', large.server.closed))[0], 1001);
  const other = await both(t, '/small');
  other.server.send(Buffer.alloc(1001));
  assert.deepEqual(await other.client.end(), [1014, 'the upstream sent a message that is too large']);
  assert.equal((await within(5000, 'the close', other.server.closed))[0], 1009);
});

test('each hop answers pings by itself', async (t) => {
  const { client, server } = await both(t, '/look');
  const pongs = [once(client.ws, 'pong'), once(server, 'pong')];
  client.ws.ping('c');
  server.ping('s');
  const [[one], [other]] = await within(5000, 'pongs', Promise.all(pongs));
  assert.deepEqual([one.toString(), other.toString()], ['c', 's']);
});

test('an end that does not read stops the other, and misses nothing', async (t) => {
  const size = 32 << 20;
  const { client, server } = await both(t, '/look', [], { perMessageDeflate: false, maxPayload: 1 << 26 });
  client.ws.pause();
  for (let i = 0; i < 64; i += 1) server.send(Buffer.alloc(size / 64), { compress: false });
  await pause(300);
  assert(server.bufferedAmount > size / 2, 'the upstream is stopped');
  client.ws.resume();
  let bytes = 0;
  while (bytes < size) bytes += (await client.next(20_000)).length;
  server.pause();
  for (let i = 0; i < 64; i += 1) client.send(Buffer.alloc(size / 64));
  await pause(300);
  assert(client.ws.bufferedAmount > size / 2, 'the client is stopped');
  server.resume();
  for (bytes = 0; bytes < size;) bytes += (await server.messages.next(20_000)).length;
  assert.equal(bytes, size);
});

for (const [name, [, why]] of Object.entries(bad)) {
  test(`/${name}: the client is told that the upstream failed, the log why`, async (t) => {
    const socket = await open(t, `/${name}`);
    assert.deepEqual(await socket.end(), [1014, 'the upstream cannot be reached']);
    await within(5000, 'a line of the log', (async () => {
      while (!log.some((line) => line.message === 'closed' && line.service === `/${name}`)) await pause(10);
    })());
    const detail = log.find((line) => line.message === 'closed' && line.service === `/${name}`).detail;
    assert.match(detail.replace(/^ws:\/\/127\.0\.0\.1:\d+\/: /, ''), why);
    const down = log.some((line) => line.message === 'the upstream is down' && line.service === `/${name}`);
    assert.equal(down, name !== 'forbidden', 'a server that refuses one client is not down');
  });
}
