// What the operator says of queues ([[queue]]), and messages that are delivered later: delays in all spellings, redelivery with
// back-off, and what becomes of both when the process ends.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { again, start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

const config = `
[store]
path = "store"

[[queue]]
pattern = "kept.>"
durable = true

[[queue]]
pattern = "slow.dropped.>"
redelivery = { attempts = 1 }
dead-letter = false

[[queue]]
pattern = "slow.>"
redelivery = { attempts = 3, delay = "300ms", factor = 2.0, max-delay = "500ms" }
dead-letter = "DLQ.slow"
`;

async function begin(t, text = config) {
  const life = { gateway: await start(text) };
  t.after(() => life.gateway.stop());
  life.crash = async () => (life.gateway = await again(life.gateway, 'SIGKILL'));
  life.peer = (options) => Peer.open(life.gateway, options);
  life.metrics = async () => (await request(life.gateway, '/metrics')).text;
  return life;
}

/** How long it takes until a subscription gets a message that has this body, in milliseconds. */
async function wait(subscription, body) {
  const before = performance.now();
  const message = await subscription.next(5000);
  assert.equal(message.body, body);
  return [performance.now() - before, message];
}

/** Waits no less than this, but for what clocks differ by. */
const atLeast = (ms, waited) => assert.ok(waited > ms - 30, `after ${waited} ms, and not ${ms}`);

const spellings = [
  ['delivery-delay', () => '500'],
  ['AMQ_SCHEDULED_DELAY', () => '500'],
  ['x-delay', () => '500'],
  ['_AMQ_SCHED_DELIVERY', () => String(Date.now() + 500)],
];
for (const [name, value] of spellings) {
  test(`a message with ${name} is delivered when its time has come, and holds up none`, async (t) => {
    const life = await begin(t);
    const peer = await life.peer();
    const queue = `/queue/${unique()}`;
    const subscription = await peer.subscribe(queue, { ack: 'auto' });
    await peer.send(queue, 'later', { [name]: value() });
    const sent = performance.now();
    await peer.send(queue, 'now', { [name]: name.startsWith('_') ? String(Date.now() - 1) : '0', own: 'stays' });
    const [, now] = await wait(subscription, 'now');
    assert.equal(now.headers.own, 'stays');
    const [, later] = await wait(subscription, 'later');
    atLeast(500, performance.now() - sent);
    assert.equal(later.headers[name], undefined, 'it is not for receivers: who forwards it would delay it again');
    await peer.close();
  });
}

test('what is delivered later counts, expires and is in a transaction as any other', async (t) => {
  const life = await begin(t);
  const peer = await life.peer();
  const queue = `/queue/${unique()}`;
  await peer.send(queue, 'lost', { 'delivery-delay': '400', expires: String(Date.now() + 300) });
  peer.frame('BEGIN', { transaction: 't' });
  peer.publish(queue, 'kept', { 'delivery-delay': '400', transaction: 't' });
  await peer.receipt((receipt) => peer.frame('COMMIT', { transaction: 't', receipt }));
  const line = (name, value) => new RegExp(`${name}\\{queue="${queue}"\\} ${value}\\b`);
  const metrics = await life.metrics();
  assert.match(metrics, line('queue_delayed', 2));
  assert.match(metrics, line('queue_ready', 0));
  const subscription = await peer.subscribe(queue, { ack: 'auto' });
  await wait(subscription, 'kept');
  await peer.sync();
  assert.equal(subscription.messages.length, 0);
  await peer.close();
});

for (const [what, destination, headers, said] of [
  ['a delay that is none', '/queue/a', { 'x-delay': '-1' }, 'bad delay'],
  ['a delay of a year', '/queue/a', { AMQ_SCHEDULED_DELAY: '31536000000' }, 'bad delay'],
  ['a time in a year', '/queue/a', { _AMQ_SCHED_DELIVERY: String(Date.now() + 31_536_000_000) }, 'bad delay'],
  ['a repetition', '/queue/a', { AMQ_SCHEDULED_PERIOD: '1000' }, 'messages are not repeated'],
]) {
  test(`a delayed message is refused that is for ${what}`, async (t) => {
    const life = await begin(t);
    const peer = await life.peer();
    peer.publish(destination, 'x', headers);
    const error = await peer.errors.next();
    assert.equal(error.headers.message, said);
    await within(5000, 'the end', peer.closed);
  });
}

test('HTTP publishes for later', async (t) => {
  const life = await begin(t);
  const peer = await life.peer();
  const queue = unique();
  const subscription = await peer.subscribe(`/queue/${queue}`, { ack: 'auto' });
  const post = async (path, delay) => {
    const headers = { 'delivery-delay': delay };
    return (await request(life.gateway, path, { method: 'POST', headers, body: 'later' })).status;
  };
  const sent = performance.now();
  assert.equal(await post(`/queues/${queue}`, '300'), 204);
  assert.equal(await post(`/topics/${queue}`, '300'), 204);
  const topic = await peer.subscribe(`/topic/${queue}`);
  assert.equal(await post(`/queues/${queue}`, 'soon'), 400);
  await wait(subscription, 'later');
  atLeast(300, performance.now() - sent);
  await wait(topic, 'later');
  await peer.close();
});

test('a message to a topic comes when it is due, to all who are subscribed then', async (t) => {
  const life = await begin(t);
  const [sender, early, late] = [await life.peer(), await life.peer(), await life.peer()];
  const topic = `/topic/${unique()}`;
  const first = await early.subscribe(topic);
  const sent = performance.now();
  await sender.send(topic, 'later', { 'delivery-delay': '600' });
  await sender.send(topic, 'now');
  sender.frame('BEGIN', { transaction: 't' });
  sender.publish(topic, 'later still', { 'delivery-delay': '900', transaction: 't' });
  await sender.receipt((receipt) => sender.frame('COMMIT', { transaction: 't', receipt }));
  // It is due whether its sender is there or not.
  await sender.close();
  await wait(first, 'now');
  const second = await late.subscribe(topic);
  for (const [body, ms] of [['later', 600], ['later still', 900]]) {
    for (const subscription of [first, second]) {
      await wait(subscription, body);
      atLeast(ms, performance.now() - sent);
    }
  }
  await Promise.all([early.close(), late.close()]);
});

test('a durable subscription keeps what is due later, over a crash too', async (t) => {
  const life = await begin(t);
  const [name, topic] = [unique(), `/topic/${unique()}`];
  const durable = { 'durable-subscription-name': name };
  const reader = await life.peer({ connectHeaders: { 'client-id': name } });
  await reader.subscribe(topic, durable);
  await reader.close();
  const sender = await life.peer();
  await sender.send(topic, 'later', { 'delivery-delay': '1500', persistent: 'true' });
  const sent = performance.now();
  await life.crash();
  const again = await life.peer({ connectHeaders: { 'client-id': name } });
  const subscription = await again.subscribe(topic, durable);
  await wait(subscription, 'later');
  atLeast(1500, performance.now() - sent);
  await again.close();
});

test('what failed comes again after longer and longer, and those behind it meanwhile', async (t) => {
  const life = await begin(t);
  const peer = await life.peer();
  const queue = `/queue/slow.${unique()}`;
  const dead = await peer.subscribe('/queue/DLQ.slow', { ack: 'auto' });
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, 'poison');
  (await subscription.next()).nack();
  await peer.send(queue, 'behind');
  const [, behind] = await wait(subscription, 'behind');
  behind.ack();
  const failed = async (ms, count) => {
    const [waited, message] = await wait(subscription, 'poison');
    atLeast(ms, waited);
    assert.equal(message.headers['delivery-count'], String(count));
    message.nack();
  };
  await failed(200, 2);
  await failed(500, 3);
  const [, letter] = await wait(dead, 'poison');
  assert.equal(letter.headers['dlq-queue'], queue);
  assert.equal(letter.headers['dlq-reason'], 'delivered 3 times without success');
  await peer.close();
});

test('a consumer that is lost delays what it had for the next one', async (t) => {
  const life = await begin(t);
  const peer = await life.peer();
  const queue = `/queue/slow.${unique()}`;
  await peer.send(queue, 'x');
  const lost = await life.peer();
  await (await lost.subscribe(queue, { ack: 'client' })).next();
  await lost.drop();
  const subscription = await peer.subscribe(queue, { ack: 'auto' });
  const [, message] = await wait(subscription, 'x');
  assert.equal(message.headers['delivery-count'], '2');
  await peer.close();
});

test('a queue may have no place for dead letters', async (t) => {
  const life = await begin(t);
  const peer = await life.peer();
  const queue = `/queue/slow.dropped.${unique()}`;
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, 'x');
  const message = await subscription.next();
  await peer.receipt((receipt) => message.nack({ receipt }));
  const dead = await peer.subscribe(queue.replace('/queue/', '/queue/DLQ.'), { ack: 'auto' });
  const slow = await peer.subscribe('/queue/DLQ.slow', { ack: 'auto' });
  await peer.sync();
  assert.deepEqual([subscription, dead, slow].map((one) => one.messages.length), [0, 0, 0]);
  assert.match(await life.metrics(), /dropped_total 1\b/);
  await peer.close();
});

test('a durable queue keeps what does not say, and delays, over a crash', async (t) => {
  const life = await begin(t);
  let peer = await life.peer();
  const [kept, other] = [`/queue/kept.${unique()}`, `/queue/${unique()}`];
  const due = Date.now() + 3000;
  await peer.send(kept, 'later', { 'delivery-delay': '3000' });
  await peer.send(kept, 'kept');
  await peer.send(kept, 'not kept', { persistent: 'false' });
  await peer.send(other, 'not kept either');
  await life.crash();
  peer = await life.peer();
  const subscription = await peer.subscribe(kept, { ack: 'client-individual' });
  const rest = await peer.subscribe(other, { ack: 'auto' });
  const [, message] = await wait(subscription, 'kept');
  assert.equal(message.headers.persistent, undefined, 'what the sender did not say is not said');
  await peer.receipt((receipt) => message.nack({ receipt }));
  (await subscription.next()).ack();
  const [, later] = await wait(subscription, 'later');
  assert.ok(Date.now() > due - 30, 'it has waited, as if nothing had happened');
  await peer.receipt((receipt) => later.ack({ receipt }));
  assert.deepEqual([subscription, rest].map((one) => one.messages.length), [0, 0]);
  await peer.close();
});

test('SIGHUP changes what is said of queues', async (t) => {
  const life = await begin(t, '[[listen]]\naddress = "127.0.0.1:0"\n');
  const peer = await life.peer();
  const queue = `/queue/${unique('changing')}`;
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, 'x');
  const file = join(life.gateway.folder, 'passerelle.toml');
  const text = await readFile(file, 'utf8');
  await writeFile(file, `${text}\n[[queue]]\npattern = ">"\nredelivery = { attempts = 2, delay = "400ms" }\n`);
  let said = '';
  life.gateway.process.stderr.on('data', (data) => (said += data));
  life.gateway.process.kill('SIGHUP');
  await within(5000, 'the reload', (async () => {
    while (!said.includes('reload ended')) await new Promise((resolve) => setTimeout(resolve, 10));
  })());
  const first = await subscription.next();
  await peer.receipt((receipt) => first.nack({ receipt }));
  const [waited] = await wait(subscription, 'x');
  atLeast(350, waited);
  await peer.close();
});
