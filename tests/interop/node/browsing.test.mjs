// Browsing: what a queue holds is shown, as ActiveMQ shows it, and stays in the queue.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { pause, within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

/** Bodies up to the end of a browse. */
async function browsed(subscription) {
  const bodies = [];
  for (;;) {
    const message = await subscription.next();
    if (message.headers.browser === 'end') {
      assert.equal(message.body, '');
      assert.equal(message.headers.subscription, subscription.id);
      assert.equal(message.headers.destination, subscription.destination);
      return bodies;
    }
    assert.equal(message.headers.browser, undefined);
    bodies.push(message.body);
  }
}

for (const version of ['1.0', '1.1', '1.2']) {
  test(`STOMP ${version}: a browser is shown all that is ready, in order, and takes nothing`, async (t) => {
    const open = peers(t, () => gateway);
    const [sender, browser] = [await open(), await open({ versions: [version] })];
    const queue = `/queue/${unique()}`;
    const bodies = Array.from({ length: 250 }, (_, i) => `${i}`);
    for (const body of bodies) sender.publish(queue, body);
    await sender.send(queue, 'first', { priority: '9' });
    for (const prefetch of ['7', '251', '1000']) {
      const subscription = await browser.subscribe(queue, { browser: 'true', prefetch });
      assert.deepEqual(await browsed(subscription), ['first', ...bodies]);
      await sender.send(queue, 'later', { expires: `${Date.now() + 1}` });
      await subscription.unsubscribe();
      // The next browse comes after it has expired: two requests can be answered within its 1 ms.
      await pause(10);
    }
    const consumer = await sender.subscribe(queue);
    assert.deepEqual(await consumer.bodies(251), ['first', ...bodies]);
  });
}

test('a queue that holds nothing, or all of it with a consumer, is shown as empty', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, consumer] = [await open(), await open()];
  const queue = `/queue/${unique()}`;
  assert.deepEqual(await browsed(await peer.subscribe(queue, { browser: 'true' })), []);
  await peer.send(queue, 'x');
  const messages = (await consumer.subscribe(queue, { ack: 'client-individual' })).messages;
  const [message] = await messages.take(1);
  assert.deepEqual(await browsed(await peer.subscribe(queue, { browser: 'true' })), []);
  await consumer.receipt((receipt) => message.ack({ receipt }));
});

test('a browser cannot be one of a topic, nor acknowledge', async () => {
  for (const [destination, headers, body] of [
    [`/topic/${unique()}`, {}, /only queues can be browsed/],
    [`/queue/${unique()}`, { ack: 'client' }, /ack must be auto/],
    [`/queue/${unique()}`, { browser: 'yes' }, /true or false/],
  ]) {
    const peer = await Peer.open(gateway);
    peer.client.subscribe(destination, () => {}, { browser: 'true', ...headers });
    assert.match((await peer.errors.next()).body, body);
    await within(5000, 'the end of the connection', peer.closed);
  }
});
