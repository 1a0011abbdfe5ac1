// Bounds of the gateway itself: each is reached, and what happens is what its policy says.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

let gateway;
let feed;
before(async () => {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  feed = { server, next: async () => (await once(server, 'connection'))[0] };
  const fed = feed.next();
  gateway = await start(`
[limits]
commands-max = 10
publish-timeout = "3s"
queue-messages-max = 3
queues-max = 50
heartbeat-min = "3s"
heartbeat-offer = "20s"
prefetch-default = 2
message-bytes-max = "100KiB"
ping-interval = "1s"

[[service]]
path = "/messaging"
type = "broker"
ping = { "v12.stomp" = false }

[[service]]
path = "/wide"
type = "broker"

[service.limits]
subscriptions-max = 3000
prefetch-max = 3000

[[service]]
path = "/queues"
type = "queues"

[[service]]
path = "/lines"
type = "broadcast"
feed = "tcp://127.0.0.1:${server.address().port}"

[[service]]
path = "/broadcast"
type = "broadcast"
`);
  feed.socket = await within(5000, 'the gateway at its feed', fed);
});
after(async () => {
  await gateway?.stop();
  feed?.socket?.destroy();
  feed?.server.close();
});

/** The megabytes that a gateway has in memory. */
async function megabytes(of) {
  const status = await readFile(`/proc/${of.process.pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
}

/** Reads until it is good. */
async function eventually(what, read, good, ms = 5000) {
  const begin = performance.now();
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    assert.ok(performance.now() - begin < ms, `${what}: ${value}`);
    await pause(20);
  }
}

test('a publisher at a full queue waits publish-timeout, then is refused: by ERROR, by 503', async (t) => {
  const queue = unique('full');
  const open = peers(t, () => gateway);
  const sender = await open();
  for (let i = 0; i < 3; i += 1) await sender.send(`/queue/${queue}`, `${i}`);
  const begin = performance.now();
  const refused = request(gateway, `/queues/${queue}`, { method: 'POST', body: 'x' });
  await assert.rejects(sender.send(`/queue/${queue}`, 'one too many'), /closed before the RECEIPT/);
  assert.ok(performance.now() - begin >= 2900);
  assert.match((await sender.errors.next()).headers.message, /full/);
  const { status, headers } = await refused;
  assert.equal(status, 503);
  assert.equal(headers['retry-after'], '1');
  // What it had taken is still there.
  const subscription = await (await open()).subscribe(`/queue/${queue}`);
  assert.deepEqual(await subscription.bodies(3), ['0', '1', '2']);
});

test('commands-max: a peer with ten sends in flight is read no further, and goes on when there is room', async (t) => {
  const queue = unique('commands');
  const open = peers(t, () => gateway);
  const consumer = await open();
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  const before = await megabytes(gateway);
  const count = 500;
  const body = 'x'.repeat(50_000);
  let taken = false;
  const frames = Array.from({ length: count }, (_, i) => `SEND\ndestination:/queue/${queue}\nnumber:${i}\n\n${body}\0`);
  tcp.socket.write(frames.join(''), () => (taken = true));
  const waiting = async () => {
    const { text } = await request(gateway, '/metrics');
    return Number(new RegExp(`^passerelle_queue_waiting\\{.*${queue}.*\\} (\\d+)`, 'm').exec(text)?.[1]);
  };
  // It is read again when half of the ten have their reply.
  await eventually('sends that wait', waiting, (count) => count >= 5);
  await pause(200);
  assert.ok((await waiting()) <= 10);
  assert.ok(!taken, 'all 25 MB were read, though the queue takes three messages');
  const more = (await megabytes(gateway)) - before;
  assert.ok(more < 12, `${more} MB for a publisher that must wait`);
  const subscription = await consumer.subscribe(`/queue/${queue}`, { ack: 'client-individual', prefetch: '5' });
  for (let i = 0; i < count; i += 1) {
    const message = await subscription.next();
    assert.equal(message.headers.number, `${i}`);
    message.ack();
  }
});

test('queues-max: no queue beyond it, and those that end make room', async (t) => {
  const open = peers(t, () => gateway);
  const name = unique('queues');
  // Each core has its own count, of which half is kept for temporary queues; one principal makes 25.
  const most = 25 * Number(process.env.THREADS ?? 1);
  let made = 0;
  let refused;
  for (let address = 2; !refused; address += 1) {
    const keeper = await open({ localAddress: `127.0.0.${address}` });
    try {
      for (let i = 0; i < 25; i += 1) {
        await keeper.send(`/queue/${name}-${made}`, 'x');
        made += 1;
        assert.ok(made <= most, `${made} queues`);
      }
    } catch (error) {
      assert.match(error.message, /closed before the RECEIPT/);
      refused = await keeper.errors.next();
    }
  }
  assert.match(refused.headers.message, /limit/);
  assert.match(refused.body, /limits\.queues-max/);
  const consumer = await open();
  const replies = await consumer.subscribe('/temp-queue/replies');
  await consumer.send('/temp-queue/replies', 'has room');
  assert.equal((await replies.next()).body, 'has room');
  for (let i = 0; i < made; i += 1) {
    const subscription = await consumer.subscribe(`/queue/${name}-${i}`);
    assert.equal((await subscription.next()).body, 'x');
    await subscription.unsubscribe();
  }
  await (await open()).send(`/queue/${name}-again`, 'x');
  const subscription = await consumer.subscribe(`/queue/${name}-again`);
  assert.equal((await subscription.next()).body, 'x');
});

test('prefetch-default: this many are in flight when the subscription names no number', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique('prefetch')}`;
  const [consumer, sender] = [await open(), await open()];
  const subscription = await consumer.subscribe(queue, { ack: 'client-individual' });
  for (let i = 0; i < 3; i += 1) await sender.send(queue, `${i}`);
  const [first] = await subscription.messages.take(2);
  await consumer.sync();
  assert.equal(subscription.messages.length, 0);
  first.ack();
  assert.equal((await subscription.next()).body, '2');
});

test('heart-beats: offered as configured, agreed to no faster than the shortest', async (t) => {
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  const { headers } = await tcp.connect('heart-beat:10,10');
  assert.equal(headers['heart-beat'], '3000,3000');
  const other = await Tcp.open(gateway);
  t.after(() => other.destroy());
  assert.equal((await other.connect('heart-beat:60000,60000')).headers['heart-beat'], '20000,20000');
});

test('pings go by subprotocol', async (t) => {
  const pinged = {};
  for (const protocol of ['v11.stomp', 'v12.stomp']) {
    const socket = await Socket.open(gateway.ws('/messaging'), [protocol]);
    t.after(() => socket.terminate());
    socket.ws.on('ping', () => (pinged[protocol] = true));
    socket.send('CONNECT\naccept-version:1.1,1.2\nhost:/\n\n\0');
    assert.match(await socket.next(), /^CONNECTED/);
  }
  await eventually('a ping', () => pinged['v11.stomp'], Boolean);
  await pause(1500);
  assert.deepEqual(pinged, { 'v11.stomp': true });
});

test('the head of a request is bounded, in bytes and in headers', async () => {
  const cases = [
    ['a long header', `X: ${'x'.repeat(70_000)}\r\n`],
    ['many headers', 'X: x\r\n'.repeat(200)],
  ];
  for (const [rule, headers] of cases) {
    const raw = await Raw.open(gateway);
    raw.write(`GET /healthz HTTP/1.1\r\nHost: localhost\r\n${headers}`);
    if (rule === 'many headers') raw.write('\r\n');
    assert.match((await raw.rest()).toString(), /^HTTP\/1\.1 431 /, rule);
  }
});

test('a feed whose line is too long is left, and connected to again', async (t) => {
  const socket = await Socket.open(gateway.ws('/lines'));
  t.after(() => socket.terminate());
  const again = feed.next();
  feed.socket.on('error', () => {});
  feed.socket.write(`before\n${'x'.repeat(200_000)}`);
  assert.equal(await socket.next(), 'before');
  feed.socket = await within(10_000, 'the gateway at its feed', again);
  feed.socket.write('after\n');
  assert.equal(await socket.next(), 'after');
});

test('a deflated broadcast is compressed once, not once for each subscriber', async (t) => {
  const cores = Number(process.env.THREADS ?? 1);
  const sockets = await Promise.all(Array.from({ length: 40 }, () => Socket.open(gateway.ws('/broadcast'))));
  t.after(() => sockets.forEach((socket) => socket.terminate()));
  assert.deepEqual(new Set(sockets.map(({ ws }) => ws.extensions)), new Set(['permessage-deflate']));
  const counts = async () => {
    const { text } = await request(gateway, '/metrics');
    return ['encoded', 'shared'].map((what) => Number(new RegExp(`^passerelle_frames_${what}_total (\\d+)`, 'm').exec(text)[1]));
  };
  const [encoded, shared] = await counts();
  const text = 'compress me '.repeat(1000);
  sockets[0].send(text);
  for (const socket of sockets) assert.equal(await socket.next(), text);
  const [encodedNow, sharedNow] = await counts();
  assert.ok(encodedNow - encoded >= 1 && encodedNow - encoded <= cores, `encoded ${encodedNow - encoded} times`);
  assert.equal(encodedNow - encoded + sharedNow - shared, 40);
});

test('without free descriptors accepting pauses; what waits is served when there are some again', async (t) => {
  const own = await start('', { descriptors: 100 });
  t.after(() => own.stop());
  let said = '';
  own.process.stderr.on('data', (data) => (said += data));
  const all = [];
  t.after(() => all.forEach((raw) => raw.destroy()));
  const responded = new Set();
  for (let i = 0; i < 150; i += 1) {
    const raw = await Raw.open(own);
    all.push(raw);
    raw.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    raw.until('\r\n\r\nok', 20_000).then(() => responded.add(raw), () => {});
  }
  await eventually('the warning', () => said, (text) => /cannot accept more connections/.test(text));
  await eventually('a response to those that are in', () => responded.size, (count) => count > 30);
  assert.ok(responded.size < 100, `${responded.size} of 150 are in`);
  // Those that leave make room.
  await eventually('a response to all', () => {
    for (const raw of responded) raw.destroy();
    return responded.size;
  }, (count) => count === 150, 15_000);
  assert.match(said, /descriptors are free again/);
});

test('limits of a service hold where they are wider than the global ones', async (t) => {
  const open = peers(t, () => gateway);
  const [wide, plain] = [await open({ path: '/wide' }), await open()];
  for (let i = 1; i < 3000; i += 1) wide.client.subscribe(`/topic/${unique()}`, () => {});
  await wide.subscribe(`/topic/${unique()}`);
  for (let i = 1; i < 1000; i += 1) plain.client.subscribe(`/topic/${unique()}`, () => {});
  await plain.subscribe(`/topic/${unique()}`);
  wide.client.subscribe(`/topic/${unique()}`, () => {});
  assert.match((await wide.errors.next()).body, /at most 3000 subscriptions/);
  plain.client.subscribe(`/topic/${unique()}`, () => {});
  assert.match((await plain.errors.next()).body, /at most 1000 subscriptions/);
});
