// How connections end, and what must not be lost or held when they do.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

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
[[service]]
path = "/messaging"
type = "broker"

[[service]]
path = "/echo"
type = "echo"

[[service]]
path = "/broadcast"
type = "broadcast"

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

test('a request whose sender closes its side at once is answered', async () => {
  for (let i = 0; i < 10; i++) {
    const raw = await Raw.open(gateway, { allowHalfOpen: true });
    raw.socket.end('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    assert.match((await raw.rest()).toString(), /^HTTP\/1\.1 200 /);
  }
});

test('a receipt reaches a sender that closes its side at once', async () => {
  for (let i = 0; i < 20; i++) {
    const tcp = new Tcp((await Raw.open(gateway, { allowHalfOpen: true })).socket);
    await tcp.connect();
    const queue = `/queue/${unique('halfclosed')}`;
    tcp.socket.end(`SEND\ndestination:${queue}\nreceipt:r\n\nx\0`);
    assert.equal((await tcp.next()).command, 'RECEIPT');
    await tcp.rest();
  }
});

test('all that a publisher sent is taken, even when it leaves without reading', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique('unread')}`;
  const subscription = await (await open()).subscribe(topic);
  const tcp = await Tcp.open(gateway);
  await tcp.connect();
  const sends = 2000;
  tcp.socket.pause();
  const frames = Array.from({ length: sends }, (_, i) => `SEND\ndestination:${topic}\nreceipt:${i}\n\n${i}\0`);
  await new Promise((resolve) => tcp.socket.write(frames.join(''), resolve));
  tcp.socket.destroy();
  const bodies = await subscription.bodies(sends);
  assert.deepEqual(bodies, Array.from({ length: sends }, (_, i) => String(i)));
});

test('the refusal of a body that is too large arrives', async () => {
  const raw = await Raw.open(gateway);
  raw.write('POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\n\r\n');
  raw.write(Buffer.alloc(1_000_000));
  assert.match((await raw.until('\r\n')).toString(), /^HTTP\/1\.1 413 /);
  raw.destroy();
});

test('a WebSocket that closes gets all that was said before, however slowly it reads', async () => {
  const raw = await Raw.open(gateway);
  raw.write(
    'GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await raw.until('\r\n\r\n');
  const mebibyte = 1 << 20;
  const head = Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]);
  for (let i = 0; i < 12; i++) raw.write(Buffer.concat([head, Buffer.alloc(mebibyte)]));
  raw.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]));
  // Slower than the two seconds that a close may take when nothing is unsent.
  raw.socket.pause();
  let got = 0;
  while (got < 12) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    raw.socket.resume();
    const frame = await raw.bytes(10 + mebibyte, 10_000);
    raw.socket.pause();
    assert.deepEqual([...frame.subarray(0, 2)], [0x82, 127]);
    got++;
  }
  raw.socket.resume();
  assert.deepEqual([...(await raw.bytes(4))], [0x88, 2, 0x03, 0xe8]);
});

test('a wildcard subscription hears nothing of a broadcast service', async (t) => {
  const open = peers(t, () => gateway);
  const peer = await open();
  const everything = await peer.subscribe('/topic/>');
  const sockets = [await Socket.open(gateway.ws('/broadcast')), await Socket.open(gateway.ws('/broadcast'))];
  t.after(() => sockets.forEach((socket) => socket.terminate()));
  sockets[0].send('for the broadcast only');
  assert.equal(await sockets[1].next(), 'for the broadcast only');
  const name = unique('after');
  peer.client.publish({ destination: `/topic/${name}`, body: 'for all' });
  for (;;) {
    const message = await everything.next();
    assert.notEqual(message.body, 'for the broadcast only');
    if (message.headers.destination === `/topic/${name}`) break;
  }
});

test('a proxied connection is counted once, and no more when it has gone', async () => {
  for (let i = 0; i < 3; i++) {
    const socket = await Socket.open(gateway.ws('/proxy'));
    socket.send('x');
    assert.equal((await socket.next()).toString(), 'x');
    socket.ws.close();
    await socket.end();
  }
  const open = async () => {
    const text = await (await fetch(gateway.http('/metrics'))).text();
    return /passerelle_connections_open\{service="\/proxy"[^}]*\} (\d+)/.exec(text)[1];
  };
  await within(5000, 'the proxied connections to be gone', (async () => {
    while ((await open()) !== '0') await new Promise((resolve) => setTimeout(resolve, 20));
  })());
});

test('large messages to many who do not read take bounded memory', async () => {
  const own = await start(`
[limits]
unsent-bytes-max = "8MiB"
write-timeout = "60s"

[memory]
unsent-bytes-max-per-core = "32MiB"
`, { threads: 1 });
  try {
    const subscribers = [];
    for (let i = 0; i < 100; i++) {
      const tcp = await Tcp.open(own);
      await tcp.connect();
      tcp.frame('SUBSCRIBE', 'id:1', `destination:/topic/large.${i}`, 'receipt:r', '', '');
      assert.equal((await tcp.next()).command, 'RECEIPT');
      tcp.socket.pause();
      subscribers.push(tcp);
    }
    const publisher = await Tcp.open(own);
    await publisher.connect();
    const body = 'x'.repeat(500_000);
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 100; i++) {
        // Each has messages of its own, so that nothing can be shared.
        publisher.write(`SEND\ndestination:/topic/large.${i}\nreceipt:${round}\n\n${body}\0`);
        assert.equal((await publisher.next(20_000)).command, 'RECEIPT');
      }
    }
    const status = await readFile(`/proc/${own.process.pid}/status`, 'utf8');
    const peak = Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024;
    // 32 MiB of backlogs, the turn's own frames, and the rest of the process.
    assert.ok(peak < 120, `the gateway took ${peak} MiB`);
    const text = await (await fetch(own.http('/metrics'))).text();
    const slow = Number(/^passerelle_slow_consumers_total\{service="\/messaging",protocol="stomp"\} (\d+)/m.exec(text)?.[1]);
    assert.ok(slow > 0 && slow < 100, `${slow} of 100 were ended`);
    subscribers.forEach((tcp) => tcp.destroy());
  } finally {
    await own.stop();
  }
});

test('a gateway that stops does not wait for those who never said anything', async () => {
  const own = await start('[shutdown]\ngrace = "0s"\ndrain = "60s"\n');
  try {
    const silent = await Raw.open(own);
    await fetch(own.http('/healthz'));
    own.terminate();
    assert.equal(await within(10_000, 'the gateway to end', own.exited), 0);
    await silent.rest();
  } finally {
    await own.stop();
  }
});
