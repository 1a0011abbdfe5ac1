// Requests as they must not be, and the honest ones nearest to them: what is refused, what that
// says, and that nothing of it is published or taken for another request.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Raw } from './lib/raw.mjs';

let gateway;
before(async () => {
  gateway = await start(`
[[service]]
path = "/messaging"
type = "broker"

[[service]]
path = "/echo"
type = "echo"

[[service]]
path = "/topics"
type = "topics"
limits = { message-bytes-max = 1000 }

[[service]]
path = "/queues"
type = "queues"
`);
});
after(() => gateway?.stop());

/** What comes back for some bytes until the gateway closes, which it must, and soon. */
async function exchange(bytes) {
  const raw = await Raw.open(gateway);
  try {
    return (await raw.write(bytes).rest()).toString('latin1');
  } finally {
    raw.destroy();
  }
}

const statuses = (text) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map((match) => Number(match[1]));

test('a request that can be read in two ways is refused, and nothing of it is published', async (t) => {
  const topic = unique();
  const peer = await peers(t, () => gateway)();
  const subscription = await peer.subscribe(`/topic/${topic}`);
  const chunks = '5\r\nhello\r\n0\r\n\r\n';
  const smuggled = `POST /topics/${topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nsmuggled`;
  const cases = {
    'Transfer-Encoding: chunked, chunked': 400,
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked': 400,
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity': 400,
    'Transfer-Encoding: gzip': 400,
    'Transfer-Encoding: xchunked': 400,
    'Transfer-Encoding: chunked;a=b': 400,
    'Transfer-Encoding: chunked,': 400,
    'Transfer-Encoding:\x0bchunked': 400,
    'Transfer-Encoding : chunked': 400,
    'Transfer-Encoding\t: chunked': 400,
    'X: y\r\n Transfer-Encoding: chunked': 400,
    'Transfer-Encoding:\r\n chunked': 400,
    'X: y\rTransfer-Encoding: chunked': 400,
    'Transfer-Encoding: gzip, chunked': 501,
    'Transfer-Encoding: unheard-of, chunked': 501,
    'Transfer-Encoding: chunked\r\nContent-Length: 5': 400,
    'Content-Length: 15\r\nTransfer-Encoding: chunked': 400,
    'Content-Length: 5\r\nContent-Length: 5': 400,
    'Content-Length: 5\r\nContent-Length: 15': 400,
    'Content-Length: 5, 5': 400,
    'Content-Length: +5': 400,
    'Content-Length: 0x5': 400,
    'Content-Length: ': 400,
    'Content-Length: 99999999999999999999999': 413,
  };
  for (const [headers, status] of Object.entries(cases)) {
    const text = await exchange(
      `POST /topics/${topic} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n${chunks}${smuggled}`,
    );
    assert.deepEqual(statuses(text), [status], `${JSON.stringify(headers)}: ${text}`);
    assert.match(text, /^connection: close\r$/im, headers);
    assert.match(text, /\r\n\r\n[^\r\n]{20,}\n$/, `${headers}: it says why`);
  }
  const old = await exchange(
    `POST /topics/${topic} HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}${smuggled}`,
  );
  assert.deepEqual(statuses(old), [400]);

  const good = await exchange(
    `POST /topics/${topic} HTTP/1.1\r\nHost: localhost\r\ntransfer-encoding:\tChunked \r\n\r\n${chunks}` +
      `POST /topics/${topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nend` +
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  );
  assert.deepEqual(statuses(good), [204, 204, 200]);
  assert.deepEqual(await subscription.bodies(2), ['hello', 'end']);
});

test('the responses before a bad request still arrive', async () => {
  const good = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
  const text = await exchange(`${good.repeat(3)}GET /healthz\r\n\r\n${good}`);
  assert.deepEqual(statuses(text), [200, 200, 200, 400]);
});

test('a target has one of the forms of RFC 9112 section 3.2', async () => {
  const cases = {
    'GET healthz': 400,
    'GET *': 400,
    'GET localhost:80': 400,
    'GET ftp://localhost/healthz': 400,
    'GET http:///healthz': 400,
    'GET http://ann:secret@localhost/healthz': 400,
    'GET /healthz#part': 400,
    'GET /health z': 400,
    'GET /health\tz': 400,
    'GET /health\x01z': 400,
    'GET /health\x7fz': 400,
    'OPTIONS *x': 400,
    'CONNECT /healthz': 400,
    'CONNECT localhost:80': 501,
    'GET /healthz': 200,
    'GET http://localhost/healthz': 200,
    'GET HTTP://localhost/healthz': 200,
  };
  for (const [line, status] of Object.entries(cases)) {
    const text = await exchange(`${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    assert.deepEqual(statuses(text), [status], JSON.stringify(line));
  }
});

test('what is no HTTP/1.1 is answered as soon as that is clear', async () => {
  const cases = [
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['GET /healthz HTTP/3.0\r\n', 505],
    ['GET /healthz\r\n', 400],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc', 400],
    ['SSH-2.0-OpenSSH_9.2p1\r\n', 400],
    [`GET /${'a'.repeat(16 << 10)} HTTP/1.1\r\n`, 414],
    [`GET /${'a'.repeat(17 << 10)}`, 414],
    [`GET /${'a'.repeat(200_000)}`, 414],
    [`GET / HTTP/1.1\r\nHost: localhost\r\n${'A: b\r\n'.repeat(100)}`, 431],
    [`GET / HTTP/1.1\r\nHost: localhost\r\nA: ${'b'.repeat(64 << 10)}`, 431],
    [`GET / HTTP/1.1\r\nHost: localhost\r\nA: ${'b'.repeat(1 << 20)}`, 431],
  ];
  for (const [bytes, status] of cases) {
    assert.deepEqual(statuses(await exchange(Buffer.from(bytes, 'latin1'))), [status], bytes.slice(0, 40));
  }
  const long = `GET /healthz?${'a'.repeat((16 << 10) - 9)} HTTP/1.1\r\nHost: localhost\r\n`;
  assert.deepEqual(statuses(await exchange(`${long}${'A: b\r\n'.repeat(98)}Connection: close\r\n\r\n`)), [200]);
});

test('a chunk that can never fit is refused at its size, one that is malformed at once', async () => {
  const head = 'POST /topics/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n';
  const cases = {
    FFFFFFFF: 413,
    '10000000000000000': 413,
    '3e9\r\n': 413,
    '3e8\r\nabc': undefined,
    '1\r\na\r\n3e8\r\n': 413,
    '5\r\nhello!!': 400,
    '-5\r\n': 400,
    '0x5\r\n': 400,
    '5\nhello': 400,
    ' 5\r\n': 400,
    [`1;${'a'.repeat(20_000)}`]: 400,
    [`0\r\nA: ${'a'.repeat(20_000)}`]: 400,
    ['0'.repeat(100)]: 400,
  };
  for (const [chunks, status] of Object.entries(cases)) {
    const raw = await Raw.open(gateway);
    raw.write(head + chunks);
    if (status) {
      assert.deepEqual(statuses((await raw.rest()).toString()), [status], chunks.slice(0, 40));
    } else {
      raw.write(`${'x'.repeat(997)}\r\n0\r\n\r\n`);
      assert.match((await raw.until('\r\n\r\n')).toString(), /^HTTP\/1\.1 204/);
    }
    raw.destroy();
  }
  // The service is asked only when the head has come; then what came with it is looked at again.
  const raw = await Raw.open(gateway);
  raw.write(`${head}3e9\r\n${'x'.repeat(500)}`);
  assert.deepEqual(statuses((await raw.rest()).toString()), [413]);
});

/** Publishes on a topic. */
function post(topic, headers, body) {
  return request(gateway, `/topics/${topic}`, { method: 'POST', headers, body });
}

test('a body is published as it was before it was coded', async (t) => {
  const topic = unique();
  const peer = await peers(t, () => gateway)();
  const subscription = await peer.subscribe(`/topic/${topic}`);
  const text = 'Grüße '.repeat(100);
  const good = [
    ['gzip', gzipSync(text)],
    ['GZIP', gzipSync(text)],
    ['x-gzip', gzipSync(text)],
    ['gzip', Buffer.concat([gzipSync(text.slice(0, 5)), gzipSync(text.slice(5))])],
    ['br', brotliCompressSync(text)],
    ['deflate', deflateSync(text)],
    ['deflate', deflateRawSync(text)],
    ['identity', text],
    ['', text],
    ['identity, gzip, ', gzipSync(text)],
    ['gzip, br', brotliCompressSync(gzipSync(text))],
    ['br, deflate', deflateSync(brotliCompressSync(text))],
  ];
  for (const [coding, body] of good) {
    const response = await post(topic, { 'content-encoding': coding }, body);
    assert.deepEqual([response.status, response.text], [204, ''], coding);
    assert.deepEqual(await subscription.bodies(1), [text], coding);
  }
  const bad = [
    ['gzip', text, 400],
    ['gzip', '', 400],
    ['gzip', gzipSync(text).subarray(0, -1), 400],
    ['gzip', Buffer.concat([gzipSync(text), Buffer.from('x')]), 400],
    ['br', brotliCompressSync(text).subarray(0, 20), 400],
    ['br', Buffer.concat([brotliCompressSync(text), Buffer.from('x')]), 400],
    ['br', gzipSync(text), 400],
    ['deflate', deflateSync(text).subarray(0, -1), 400],
    ['deflate', gzipSync(text), 400],
    ['br, gzip', brotliCompressSync(gzipSync(text)), 400],
    ['zstd', text, 415],
    ['gzip, zstd', text, 415],
    ['gzip, gzip, gzip', text, 415],
    ['gzip;q=1', text, 415],
  ];
  for (const [coding, body, status] of bad) {
    const response = await post(topic, { 'content-encoding': coding }, body);
    assert.equal(response.status, status, `${coding}: ${response.text}`);
    assert.equal(response.headers['accept-encoding'], status === 415 ? 'gzip, br, deflate' : undefined, coding);
  }
  assert.equal((await post(topic, {}, 'end')).status, 204);
  assert.deepEqual(await subscription.bodies(1), ['end']);
});

test('what is bounded is the body as it was before it was coded', async () => {
  const code = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync };
  for (const [coding, compress] of Object.entries(code)) {
    const status = async (body) => (await post(unique(), { 'content-encoding': coding }, body)).status;
    assert.equal(await status(compress(Buffer.alloc(1000))), 204, coding);
    assert.equal(await status(compress(Buffer.alloc(1001))), 413, coding);
    assert.equal(await status(compress(Buffer.alloc(10 << 20))), 413, `a bomb: ${coding}`);
    const noise = randomBytes(1000);
    assert.ok(compress(noise).length > 1000);
    assert.equal(await status(compress(noise)), 204, coding);
    assert.equal(await status(randomBytes(3000)), 413, `too large before it is looked at: ${coding}`);
  }
});

test('a page may send a body that it has compressed', async () => {
  const headers = { origin: gateway.http(''), 'access-control-request-method': 'POST' };
  const response = await request(gateway, '/topics/x', { method: 'OPTIONS', headers });
  assert.match(response.headers['access-control-allow-headers'], /content-encoding/);
});

test('OPTIONS * says what some service or other does', async () => {
  const text = await exchange('OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
  assert.match(text, /^HTTP\/1\.1 204 /);
  assert.match(text, /^allow: GET, HEAD, POST, OPTIONS\r$/im);
});

test('a POST to what is nearly the path of a service is told the path', async () => {
  for (const [path, near] of [
    ['/topic/a.b', '/topics/a.b'],
    ['/queue/a', '/queues/a'],
    ['/Topics/a', '/topics/a'],
  ]) {
    const response = await request(gateway, path, { method: 'POST', body: 'x' });
    assert.deepEqual([response.status, response.text], [404, `there is no service at this path; did you mean ${near}?\n`]);
  }
  const response = await request(gateway, '/news/a', { method: 'POST', body: 'x' });
  assert.deepEqual([response.status, response.text], [404, 'there is no service at this path\n']);
});

const handshake = (path, ...headers) =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(headers.some((line) => line.startsWith('Upgrade')) ? [] : ['Upgrade: websocket']),
    ...(headers.some((line) => line.startsWith('Connection')) ? [] : ['Connection: Upgrade']),
    ...(headers.some((line) => line.startsWith('Sec-WebSocket-Version')) ? [] : ['Sec-WebSocket-Version: 13']),
    ...headers,
    '',
    '',
  ].join('\r\n');

test('a WebSocket where none is taken is refused, and the log says where they are', async () => {
  let log = '';
  gateway.process.stdout.on('data', (data) => (log += data));
  gateway.process.stderr.on('data', (data) => (log += data));
  for (const [path, text] of [
    ['/topics/x', 'no WebSocket is taken at this path\n'],
    ['/healthz', 'no WebSocket is taken at this path\n'],
    ['/nothing', 'no WebSocket is taken at this path\n'],
    ['/massaging', 'no WebSocket is taken at this path; did you mean /messaging?\n'],
    ['/ecko/x', 'no WebSocket is taken at this path; did you mean /echo/x?\n'],
    ['/n\xc2\x9bothing', 'no WebSocket is taken at this path\n'],
  ]) {
    const raw = await Raw.open(gateway);
    raw.write(Buffer.from(handshake(path), 'latin1'));
    assert.match((await raw.until('\r\n\r\n')).toString(), /^HTTP\/1\.1 404/, path);
    assert.equal((await raw.until('\n')).toString(), text, path);
    raw.destroy();
  }
  const lines = () => log.match(/WebSocket handshake refused: WebSockets are taken at \/messaging, \/echo/g) ?? [];
  for (let i = 0; i < 250 && lines().length < 6; i += 1) await new Promise((next) => setTimeout(next, 20));
  assert.equal(lines().length, 6, log);
  assert.ok(!log.includes('\u009b'), 'no control characters of a peer');
});

test('lists in a handshake are read as lists, and what is not known in them is ignored', async () => {
  const good = [
    ['Upgrade: websocket, HTTP/2.0'],
    ['Upgrade: HTTP/2.0,websocket', 'Connection: keep-alive, Upgrade'],
    ['Upgrade: TLS/1.3', 'Upgrade: ,\tWebSocket,', 'Connection: ,keep-alive', 'Connection: upgrade,,'],
    ['Sec-WebSocket-Protocol: amqp/1.0, a b,,'],
    ['Sec-WebSocket-Protocol: x-kaazing-handshake'],
    ['Sec-WebSocket-Extensions: x; a=, permessage-deflate;=, "'],
  ];
  for (const headers of good) {
    const raw = await Raw.open(gateway);
    raw.write(handshake('/echo', ...headers));
    const head = (await raw.until('\r\n\r\n')).toString();
    assert.match(head, /^HTTP\/1\.1 101/, headers);
    assert.doesNotMatch(head, /sec-websocket-(protocol|extensions)/i, headers);
    raw.destroy();
  }
  const raw = await Raw.open(gateway);
  raw.write(handshake('/echo', 'Sec-WebSocket-Protocol: x-kaazing-handshake, wamp'));
  assert.match((await raw.until('\r\n\r\n')).toString(), /^sec-websocket-protocol: wamp\r$/im);
  // What follows the handshake at once is the WebSocket's.
  const early = await Raw.open(gateway);
  const frame = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]);
  early.write(Buffer.concat([Buffer.from(handshake('/echo')), frame]));
  await early.until('\r\n\r\n');
  assert.deepEqual([...(await early.bytes(4))], [0x81, 2, 0x68, 0x69]);
  raw.destroy();
  early.destroy();
});

test('a version of WebSocket that is not understood is answered with those that are', async () => {
  for (const version of ['abc', '013', '13, 8', '', '14', '7', '256', '13;', '99999999999', '-13', '13\r\nSec-WebSocket-Version: 13', '13\r\nSec-WebSocket-Version: 8', '\xff']) {
    const raw = await Raw.open(gateway);
    raw.write(Buffer.from(handshake('/echo', `Sec-WebSocket-Version: ${version}`), 'latin1'));
    const head = (await raw.until('\r\n\r\n')).toString();
    assert.match(head, /^HTTP\/1\.1 426/, version);
    assert.match(head, /^sec-websocket-version: 13, 8, 6\r$/im, version);
    assert.match(head, /^upgrade: websocket\r$/im, version);
    raw.destroy();
  }
});
