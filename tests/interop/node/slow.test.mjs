// Topics whose subscribers cannot take all: what is dropped, what is replaced by newer messages, and
// what subscribers are told.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { peers, unique } from './lib/peer.mjs';
import { pause, within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

const KEYS = 10;
/** More rounds of all keys than buffers on the way to a reader that does not read. */
const ROUNDS = 100;
/** Text that does not get smaller where the WebSocket is compressed. */
const noise = randomBytes(15_000).toString('base64');
const body = (n) => `${n} ${noise}`;
const number = (message) => Number.parseInt(message.body, 10);
const dropped = (message) => Number(message.headers['x-dropped'] ?? 0);
const metrics = async () => (await fetch(gateway.http('/metrics'))).text();

/** Messages until all that was published was delivered, or told to be dropped. */
async function allOf(subscription, published) {
  const messages = [];
  let count = 0;
  while (count < published) {
    const message = await subscription.next(20_000);
    messages.push(message);
    count += 1 + dropped(message);
  }
  assert.equal(count, published);
  return messages;
}

/** A reader that stalls while much is published, and then reads on. */
async function stalled(t, headers, publish) {
  const open = peers(t, () => gateway);
  const [sender, reader, other] = [await open(), await open(), await open()];
  const topic = `/topic/${unique()}`;
  const subscription = await reader.subscribe(`${topic}.*`, headers);
  const all = await other.subscribe(`${topic}.*`);
  reader.socket.pause();
  let count = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let key = 0; key < KEYS; key += 1) {
      count += 1;
      await publish(sender, topic, key, count);
    }
  }
  const others = await all.messages.take(count, 20_000);
  assert.deepEqual(others.map(number), Array.from({ length: count }, (_, n) => n + 1));
  reader.socket.resume();
  const messages = await allOf(subscription, count);
  assert(messages.length < count / 2, `${messages.length} of ${count} came`);
  return { messages, count, sender, reader, subscription, topic };
}

const toKey = (sender, topic, key, n) => sender.send(`${topic}.k${key}`, body(n));
const keyOf = ({ headers }) => headers.destination;

function assertNewestOfEach(messages, count, key) {
  const newest = new Map();
  for (const message of messages) {
    assert(!(newest.get(key(message)) >= number(message)), 'an older one after a newer one');
    newest.set(key(message), number(message));
  }
  const expected = Array.from({ length: KEYS }, (_, n) => count - KEYS + 1 + n);
  assert.deepEqual([...newest.values()].sort((a, b) => a - b), expected);
}

test('latest: a reader that stalled gets the newest of each destination', async (t) => {
  const { messages, count, reader, subscription, sender, topic } = await stalled(t, { 'x-slow': 'latest' }, toKey);
  assertNewestOfEach(messages, count, keyOf);
  // It is not behind any more, and nothing is dropped.
  await toKey(sender, topic, 0, count + 1);
  const message = await subscription.next();
  assert.deepEqual([number(message), dropped(message)], [count + 1, 0]);
  await reader.sync();
});

test('latest: the newest of each value of a header', async (t) => {
  const { messages, count } = await stalled(t, { 'x-slow': 'latest', 'x-key': 'symbol' }, (sender, topic, key, n) =>
    sender.send(`${topic}.all`, body(n), { symbol: `k${key}` }),
  );
  assertNewestOfEach(messages, count, ({ headers }) => headers.symbol);
});

test('drop-oldest: a reader that stalled gets the last of all', async (t) => {
  const { messages, count } = await stalled(t, { 'x-slow': 'drop-oldest' }, toKey);
  const numbers = messages.map(number);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
  // In one piece, but for what was on its way when the reader stopped.
  const last = messages.findLastIndex((message) => dropped(message) > 0);
  assert.deepEqual(numbers.slice(last), Array.from({ length: messages.length - last }, (_, n) => count - messages.length + last + 1 + n));
});

test('client-individual: credit comes with the acknowledgement', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const subscription = await reader.subscribe(topic, { ack: 'client-individual', 'prefetch-count': '1', 'x-slow': 'latest' });
  for (let n = 1; n <= 5; n += 1) await sender.send(topic, `${n}`);
  const first = await subscription.next();
  assert.equal(number(first), 1);
  await reader.sync();
  assert.equal(subscription.messages.length, 0);
  first.ack();
  const second = await subscription.next();
  assert.deepEqual([number(second), dropped(second)], [5, 3]);
  second.nack();
  await sender.send(topic, '6');
  const third = await subscription.next();
  assert.deepEqual([number(third), dropped(third)], [6, 0]);
  await reader.receipt((receipt) => third.ack({ receipt }));
  await subscription.unsubscribe();
});

test('close: too much waits for a client that does not acknowledge', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const subscription = await reader.subscribe(topic, { ack: 'client', 'prefetch-count': '1' });
  for (let n = 1; n <= 400 && reader.errors.length === 0; n += 1) await sender.send(topic, body(n));
  const { headers, body: text } = await reader.errors.next();
  assert.equal(headers.message, 'too slow');
  assert.match(text, /unsent-bytes-max.*x-slow/);
  const { code } = await reader.closed;
  assert.equal(code, 1008);
  assert.equal(subscription.messages.length, 1);
});

test('an operator learns that more waits on a core than may', async (t) => {
  const own = await start(`
[limits]
unsent-bytes-max = "2MiB"

[memory]
unsent-bytes-max-per-core = "4MiB"
`);
  t.after(() => own.stop());
  const open = peers(t, () => own);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const slow = { ack: 'client', 'prefetch-count': '1', 'x-slow': 'drop-oldest' };
  const subscription = await reader.subscribe(topic, slow);
  for (let n = 1; n <= 100; n += 1) await sender.send(topic, body(n));
  assert.equal(number(await subscription.next()), 1);
  const said = async () => {
    while (!/more waits for the slow subscribers of a core.*\n/.test(own.said)) await pause(20);
  };
  await within(5000, 'the log to say so', said());
  const [line] = own.said.split('\n').filter((one) => one.includes('more waits for the slow'));
  assert.match(line, /dropped.{0,8}[1-9]/);
  assert.match(line, /peer/);
  assert.doesNotMatch(line, new RegExp(noise.slice(0, 20)));
});

test('a rate holds on average, and the newest comes', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const begin = performance.now();
  const subscription = await reader.subscribe(topic, { 'x-max-rate': '10' });
  const count = 60;
  for (let n = 1; n <= count; n += 1) {
    await sender.send(topic, `${n}`);
    await pause(10);
  }
  const messages = await allOf(subscription, count);
  assert.equal(number(messages.at(-1)), count);
  const seconds = (performance.now() - begin) / 1000;
  assert(messages.length <= 10 * (seconds + 0.2) + 1, `${messages.length} in ${seconds} s`);
});

test('what was dropped is in the metrics, by subscription', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  await reader.subscribe(topic, { ack: 'client', 'prefetch-count': '1', 'x-slow': 'latest' });
  for (let n = 1; n <= 5; n += 1) await sender.send(topic, `${n}`);
  const all = await metrics();
  const of = (what) => new RegExp(`^passerelle_subscription_${what}\\{.*destination="${topic}".*\\} (\\d+)$`, 'm').exec(all)?.[1];
  assert.deepEqual([of('conflated_total'), of('dropped_total'), of('waiting')], ['3', '0', '1'], all);
  assert(Number(/^passerelle_broker_topic_conflated_total (\d+)$/m.exec(all)[1]) >= 3);
});

test('queues refuse to drop', async (t) => {
  const open = peers(t, () => gateway);
  const reader = await open();
  reader.client.subscribe('/queue/orders', () => {}, { 'x-slow': 'latest' });
  const { headers, body: text } = await reader.errors.next();
  assert.equal(headers.message, 'topics only');
  assert.match(text, /x-slow/);
});
