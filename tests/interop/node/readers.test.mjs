// Readers of queues: a queue sends no faster than its reader takes, closes no reader for being slow,
// and loses nothing when one leaves.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';

const MB = 1_000_000;
/** More megabytes than the kernel's buffers take for a reader that does not read. */
const MANY = 60;
let gateway;
before(async () => (gateway = await start(`
[limits]
queue-bytes-max = "256MiB"

[[service]]
path = "/messaging"
type = "broker"

[[service]]
path = "/impatient"
type = "broker"
[service.limits]
write-timeout = "1s"

[[service]]
path = "/large"
type = "broker"
[service.limits]
message-bytes-max = "8MiB"
transaction-bytes-max = "8MiB"
unsent-bytes-max = "8MiB"
`)));
after(() => gateway?.stop());

/** Text that does not get smaller where the WebSocket is compressed. */
const noise = randomBytes(3 * 8 * MB / 4).toString('base64');
const body = (n, bytes = MB) => `${n} ${noise.slice(n, n + bytes)}`.slice(0, bytes);
const number = (text) => Number.parseInt(text, 10);
const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => from + n);

async function filled(peer, count, bytes = MB) {
  const queue = `/queue/${unique()}`;
  for (const n of numbers(count)) await peer.send(queue, body(n, bytes));
  return queue;
}

/** What is left in a queue, as numbers. */
async function left(peer, queue) {
  const end = 'end';
  await peer.send(queue, end, { priority: '0' });
  const subscription = await peer.subscribe(queue);
  const all = [];
  for (;;) {
    const { body } = await subscription.next(10_000);
    if (body === end) {
      await subscription.unsubscribe();
      return all;
    }
    all.push(number(body));
  }
}

const metrics = async () => (await fetch(gateway.http('/metrics'))).text();

/** How many STOMP connections the gateway knows of. */
const connections = async () =>
  [...(await metrics()).matchAll(/^passerelle_connections_open\{[^}]*protocol="stomp"\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);

/** Waits until the gateway has closed this many for being slow. */
const closedAsSlow = (count) =>
  within(20_000, `the gateway to close ${count}`, (async () => {
    const line = new RegExp(`slow_consumers_total\\{service="/impatient"[^}]*\\} ${count}$`, 'm');
    while (!line.test(await metrics())) await pause(20);
  })());

/** Reads nothing more: what the kernel takes comes no further. */
const stall = (peer) => peer.socket.pause();

for (const ack of ['auto', 'client', 'client-individual'])
  test(`${ack}: large messages reach a healthy reader`, async (t) => {
    const open = peers(t, () => gateway);
    const [sender, reader] = [await open(), await open()];
    const count = ack === 'auto' ? 12 : 50;
    const queue = await filled(sender, count);
    const subscription = await reader.subscribe(queue, { ack });
    for (const n of numbers(count)) {
      const message = await subscription.next(20_000);
      assert.equal(number(message.body), n);
      if (ack !== 'auto') message.ack();
    }
    await subscription.unsubscribe();
    assert.deepEqual(await left(sender, queue), []);
    assert.match(await metrics(), /^passerelle_broker_dead_lettered_total 0$/m);
  });

test('a client that acknowledges once for all gets all', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const queue = await filled(sender, 30);
  const subscription = await reader.subscribe(queue, { ack: 'client' });
  const messages = await subscription.messages.take(30, 20_000);
  assert.deepEqual(messages.map(({ body }) => number(body)), numbers(30));
  messages.at(-1).ack();
  await subscription.unsubscribe();
  assert.deepEqual(await left(sender, queue), []);
});

test('a browser that reads slowly is shown all', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, browser] = [await open(), await open()];
  const queue = await filled(sender, 20);
  const subscription = await browser.subscribe(queue, { browser: 'true', prefetch: '7' });
  stall(browser);
  await pause(200);
  browser.socket.resume();
  for (const n of numbers(20)) assert.equal(number((await subscription.next(20_000)).body), n);
  assert.equal((await subscription.next()).headers.browser, 'end');
  assert.deepEqual(await left(sender, queue), numbers(20));
});

test('many subscriptions of one connection, and one over TCP, get all', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const queues = await Promise.all(numbers(6).map(() => filled(sender, 5)));
  const subscriptions = await Promise.all(
    queues.map((queue, n) => reader.subscribe(queue, { ack: n % 2 ? 'auto' : 'client-individual' })),
  );
  for (const subscription of subscriptions)
    for (const n of numbers(5)) {
      const message = await subscription.next(20_000);
      assert.equal(number(message.body), n);
      message.ack();
    }
  const queue = await filled(sender, 12);
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  assert.equal((await tcp.connect()).command, 'CONNECTED');
  tcp.frame('SUBSCRIBE', 'id:1', `destination:${queue}`, '', '');
  for (const n of numbers(12)) assert.equal(number((await tcp.next(20_000)).body), n);
});

test('messages as large as all that may be unsent are delivered, one at a time', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open({ path: '/large' }), await open({ path: '/large' })];
  const queue = await filled(sender, 4, 8_300_000);
  for (const ack of ['client-individual', 'auto']) {
    const subscription = await reader.subscribe(queue, { ack });
    const messages = await subscription.messages.take(4, 20_000);
    assert.deepEqual(messages.map(({ body }) => number(body)), numbers(4));
    if (ack !== 'auto') {
      for (const message of messages) message.nack();
      await subscription.unsubscribe();
    }
  }
});

test('a reader that takes nothing leaves the rest to others, and one that reads again gets its own', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, slow, fast] = [await open(), await open(), await open()];
  const queue = `/queue/${unique()}`;
  const stalled = await slow.subscribe(queue);
  stall(slow);
  const quick = await fast.subscribe(queue);
  for (const n of numbers(MANY)) await sender.send(queue, body(n));
  const got = (await quick.messages.take(MANY / 2 + 5, 20_000)).map(({ body }) => number(body));
  slow.socket.resume();
  await within(20_000, 'all messages', (async () => {
    while (got.length + stalled.messages.length + quick.messages.length < MANY) await pause(20);
  })());
  got.push(...(await quick.messages.take(quick.messages.length)).map(({ body }) => number(body)));
  got.push(...(await stalled.messages.take(stalled.messages.length)).map(({ body }) => number(body)));
  assert.deepEqual(got.sort((a, b) => a - b), numbers(MANY));
});

test('a reader that takes nothing for write-timeout is closed, and the queue has what it did not get', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, slow] = [await open(), await open({ path: '/impatient' })];
  const queue = await filled(sender, MANY);
  const stalled = await slow.subscribe(queue);
  stall(slow);
  await closedAsSlow(1);
  // What the kernel has taken for it is still to be read.
  slow.socket.resume();
  await within(5000, 'the end', slow.closed);
  const seen = (await stalled.messages.take(stalled.messages.length)).map(({ body }) => number(body));
  const remaining = await left(sender, queue);
  assert.deepEqual([...seen, ...remaining].sort((a, b) => a - b), numbers(MANY));

  for (const n of numbers(MANY)) await sender.send(queue, body(n));
  const individual = await open({ path: '/impatient' });
  await individual.subscribe(queue, { ack: 'client-individual' });
  stall(individual);
  await closedAsSlow(2);
  const other = await open();
  const again = await other.subscribe(queue, { ack: 'client-individual', prefetch: `${MANY}` });
  for (const { headers } of await again.messages.take(MANY, 20_000)) assert.equal(headers.redelivered, undefined);
  await again.unsubscribe();
  assert.deepEqual(await left(sender, queue), numbers(MANY));
});

test('a subscription that ends while its connection does not read leaves the queue in order', async (t) => {
  const open = peers(t, () => gateway);
  const sender = await open();
  for (const filling of [1, 4, 12, 40]) {
    const [first, queue] = [await filled(sender, filling, 100_000), await filled(sender, 20, 50_000)];
    const tcp = await Tcp.open(gateway);
    t.after(() => tcp.destroy());
    await tcp.connect();
    tcp.socket.pause();
    tcp.frame('SUBSCRIBE', 'id:a', `destination:${first}`, '', '');
    await pause(200);
    tcp.frame('SUBSCRIBE', 'id:b', `destination:${queue}`, '', '');
    await pause(100);
    tcp.frame('UNSUBSCRIBE', 'id:b', '', '');
    tcp.frame('SUBSCRIBE', 'id:c', `destination:${queue}`, '', '');
    await pause(100);
    tcp.socket.resume();
    const got = [];
    for (let n = 0; n < filling + 20; n++) {
      const { headers, body } = await tcp.next(10_000);
      if (headers.subscription !== 'a') got.push(number(body));
    }
    assert.deepEqual(got, numbers(20));
  }
});

test('a reader of a temporary topic that takes nothing is closed, as of any topic', async (t) => {
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  tcp.frame('SUBSCRIBE', 'id:1', 'destination:/temp-topic/mine', 'receipt:r', '', '');
  await tcp.next();
  tcp.socket.pause();
  const slow = async () =>
    [...(await metrics()).matchAll(/slow_consumers_total\{[^}]*protocol="stomp"\} (\d+)$/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
  const before = await slow();
  for (let sent = 0; (await slow()) === before; sent++) {
    assert(sent < 100, 'still open after 100 MB');
    for (let n = 0; n < 16; n++) tcp.frame('SEND', 'destination:/temp-topic/mine', '', noise.slice(0, 60_000));
    await pause(10);
  }
});

/** What makes an ERROR, in a handler of messages, and whether it counts as a failed attempt. */
const ERRORS = {
  'a full queue': ['destination full', (worker, full) => worker.publish(full, 'result')],
  'a missing right': ['not allowed', (worker) => worker.publish('/queue/DLQ.jobs', 'mine')],
  'a transaction that is too large': [
    'limit reached',
    (worker) => {
      const transaction = worker.client.begin('t').id;
      for (const n of numbers(4)) worker.publish('/topic/results', `${n}`, { transaction });
    },
    'counts',
  ],
  'a malformed frame': ['malformed frame', (worker) => worker.socket.send('SEND\nno colon\n\n\0'), 'counts'],
};
test('an ERROR counts as a failed attempt if doing the same again would fail again', async (t) => {
  const own = await start(`
[limits]
queue-messages-max = 20
publish-timeout = "100ms"
[[service]]
path = "/messaging"
type = "broker"
[service.limits]
transaction-operations-max = 3
`);
  t.after(() => own.stop());
  const open = peers(t, () => own);
  const sender = await open();
  const full = await filled(sender, 20, 10);
  for (const [name, [message, fail, counts]] of Object.entries(ERRORS)) {
    const queue = await filled(sender, 10, 10);
    const rounds = counts ? 3 : 8;
    for (const round of numbers(rounds)) {
      const worker = await open();
      const jobs = await worker.subscribe(queue, { ack: 'client-individual', prefetch: '10' });
      for (const { headers } of await jobs.messages.take(10)) {
        const count = headers['delivery-count'] ?? '1';
        assert.equal(count, counts ? `${round + 1}` : '1', `${name}, round ${round}`);
      }
      fail(worker, full);
      assert.equal((await worker.errors.next()).headers.message, message, name);
      await within(5000, 'the end', worker.closed);
    }
    assert.deepEqual(await left(sender, queue), numbers(10), name);
  }
});

for (const leave of ['UNSUBSCRIBE', 'DISCONNECT', 'a WebSocket close'])
  test(`${leave} counts as no failed attempt`, async (t) => {
    const open = peers(t, () => gateway);
    const sender = await open();
    const queue = await filled(sender, 5, 10);
    for (const _ of numbers(8)) {
      const reader = await open();
      const subscription = await reader.subscribe(queue, { ack: 'client-individual' });
      const [first] = await subscription.messages.take(5);
      assert.equal(first.headers.redelivered, undefined);
      if (leave === 'UNSUBSCRIBE') await subscription.unsubscribe();
      if (leave === 'a WebSocket close') {
        reader.socket.close(1000);
        await within(5000, 'the end', reader.closed);
      } else await reader.close();
    }
    assert.deepEqual(await left(sender, queue), numbers(5));
  });

test('a lost connection counts as a failed attempt of what was delivered, not of what was not', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const queue = await filled(sender, MANY);
  const subscription = await reader.subscribe(queue, { ack: 'client-individual', prefetch: `${MANY}` });
  await subscription.next();
  stall(reader);
  await pause(100);
  const before = await connections();
  await reader.drop();
  await within(5000, 'the gateway to notice', (async () => {
    while ((await connections()) === before) await pause(5);
  })());
  const other = await open();
  const again = await other.subscribe(queue, { ack: 'client-individual', prefetch: `${MANY}` });
  const first = await again.next(10_000);
  assert.deepEqual([number(first.body), first.headers['delivery-count']], [0, '2']);
  for (const _ of numbers(MANY - 2)) await again.next(10_000);
  const last = await again.next(10_000);
  assert.deepEqual([number(last.body), last.headers.redelivered], [MANY - 1, undefined]);
});
