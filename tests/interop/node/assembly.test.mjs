// What a peer begins to send must come in time, and honest slow peers have that time.
import assert from 'node:assert/strict';
import net from 'node:net';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { peers, unique } from './lib/peer.mjs';
import { pause } from './lib/wait.mjs';

let gateway;
let upstream;
before(async () => {
  upstream = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(data));
  });
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  gateway = await start(`
[limits]
assembly-timeout = "2s"
assembly-bytes-per-second-min = "1KiB"
publish-timeout = "30s"
commands-max = 2
queue-messages-max = 1

[[service]]
path = "/messaging"
type = "broker"

[[service]]
path = "/echo"
type = "echo"

[[service]]
path = "/queues"
type = "queues"

[[service]]
path = "/topics"
type = "topics"

[[service]]
path = "/proxy"
type = "proxy"
connect = "tcp://127.0.0.1:${upstream.address().port}"
`);
});
after(async () => {
  await gateway?.stop();
  upstream?.close();
});

const upgrade = async (t, path, headers = '') => {
  const raw = await Raw.open(gateway);
  t.after(() => raw.destroy());
  raw.socket.setNoDelay(true);
  raw.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`,
  );
  assert.match((await raw.until('\r\n\r\n')).toString(), /^HTTP\/1\.1 101 /);
  return raw;
};

const connected = async (t) => {
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  tcp.socket.setNoDelay(true);
  assert.equal((await tcp.connect()).command, 'CONNECTED');
  return tcp;
};

/** A frame that is not really masked. */
const frame = (first, payload = '') => {
  const bytes = Buffer.from(payload);
  assert.ok(bytes.length < 126);
  return Buffer.concat([Buffer.from([first, 0x80 | bytes.length, 0, 0, 0, 0]), bytes]);
};

/** Sends a piece now and then until the peer closes; how long that took. */
const trickle = async (raw, piece, ms = 100) => {
  const begin = performance.now();
  while (!raw.ended && performance.now() - begin < 15_000) {
    raw.write(piece);
    await pause(ms);
  }
  assert.ok(raw.ended, 'it stays');
  const took = performance.now() - begin;
  assert.ok(took > 1500, `it ended after ${took} ms`);
  return (await raw.rest()).toString('latin1');
};

const webSockets = {
  'half a head, then nothing': [Buffer.from([0x82]), ''],
  'half a payload, then nothing': [frame(0x82, '0123456789').subarray(0, 10), ''],
  'a payload, byte by byte': [Buffer.from([0x82, 0xfe, 0x10, 0, 0, 0, 0, 0]), 'x'],
  'a burst, then nothing': [Buffer.concat([Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0]), Buffer.alloc(400_000)]), ''],
  'pings between': [frame(0x02, 'x'), frame(0x89, 'p'.repeat(125))],
  'a flood of pings between': [frame(0x02, 'x'), Buffer.concat(Array(50).fill(frame(0x89, 'p'.repeat(125))))],
  'empty fragments': [frame(0x02, 'x'), frame(0x00)],
  'fragments of a byte': [frame(0x02, 'x'), frame(0x00, 'x')],
  'half a ping': [frame(0x89, '0123456789').subarray(0, 10), ''],
};
for (const [name, [begin, piece]] of Object.entries(webSockets)) {
  test(`WebSocket: ${name}`, async (t) => {
    const raw = await upgrade(t, '/echo');
    raw.write(frame(0x81, 'whole'));
    await raw.until('whole');
    raw.write(begin);
    assert.match(await trickle(raw, piece), /\x88.\x0b\xc0too slow: 2 s \(limits\.assembly-timeout\)/s);
  });
}

test('WebSocket: a deflated message, byte by byte', async (t) => {
  const raw = await upgrade(t, '/echo', 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
  raw.write(Buffer.from([0xc2, 0xfe, 0x10, 0, 0, 0, 0, 0]));
  // Stored blocks without a byte.
  assert.match(await trickle(raw, Buffer.from([0, 0, 0, 0xff, 0xff])), /too slow/);
});

const stomps = {
  'half a header line': ['SEND\ndestin', ''],
  'a header line, byte by byte': ['SEND\na:', 'x'],
  'header lines without end': ['SEND\n', 'a:b\n'],
  'half a body, then nothing': ['SEND\ndestination:/topic/a\ncontent-length:1000\n\nhalf', ''],
  'a body, byte by byte': ['SEND\ndestination:/topic/a\n\n', 'x'],
  'heart-beats in a body': ['SEND\ndestination:/topic/a\ncontent-length:10000\n\n', '\n'],
  'half a command': ['SE', ''],
  'a frame before it in the same bytes': ['SEND\ndestination:/topic/a\n\nwhole\0SEND\n', ''],
};
for (const [name, [begin, piece]] of Object.entries(stomps)) {
  test(`STOMP: ${name}`, async (t) => {
    const tcp = await connected(t);
    tcp.write(begin);
    assert.match(await trickle(tcp, piece), /ERROR\nmessage:frame timed out\n.*limits\.assembly-timeout/s);
  });
}

test('STOMP: what came with CONNECT counts', async (t) => {
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  tcp.write('CONNECT\naccept-version:1.2\nhost:h\n\n\0SEND\ndest');
  assert.match(await trickle(tcp, ''), /CONNECTED.*frame timed out/s);
});

test('STOMP over WebSocket: a frame over many messages', async (t) => {
  const raw = await upgrade(t, '/messaging', 'Sec-WebSocket-Protocol: v12.stomp\r\n');
  raw.write(frame(0x81, 'CONNECT\naccept-version:1.2\nhost:h\n\n\0'));
  await raw.until('CONNECTED');
  raw.write(frame(0x81, 'SEND\ndestination:/topic/a\n\n'));
  assert.match(await trickle(raw, frame(0x81, 'x')), /frame timed out.*\x88.\x0b\xc0/s);
});

test('POST: a body, byte by byte', async (t) => {
  const raw = await Raw.open(gateway);
  t.after(() => raw.destroy());
  raw.write('POST /topics/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n');
  assert.match(await trickle(raw, 'x'), /^HTTP\/1\.1 408 .*limits\.assembly-timeout/s);
});

test('honest peers have their time: steady, with a pause, whole frames in odd pieces', async (t) => {
  const steady = async (raw, bytes) => {
    for (let at = 0; at < bytes.length; at += 512) {
      raw.write(bytes.subarray(at, at + 512));
      await pause(150);
    }
  };
  const body = 'b'.repeat(20_000);
  const send = Buffer.from(`SEND\ndestination:/topic/slow\nreceipt:r\n\n${body}\0`);
  const [slow, paused, odd, post, ws] = [await connected(t), await connected(t), await connected(t), await Raw.open(gateway), await upgrade(t, '/echo')];
  t.after(() => post.destroy());
  post.write(`POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n`);
  const message = Buffer.concat([Buffer.from([0x81, 0xfe, body.length >> 8, body.length & 255, 0, 0, 0, 0]), Buffer.from(body)]);
  await Promise.all([
    steady(slow, send).then(async () => assert.equal((await slow.next()).command, 'RECEIPT')),
    steady(post, Buffer.from(body)).then(async () => assert.match((await post.until('\r\n')).toString(), / 204 /)),
    steady(ws, message).then(() => ws.until('bbbb')),
    (async () => {
      paused.write(send.subarray(0, 10_000));
      await pause(1300);
      paused.write(send.subarray(10_000));
      assert.equal((await paused.next()).command, 'RECEIPT');
    })(),
    (async () => {
      // Each read ends within a frame, yet each frame comes soon.
      let number = 0;
      odd.write('SEND\nreceipt:0\n');
      for (; number < 8; number += 1) {
        await pause(600);
        odd.write(`destination:/topic/a\n\nx\0SEND\nreceipt:${number + 1}\n`);
        assert.equal((await odd.next()).headers['receipt-id'], `${number}`);
      }
    })(),
  ]);
});

test('the clock stands while the gateway does not read', async (t) => {
  const queue = unique('full');
  const tcp = await connected(t);
  const frames = Array.from({ length: 5 }, (_, i) => `SEND\ndestination:/queue/${queue}\nreceipt:${i}\n\n${i}\0`);
  // A large one is split where the gateway stops to read.
  const last = `SEND\ndestination:/queue/${queue}\nreceipt:last\n\n${'x'.repeat(900_000)}\0`;
  tcp.write(frames.join('') + last);
  await pause(5000);
  assert.ok(!tcp.ended, 'it was ended for what the gateway did not read');
  const open = peers(t, () => gateway);
  const subscription = await (await open()).subscribe(`/queue/${queue}`);
  const bodies = await subscription.bodies(6, 10_000);
  assert.equal(bodies[5].length, 900_000);
});

test('a proxied service has no such time', async (t) => {
  const raw = await upgrade(t, '/proxy');
  raw.write(frame(0x82, '0123456789').subarray(0, 10));
  await pause(4000);
  assert.ok(!raw.ended);
  raw.write('456789');
  await raw.until('9');
});

test('a peer that is silent between frames stays', async (t) => {
  const tcp = await connected(t);
  tcp.write('SEND\ndestination:/topic/a\n\nx\0\n\n');
  await pause(4000);
  tcp.frame('SEND', 'destination:/topic/a', 'receipt:r', '', 'x');
  assert.equal((await tcp.next()).command, 'RECEIPT');
});
