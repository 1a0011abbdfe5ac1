// Messages that are sent again, since their RECEIPT was lost, are kept once: by the number of their producer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { request } from './lib/http.mjs';
import { Life } from './lib/life.mjs';
import { unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause } from './lib/wait.mjs';

const persistent = { persistent: 'true' };

class Numbered extends Life {
  /** The bodies of all that is in a queue, which is empty then. */
  async take(queue) {
    const peer = await this.peer();
    const subscription = await peer.subscribe(queue);
    await pause(50);
    await peer.sync();
    const bodies = [];
    while (subscription.messages.length > 0) bodies.push((await subscription.next()).body);
    await peer.close();
    return bodies;
  }

  async duplicates() {
    const { text } = await request(this.gateway, '/metrics');
    return Number(/^passerelle_broker_duplicates_total (\d+)$/m.exec(text)[1]);
  }
}

const numbered = (id, number) => ({ 'producer-id': id, 'producer-seq': `${number}` });

test('a number enters a queue once, whoever sends it again, and is not shown to receivers', async (t) => {
  const life = await Numbered.begin(t);
  const [queue, other, id] = [`/queue/${unique()}`, `/queue/${unique()}`, unique('p')];
  const [first, second] = [await life.peer(), await life.peer()];
  await first.send(queue, 'one', numbered(id, 1));
  await first.send(queue, 'again', numbered(id, 1));
  await second.send(queue, 'again', numbered(id, 1));
  await second.send(queue, 'three', numbered(id, 3));
  await second.send(queue, 'two', numbered(id, 2));
  await second.send(other, 'elsewhere', numbered(id, 1));
  await second.send(queue, 'of another', numbered(unique('p'), 1));
  assert.deepEqual(await life.take(queue), ['one', 'three', 'two', 'of another']);
  await first.send(queue, 'taken since', numbered(id, 3));
  await first.send(queue, 'last', numbered(id, 4));
  const reader = await life.peer();
  const { headers, body } = await (await reader.subscribe(queue)).next();
  assert.equal(body, 'last');
  assert.ok(!('producer-id' in headers) && !('producer-seq' in headers), JSON.stringify(headers));
  assert.deepEqual(await life.take(other), ['elsewhere']);
  assert.equal(await life.duplicates(), 3);
});

test('what was not confirmed before kill -9 is sent again and stored once', async (t) => {
  const life = await Numbered.begin(t);
  const [queue, transacted, id] = [`/queue/${unique()}`, `/queue/${unique()}`, unique('p')];
  let [confirmed, resent] = [0, 0];
  const count = 60;
  const commits = new Set();
  for (let round = 0; confirmed < count; round += 1) {
    const tcp = await Tcp.open(life.gateway);
    await tcp.connect();
    // All that is not confirmed, at once; then the end, before, between or behind the receipts.
    resent += round === 0 ? 0 : 1;
    for (let number = confirmed; number < count; number += 1) {
      if (number % 5 === 0) {
        tcp.frame('BEGIN', `transaction:${number}`, '', '');
        for (const to of [queue, transacted]) {
          tcp.frame('SEND', `destination:${to}`, `transaction:${number}`, 'persistent:true', `producer-id:${id}`, `producer-seq:${number}`, '', `${number}`);
        }
        tcp.frame('COMMIT', `transaction:${number}`, `receipt:${number}`, '', '');
        commits.add(number);
      } else {
        tcp.frame('SEND', `destination:${queue}`, 'persistent:true', `producer-id:${id}`, `producer-seq:${number}`, `receipt:${number}`, '', `${number}`);
      }
    }
    const until = Math.min(count, confirmed + 1 + (round % 4) * 5);
    while (confirmed < until) {
      const { command, headers } = await tcp.next();
      assert.deepEqual([command, headers['receipt-id']], ['RECEIPT', `${confirmed}`]);
      confirmed += 1;
    }
    tcp.destroy();
    await life.end('SIGKILL');
  }
  const all = Array.from({ length: count }, (_, number) => `${number}`);
  assert.ok(resent > 1, 'sent again');
  assert.deepEqual(await life.take(queue), all);
  assert.deepEqual(await life.take(transacted), all.filter((number) => commits.has(Number(number))));
});

test('what was taken before the end does not come again, though its number does', async (t) => {
  const life = await Numbered.begin(t);
  const [queue, id] = [`/queue/${unique()}`, unique('p')];
  const peer = await life.peer();
  for (const number of [1, 2]) await peer.send(queue, `${number}`, { ...persistent, ...numbered(id, number) });
  assert.deepEqual(await life.take(queue), ['1', '2']);
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await life.end(signal);
    const sender = await life.peer();
    for (const number of [1, 2]) await sender.send(queue, 'again', { ...persistent, ...numbered(id, number) });
    assert.deepEqual(await life.take(queue), []);
    assert.equal(await life.duplicates(), 2);
  }
});

test('a durable subscription gets a number once, who is there each time', async (t) => {
  const life = await Numbered.begin(t);
  const [topic, id] = [`/topic/${unique()}`, unique('p')];
  const reader = await life.peer({ connectHeaders: { 'client-id': unique('client') } });
  const durable = await reader.subscribe(topic, { 'durable-subscription-name': 'n' });
  const pushed = await reader.subscribe(topic);
  const sender = await life.peer();
  for (const number of [1, 1, 2]) await sender.send(topic, `${number}`, numbered(id, number));
  assert.deepEqual(await durable.bodies(2), ['1', '2']);
  assert.deepEqual(await pushed.bodies(3), ['1', '1', '2']);
});

test('HTTP has the same headers, and each user producers of its own', async (t) => {
  const life = await Numbered.begin(t);
  const name = unique();
  const post = (body, headers) =>
    request(life.gateway, `/queues/${name}`, { method: 'POST', body, headers }).then(({ status }) => status);
  const id = unique('p');
  assert.equal(await post('one', numbered(id, 1)), 204);
  assert.equal(await post('again', numbered(id, 1)), 204);
  assert.equal(await post('x', { 'producer-id': id }), 400);
  assert.equal(await post('x', numbered(id, 'x')), 400);
  const peer = await life.peer();
  await peer.send(`/queue/${name}`, 'again', numbered(id, 1));
  assert.deepEqual(await life.take(`/queue/${name}`), ['one']);
});

test('what is no number is refused with the reason', async (t) => {
  const life = await Numbered.begin(t);
  const cases = [
    [{ 'producer-id': 'p' }, 'producer-id and producer-seq come together'],
    [{ 'producer-seq': '1' }, 'producer-id and producer-seq come together'],
    [numbered('p', '-1'), 'producer-seq must be a whole number'],
    [numbered('p', '18446744073709551616'), 'producer-seq must be a whole number'],
    [numbered('x'.repeat(129), 1), 'producer-id must have 1 to 128 bytes'],
  ];
  for (const [headers, why] of cases) {
    const peer = await life.peer();
    peer.publish('/queue/x', '', headers);
    const error = await peer.errors.next();
    assert.equal(error.headers.message, 'bad producer');
    assert.ok(error.body.includes(why), error.body);
  }
});
