// How often a persistent message was tried, and how long it waits after that, over the end of the process.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Life } from './lib/life.mjs';
import { unique } from './lib/peer.mjs';

const persistent = { persistent: 'true' };
const one = { ack: 'client-individual', prefetch: '1' };
const config = `
[store]
path = "store"

[[queue]]
pattern = "again.>"
redelivery = { attempts = 3, delay = "2s", factor = 1.0 }
dead-letter = "DLQ.again"

[[queue]]
pattern = "at-once.>"
redelivery = { attempts = 3 }
dead-letter = "DLQ.at-once"
`;

const count = ({ headers }) => Number(headers['delivery-count'] ?? 1);

for (const end of ['crash', 'restart']) {
  test(`what failed waits for the rest of its time, its group too, and is counted, after a ${end}`, async (t) => {
    const life = await Life.begin(t, config);
    const queue = `/queue/again.${unique()}`;
    let peer = await life.peer();
    let subscription = await peer.subscribe(queue, one);
    await peer.send(queue, 'poison', { ...persistent, 'group-id': 'g' });
    for (const expected of [1, 2]) {
      const message = await subscription.next(10_000);
      assert.deepEqual([message.body, count(message)], ['poison', expected]);
      assert.equal(message.headers.redelivered, expected > 1 ? 'true' : undefined);
      const failed = Date.now();
      message.nack();
      // It is stored behind the attempt.
      await peer.send(queue, 'behind', { ...persistent, 'group-id': 'g' });
      await life[end]();
      peer = await life.peer();
      subscription = await peer.subscribe(queue, one);
      const next = await subscription.next(10_000);
      assert.ok(Date.now() - failed >= 1990, `it came after ${Date.now() - failed} ms`);
      assert.deepEqual([next.body, count(next)], ['poison', expected + 1]);
      // What is given back untried is no attempt: by the end of the subscription, and by that of the gateway in good order.
      await subscription.unsubscribe();
      await peer.send(queue, 'behind too', { ...persistent, 'group-id': 'g' });
      await life.crash();
      peer = await life.peer();
      subscription = await peer.subscribe(queue, one);
      const again = await subscription.next();
      assert.deepEqual([again.body, count(again)], ['poison', expected + 1]);
      await life.restart();
      peer = await life.peer();
      subscription = await peer.subscribe(queue, one);
    }
    const last = await subscription.next();
    assert.deepEqual([last.body, count(last)], ['poison', 3]);
    last.nack();
    const behind = await subscription.next();
    assert.equal(behind.body, 'behind', 'its group goes on');
    const dead = await (await peer.subscribe('/queue/DLQ.again')).next();
    assert.equal(dead.body, 'poison');
    assert.match(JSON.stringify(dead.headers), /3 times/);
    await peer.close();
  });
}

test('what was delivered when the gateway was killed counts nothing', async (t) => {
  const life = await Life.begin(t, config);
  const queue = `/queue/at-once.${unique()}`;
  let peer = await life.peer();
  await peer.send(queue, 'innocent', persistent);
  for (let time = 1; time <= 6; time++) {
    const subscription = await peer.subscribe(queue, one);
    const message = await subscription.next();
    assert.deepEqual([message.body, count(message)], ['innocent', time > 1 ? 2 : 1]);
    await life.crash();
    peer = await life.peer();
  }
  const message = await (await peer.subscribe(queue, one)).next();
  assert.equal(message.body, 'innocent');
  await peer.close();
});
