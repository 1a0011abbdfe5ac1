// Peers that are slow, silent, gone or deaf: each is ended in its time, and delays no other.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

let gateway;
let posting;
before(async () => {
  gateway = await start(`
[limits]
login-timeout = "1s"
ping-interval = "1s"
write-timeout = "2s"
unsent-bytes-max = "1MiB"
message-bytes-max = "256KiB"

[[service]]
path = "/messaging"
type = "broker"

[[service]]
path = "/echo"
type = "echo"
limits = { message-bytes-max = "256KiB", unsent-bytes-max = "1MiB" }

[[service]]
path = "/broadcast"
type = "broadcast"

[[service]]
path = "/topics"
type = "topics"
`);
  // A body has half a minute: it is started first, and looked at last.
  posting = await Raw.open(gateway);
  posting.write('POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf');
});
after(() => gateway?.stop());

const upgrade = (path, protocol) =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
    '',
    '',
  ].join('\r\n');

/** How long it takes until the gateway closes, at most `ms`. */
async function lifetime(raw, ms) {
  const begin = performance.now();
  await raw.rest(ms);
  return performance.now() - begin;
}

/** Sends a byte now and then, as long as it can. */
async function trickle(raw, bytes, every = 100) {
  for (const byte of Buffer.from(bytes)) {
    if (raw.ended) return;
    raw.write(Buffer.from([byte]));
    await pause(every);
  }
}

const slow = [
  ['the head of a request', `GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ${'x'.repeat(500)}`],
  ['the head of an upgrade', upgrade('/echo').slice(0, -4) + 'x'.repeat(500)],
  ['the first bytes of CONNECT', `CONNECT\naccept-version:1.2\nx:${'x'.repeat(500)}`],
  ['line ends that say nothing', '\n'.repeat(500)],
];
for (const [what, bytes] of slow) {
  test(`slow loris: ${what}, a byte at a time`, async (t) => {
    const raw = await Raw.open(gateway);
    t.after(() => raw.destroy());
    const writing = trickle(raw, bytes);
    const ms = await lifetime(raw, 6000);
    assert.ok(ms >= 500, `${ms}`);
    await writing;
  });
}

test('a connection that says nothing at all', async () => {
  await lifetime(await Raw.open(gateway), 6000);
});

test('a WebSocket that never logs in', async () => {
  const raw = await Raw.open(gateway);
  raw.write(upgrade('/messaging', 'v12.stomp'));
  await raw.until('\r\n\r\n');
  await lifetime(raw, 6000);
});

test('half-open: a WebSocket that does not answer pings', async () => {
  const raw = await Raw.open(gateway);
  raw.write(upgrade('/echo'));
  await raw.until('\r\n\r\n');
  const ms = await lifetime(raw, 6000);
  assert.ok(ms >= 1000, `${ms}`);
});

test('a WebSocket that answers pings stays', async (t) => {
  const socket = await Socket.open(gateway.ws('/echo'));
  t.after(() => socket.terminate());
  let pings = 0;
  socket.ws.on('ping', () => (pings += 1));
  await pause(3500);
  assert.ok(pings >= 2, `${pings}`);
  socket.send('still there');
  assert.equal(await socket.next(), 'still there');
});

test('a peer that never reads what it asked for', async () => {
  // It sends and does not read: its echoes pile up, the gateway stops reading it, then ends it.
  const raw = await Raw.open(gateway);
  raw.write(upgrade('/echo'));
  await raw.until('\r\n\r\n');
  raw.socket.pause();
  const payload = Buffer.alloc(60_000, 'x');
  const head = Buffer.from([0x82, 0xfe, payload.length >> 8, payload.length & 255, 0, 0, 0, 0]);
  const frame = Buffer.concat([head, payload]);
  const begin = performance.now();
  let ended = false;
  raw.socket.on('close', () => (ended = true));
  raw.socket.on('error', () => (ended = true));
  while (!ended && performance.now() - begin < 15_000) {
    if (raw.socket.writableLength < 1 << 20) raw.socket.write(frame);
    else await pause(20);
    if (raw.socket.writableLength === 0) await pause(1);
  }
  assert.ok(ended, 'the connection is still there');
});

test('a stalled subscriber among a hundred: the others get every message', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique('stall')}`;
  const count = 200;
  const body = 'x'.repeat(32_000); // 6.4 MB for each, more than the kernel and the gateway hold
  const subscribe = (id) => `SUBSCRIBE\nid:${id}\ndestination:${topic}\nreceipt:r\n\n\0`;

  // Ninety-nine count what they get; @stomp/stompjs would take minutes to read it.
  const others = await Promise.all(
    Array.from({ length: 99 }, async (_, i) => {
      const socket = await Socket.open(gateway.ws('/messaging'), ['v12.stomp'], { perMessageDeflate: false });
      t.after(() => socket.terminate());
      socket.send('CONNECT\naccept-version:1.2\nhost:/\n\n\0');
      assert.match(await socket.next(), /^CONNECTED\n/);
      socket.send(subscribe(i % 10));
      assert.match(await socket.next(), /^RECEIPT\n/);
      socket.ws.removeAllListeners('message');
      let got = 0;
      const done = new Promise((resolve, reject) => {
        socket.ws.on('message', (data) => {
          const frame = data.toString('latin1');
          if (!frame.includes(`\nnumber:${got}\n`) || data.length < body.length) {
            reject(new Error(`${i}: not number ${got}: ${frame.slice(0, 300)}`));
          }
          got += 1;
          if (got === count) resolve();
        });
        socket.ws.once('close', (code) => reject(new Error(`${i}: closed with ${code} after ${got}`)));
      });
      done.catch(() => {});
      return { done, got: () => got };
    }),
  );
  const stalled = await Tcp.open(gateway);
  t.after(() => stalled.destroy());
  await stalled.connect();
  stalled.write(subscribe('stalled'));
  assert.equal((await stalled.next()).command, 'RECEIPT');
  stalled.socket.pause();

  const sender = await open();
  for (let i = 0; i < count; i += 1) {
    sender.publish(topic, body, { number: `${i}` });
    // The readers are one process: no faster than they can read.
    if (i % 5 === 4) while (others.some((other) => other.got() < i - 10)) await pause(1);
  }
  await within(30_000, `all messages, ${others.map((other) => other.got())}`, Promise.all(others.map((other) => other.done)));
  // The stalled one was ended: what it had is all that it gets.
  stalled.socket.resume();
  const rest = await stalled.rest(10_000);
  assert.ok(rest.length < count * body.length, `${rest.length}`);
});

test('a stalled consumer of a queue holds no more than its prefetch', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique('stall')}`;
  const stalled = await Peer.open(gateway);
  await stalled.subscribe(queue, { ack: 'client-individual', prefetch: '2' });
  const busy = await (await open()).subscribe(queue, { ack: 'client-individual', prefetch: '10' });
  const sender = await open();
  for (let i = 0; i < 50; i += 1) sender.publish(queue, `${i}`);
  const got = [];
  while (got.length < 48) {
    const message = await busy.next();
    message.ack();
    got.push(Number(message.body));
  }
  await stalled.drop();
  for (const message of await busy.messages.take(2)) {
    assert.equal(message.headers.redelivered, 'true');
    message.ack();
    got.push(Number(message.body));
  }
  assert.deepEqual(got.sort((a, b) => a - b), [...Array(50).keys()]);
});

test('half a body of a POST', async () => {
  assert.match((await posting.until('\r\n', 35_000)).toString(), /^HTTP\/1\.1 408 /);
  await posting.rest(5000);
});
