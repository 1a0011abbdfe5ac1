// Whose connection or request it is, as proxies that are believed say it; and how many one may have.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Inbox, within } from './lib/wait.mjs';

// The first believes what 127.0.0.1 says; to the second, which trusts no proxy, it is input.
const config = (extra) => `[log]
format = "json"
level = "debug"
[[listen]]
address = "127.0.0.1:0"
anonymous = true
connections-max-per-address = 2
${extra}
[[service]]
path = "/echo"
type = "echo"
[[service]]
path = "/messaging"
type = "broker"
`;
let header;
let forwarded;
before(async () => {
  header = await begin('proxy-protocol-from = ["127.0.0.1", "10.0.0.0/8"]');
  forwarded = await begin('forwarded-from = ["127.0.0.1"]');
});
after(() => Promise.all([header?.stop(), forwarded?.stop()]));

async function begin(extra) {
  const gateway = await start(config(extra));
  gateway.log = new Inbox('a line of the log');
  let rest = '';
  gateway.process.stderr.on('data', (data) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop();
    for (const line of lines) gateway.log.push(JSON.parse(line).fields ?? JSON.parse(line));
  });
  return gateway;
}

/** The next line of the log with this message. */
async function logged(gateway, message) {
  for (;;) {
    const line = await gateway.log.next();
    if (line.message === message) return line;
  }
}

/** Sends from an address; gives the socket, and a promise of all that comes until the other end. */
function send(gateway, bytes, localAddress = '127.0.0.1') {
  const socket = connect({ host: '127.0.0.1', port: gateway.port, localAddress });
  let text = '';
  socket.setEncoding('latin1');
  const first = new Promise((resolve) => {
    socket.on('data', (data) => {
      text += data;
      resolve(text);
    });
    socket.on('close', () => resolve(text));
    socket.on('error', () => resolve(text));
  });
  socket.write(bytes);
  return { socket, first: within(5000, 'an answer', first) };
}
const get = 'GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
const upgrade = (...fields) =>
  ['GET /echo HTTP/1.1', 'Host: localhost', 'Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', ...fields, '', ''].join('\r\n');
const v1 = (address) => `PROXY TCP4 ${address} 127.0.0.1 4711 80\r\n`;
const v2 = (a, b, c, d) =>
  Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), Buffer.from([0x21, 0x11, 0, 15, a, b, c, d, 127, 0, 0, 1, 0x12, 0x67, 0, 80, 4, 0, 0])]);

test('a PROXY protocol header names the peer of a WebSocket, and of STOMP over TCP', async () => {
  for (const [bytes, peer] of [
    [v1('192.0.2.1') + upgrade(), '192.0.2.1:4711'],
    ['PROXY TCP6 2001:db8::7 ::1 4711 80\r\n' + upgrade(), '[2001:db8::7]:4711'],
    [Buffer.concat([v2(192, 0, 2, 2), Buffer.from(upgrade())]), '192.0.2.2:4711'],
    [v1('192.0.2.3') + 'CONNECT\naccept-version:1.2\nhost:localhost\n\n\0', '192.0.2.3:4711'],
  ]) {
    const { socket, first } = send(header, bytes);
    assert.match(await first, /^(HTTP\/1\.1 101|CONNECTED)/);
    assert.equal((await logged(header, 'open')).peer, peer);
    socket.destroy();
  }
});

test('a header may come in pieces', async () => {
  const { socket, first } = send(header, '');
  socket.setNoDelay();
  for (const byte of v1('192.0.2.9') + get) {
    socket.write(byte);
    await new Promise(setImmediate);
  }
  assert.match(await first, /^HTTP\/1\.1 404/);
});

test('a proxy that must send a header and does not is refused; one that need not is served as it is', async () => {
  assert.equal(await send(header, get).first, '');
  const line = await logged(header, 'connection of a proxy refused');
  assert.match(line.peer, /^127\.0\.0\.1:/);
  assert.match(await send(header, get, '127.0.0.2').first, /^HTTP\/1\.1 404/);
  // A header is no HTTP.
  assert.match(await send(header, v1('192.0.2.1') + get, '127.0.0.2').first, /^HTTP\/1\.1 400/);
});

test('what is no connection of anybody else is the proxy\'s own', async () => {
  assert.match(await send(header, `PROXY UNKNOWN\r\n${get}`).first, /^HTTP\/1\.1 404/);
});

test('Forwarded and X-Forwarded-For name the peer of a WebSocket', async () => {
  for (const [fields, peer] of [
    [['X-Forwarded-For: 203.0.113.1, 192.0.2.1'], '192.0.2.1:0'],
    [['Forwarded: for="[2001:db8::7]:4711";proto=https'], '[2001:db8::7]:4711'],
  ]) {
    const { socket, first } = send(forwarded, upgrade(...fields));
    assert.match(await first, /^HTTP\/1\.1 101/);
    assert.equal((await logged(forwarded, 'open')).peer, peer);
    socket.destroy();
  }
  const { socket, first } = send(forwarded, upgrade('X-Forwarded-For: 192.0.2.1'), '127.0.0.2');
  assert.match(await first, /^HTTP\/1\.1 101/);
  assert.match((await logged(forwarded, 'open')).peer, /^127\.0\.0\.2:/);
  socket.destroy();
});

test('an origin is the gateway\'s own by the scheme that a believed proxy says', async () => {
  const origin = 'Origin: https://localhost';
  const request = async (...fields) => {
    const { socket, first } = send(forwarded, upgrade(...fields));
    const answer = await first;
    socket.destroy();
    return Number(answer.split(' ')[1]);
  };
  assert.equal(await request(origin, 'X-Forwarded-For: 192.0.2.61', 'X-Forwarded-Proto: https'), 101);
  assert.equal(await request(origin, 'Forwarded: for=192.0.2.62;proto=https'), 101);
  assert.equal(await request(origin, 'X-Forwarded-For: 192.0.2.63'), 403);
  assert.equal(await request(origin, 'X-Forwarded-For: 192.0.2.64', 'X-Forwarded-Proto: http'), 403);
});

test('an address has its number of connections and no more, until one of them ends', async () => {
  for (const [gateway, from] of [
    [header, (address) => send(header, v1(address) + upgrade())],
    [forwarded, (address) => send(forwarded, upgrade(`X-Forwarded-For: ${address}`))],
  ]) {
    const open = [from('192.0.2.77'), from('192.0.2.77')];
    for (const { first } of open) assert.match(await first, /^HTTP\/1\.1 101/);
    const third = await from('192.0.2.77').first;
    assert.ok(third === '' || /^HTTP\/1\.1 429/.test(third), third);
    const line = await logged(gateway, 'connection refused: its address has all that it may have');
    assert.match(line.peer, /^192\.0\.2\.77:/);
    const other = from('192.0.2.78');
    assert.match(await other.first, /^HTTP\/1\.1 101/);
    open[0].socket.destroy();
    await logged(gateway, 'closed');
    const again = from('192.0.2.77');
    assert.match(await again.first, /^HTTP\/1\.1 101/);
    for (const { socket } of [other, open[1], again]) socket.destroy();
  }
});
