// Who has a message of a queue: the three ack modes, NACK, redelivery and the dead-letter queue.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

/** A queue with these messages in it. */
async function filled(peer, ...bodies) {
  const queue = `/queue/${unique()}`;
  for (const body of bodies) await peer.send(queue, body);
  return queue;
}

/** How many connections the gateway knows of at its broker service. */
async function connections() {
  const text = await (await fetch(gateway.http('/metrics'))).text();
  const counts = text.matchAll(/^passerelle_connections_open\{service="\/messaging"[^}]*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

/**
 * Drops the connection of a peer and waits until the gateway knows, and has one left: what it sends
 * to one that has gone, and acknowledges by itself, is lost.
 */
async function dropped(peer) {
  await peer.drop();
  await within(5000, 'the gateway to notice', (async () => {
    while ((await connections()) > 1) await new Promise((resolve) => setTimeout(resolve, 5));
  })());
}

/** Everything that is left in a queue, in order. */
async function drained(peer, queue) {
  const end = unique('end');
  await peer.send(queue, end, { priority: '0' });
  const subscription = await peer.subscribe(queue);
  const bodies = [];
  for (;;) {
    const { body } = await subscription.next();
    if (body === end) return bodies;
    bodies.push(body);
  }
}

for (const version of ['1.0', '1.1', '1.2']) {
  test(`STOMP ${version}: auto: a message is gone once it was sent`, async (t) => {
    const open = peers(t, () => gateway);
    const sender = await open();
    const queue = await filled(sender, '1', '2');
    const consumer = await open({ versions: [version] });
    assert.deepEqual(await (await consumer.subscribe(queue)).bodies(2), ['1', '2']);
    await dropped(consumer);
    assert.deepEqual(await drained(sender, queue), []);
  });

  test(`STOMP ${version}: client: ACK takes all messages before it`, async (t) => {
    const open = peers(t, () => gateway);
    const sender = await open();
    const queue = await filled(sender, '1', '2', '3', '4');
    const consumer = await open({ versions: [version] });
    const messages = await (await consumer.subscribe(queue, { ack: 'client' })).messages.take(4);
    messages[2].ack();
    await consumer.sync();
    await consumer.drop();
    assert.deepEqual(await drained(sender, queue), ['4']);
  });
}

for (const version of ['1.1', '1.2']) {
  test(`STOMP ${version}: client-individual: ACK takes one message`, async (t) => {
    const open = peers(t, () => gateway);
    const sender = await open();
    const queue = await filled(sender, '1', '2', '3', '4');
    const consumer = await open({ versions: [version] });
    const subscription = await consumer.subscribe(queue, { ack: 'client-individual' });
    const messages = await subscription.messages.take(4);
    messages[1].ack();
    messages[3].ack();
    await consumer.sync();
    await consumer.drop();
    assert.deepEqual(await drained(sender, queue), ['1', '3']);
  });

  test(`STOMP ${version}: NACK redelivers the message, marked as redelivered`, async (t) => {
    const peer = await peers(t, () => gateway)({ versions: [version] });
    const queue = await filled(peer, 'x');
    const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
    const first = await subscription.next();
    assert.equal(first.headers.redelivered, undefined);
    first.nack();
    const second = await subscription.next();
    assert.equal(second.headers.redelivered, 'true');
    assert.equal(second.headers['delivery-count'], '2');
    assert.equal(second.headers['message-id'], first.headers['message-id']);
    second.ack();
    await subscription.unsubscribe();
    assert.deepEqual(await drained(peer, queue), []);
  });
}

test('a NACK may reach another consumer', async (t) => {
  const open = peers(t, () => gateway);
  const [a, b] = [await open(), await open()];
  const queue = `/queue/${unique()}`;
  const one = await a.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
  await a.send(queue, 'x');
  const message = await one.next();
  const two = await b.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
  await b.send(queue, 'y'); // b is busy with this one
  assert.equal((await two.next()).body, 'y');
  message.nack();
  await a.sync();
  await a.drop();
  assert.equal(b.errors.length, 0);
});

test('NACK in mode client gives back all messages before it', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = await filled(peer, '1', '2', '3');
  const subscription = await peer.subscribe(queue, { ack: 'client' });
  const messages = await subscription.messages.take(3);
  messages[1].nack();
  const again = await subscription.messages.take(2);
  assert.deepEqual(again.map((message) => [message.body, message.headers['delivery-count']]), [
    ['1', '2'],
    ['2', '2'],
  ]);
});

test('after 6 deliveries a message goes to the dead-letter queue with the reason', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = await filled(peer, 'poison', 'fine');
  const dead = await peer.subscribe(queue.replace('/queue/', '/queue/DLQ.'));
  const subscription = await peer.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
  const counts = [];
  for (;;) {
    const message = await subscription.next();
    if (message.body === 'fine') {
      message.ack();
      break;
    }
    counts.push(message.headers['delivery-count'] ?? '1');
    message.nack();
  }
  assert.deepEqual(counts, ['1', '2', '3', '4', '5', '6']);
  const letter = await dead.next();
  assert.equal(letter.body, 'poison');
  assert.equal(letter.headers['dlq-queue'], queue);
  assert.match(letter.headers['dlq-reason'], /6 times/);
  assert.equal(letter.headers.destination, queue.replace('/queue/', '/queue/DLQ.'));
});

test('a queue whose name needs escapes has its own dead-letter queue', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}.x*3E10.*0`;
  const dead = await peer.subscribe(queue.replace('/queue/', '/queue/DLQ.'));
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  const forged = { 'dlq-queue': '/queue/forged', 'dlq-reason': 'forged', own: 'kept' };
  await peer.send(queue, 'x', forged);
  for (let i = 0; i < 6; i += 1) {
    const message = await subscription.next();
    assert.equal(message.headers['dlq-queue'], undefined);
    message.nack();
  }
  const { headers } = await dead.next();
  assert.equal(headers['dlq-queue'], queue);
  assert.match(headers['dlq-reason'], /6 times/);
  assert.equal(headers.own, 'kept');
  assert.equal(headers.destination, queue.replace('/queue/', '/queue/DLQ.'));
});

test('a lost consumer counts as a delivery', async (t) => {
  const open = peers(t, () => gateway);
  const sender = await open();
  const queue = await filled(sender, 'x');
  for (let count = 1; count <= 6; count += 1) {
    const consumer = await open();
    const message = await (await consumer.subscribe(queue, { ack: 'client-individual' })).next();
    assert.equal(message.headers['delivery-count'] ?? '1', `${count}`);
    await consumer.drop();
  }
  const dead = await sender.subscribe(queue.replace('/queue/', '/queue/DLQ.'));
  assert.equal((await dead.next()).body, 'x');
});

test('what a lost consumer had goes to the others, in order', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, lost, other] = [await open(), await open(), await open()];
  const queue = await filled(sender, '1', '2', '3', '4');
  const had = await lost.subscribe(queue, { ack: 'client-individual', prefetch: '3' });
  await had.messages.take(3);
  const subscription = await other.subscribe(queue, { ack: 'client-individual', prefetch: '10' });
  assert.equal((await subscription.next()).body, '4');
  await lost.drop();
  assert.deepEqual(await subscription.bodies(3), ['1', '2', '3']);
});

test('what was acknowledged with a receipt never comes again', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, consumer] = [await open(), await open()];
  const queue = await filled(sender, '1', '2', '3', '4');
  const messages = await (await consumer.subscribe(queue, { ack: 'client' })).messages.take(4);
  await consumer.receipt((receipt) => messages[1].ack({ receipt }));
  await consumer.receipt((receipt) => messages[2].nack({ receipt }));
  await consumer.drop();
  assert.deepEqual(await drained(sender, queue), ['3', '4']);
});

test('an ACK twice is an error', async () => {
  const peer = await Peer.open(gateway);
  const queue = await filled(peer, 'x');
  const message = await (await peer.subscribe(queue, { ack: 'client-individual' })).next();
  message.ack();
  message.ack();
  assert.match((await peer.errors.next()).body, /ACK of .*acknowledged already/);
  await within(5000, 'the end of the connection', peer.closed);
});

test('topics take acknowledgements and need none', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  // Clients of ActiveMQ send it with every subscription: it is for queues.
  const headers = { ack: 'client-individual', 'activemq.prefetchSize': '1' };
  const subscription = await peer.subscribe(topic, headers);
  for (let i = 0; i < 5; i += 1) await peer.send(topic, `${i}`);
  const messages = await subscription.messages.take(5);
  for (const message of messages) message.ack();
  await peer.sync();
  assert.equal(peer.errors.length, 0);
});

test('with a prefetch, the messages of a topic wait for acknowledgements', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic, { ack: 'client-individual', prefetch: '2' });
  for (let i = 0; i < 5; i += 1) await peer.send(topic, `${i}`);
  for (let i = 0; i < 5; i += 1) {
    await peer.sync();
    assert.equal(subscription.messages.length, Math.min(2, 5 - i));
    const message = await subscription.next();
    assert.equal(message.body, `${i}`);
    message.ack();
  }
  assert.equal(peer.errors.length, 0);
});
