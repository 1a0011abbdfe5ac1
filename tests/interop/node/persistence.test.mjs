// What survives the end of the process: persistent messages, their settlements, transactions.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Life, store } from './lib/life.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause } from './lib/wait.mjs';

const persistent = { persistent: 'true' };

class Stored extends Life {
  /** All that is in a queue: body and whether it is marked as redelivered. It is acknowledged. */
  async take(queue, count) {
    const peer = await this.peer();
    const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
    const messages = await subscription.messages.take(count);
    await peer.sync();
    assert.equal(subscription.messages.length, 0, 'more than was expected');
    for (const message of messages) await peer.receipt((receipt) => message.ack({ receipt }));
    await peer.close();
    return messages;
  }
}

const bodies = (messages) => messages.map((message) => message.body);

for (const [end, sync] of [['crash', 'always'], ['restart', 'always'], ['crash', 'interval']]) {
  test(`what is persistent is there after a ${end}, in order, with all that was said of it (sync: ${sync})`, async (t) => {
    const life = await Stored.begin(t, `${store}sync = "${sync}"\n`);
    const queues = Array.from({ length: 8 }, () => `/queue/${unique('orders.new')}`);
    const peer = await life.peer();
    const said = { ...persistent, 'content-type': 'text/plain', 'reply-to': '/queue/answers', 'correlation-id': 'ä:\n', colour: 'red' };
    for (const queue of queues) {
      for (const body of ['1', '2', 'urgent']) {
        await peer.send(queue, body, { ...said, priority: body === 'urgent' ? '9' : '4' });
      }
      await peer.send(queue, 'not kept');
      await peer.send(queue, 'not kept either', { persistent: 'false' });
    }
    await life[end]();
    for (const queue of queues) {
      const messages = await life.take(queue, 3);
      assert.deepEqual(bodies(messages), ['urgent', '1', '2']);
      for (const { headers } of messages) {
        assert.equal(headers.redelivered, 'true');
        assert.equal(headers.destination, queue);
        for (const [name, value] of Object.entries(said)) assert.equal(headers[name], value, name);
      }
    }
    await life[end]();
    const peerAgain = await life.peer();
    for (const queue of queues) {
      const subscription = await peerAgain.subscribe(queue);
      await peerAgain.send(queue, 'new', persistent);
      const message = await subscription.next();
      assert.deepEqual([message.body, message.headers.redelivered], ['new', undefined], 'those before were settled');
    }
  });
}

test('bodies of any kind and size come back as they were', async (t) => {
  const life = await Stored.begin(t);
  const queue = `/queue/${unique()}`;
  const peer = await life.peer();
  const sent = ['', '\0\u{1f600}', Uint8Array.from([0, 255, 0, 128]), 'x'.repeat(1_000_000), new Uint8Array(300_000).fill(7)];
  for (const body of sent) await peer.send(queue, body, persistent);
  await life.crash();
  const messages = await life.take(queue, sent.length);
  messages.forEach((message, index) => {
    assert.deepEqual(Buffer.from(message.binaryBody), Buffer.from(sent[index]), `body ${index}`);
  });
});

test('what was acknowledged, or rejected, comes no more from its queue', async (t) => {
  const life = await Stored.begin(t);
  const queue = `/queue/${unique()}`;
  const peer = await life.peer();
  for (const body of ['acknowledged', 'rejected', 'left']) await peer.send(queue, body, persistent);
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  const [acknowledged] = await subscription.messages.take(3);
  await peer.receipt((receipt) => acknowledged.ack({ receipt }));
  await life.crash();
  const after = await life.peer();
  const again_ = await after.subscribe(queue, { ack: 'client-individual' });
  let next = await again_.next();
  for (let count = 0; count < 6; count += 1) {
    while (next.body !== 'rejected') next = await again_.next();
    await after.receipt((receipt) => next.nack({ receipt }));
    if (count < 5) next = await again_.next();
  }
  await life.crash();
  assert.deepEqual(bodies(await life.take(queue, 1)), ['left']);
  const [dead] = await life.take(queue.replace('/queue/', '/queue/DLQ.'), 1);
  assert.equal(dead.body, 'rejected');
});

test('a transaction over queues of several cores is there as a whole, or not at all', async (t) => {
  const life = await Stored.begin(t);
  const queues = Array.from({ length: 5 }, () => `/queue/${unique()}`);
  const peer = await life.peer();
  await peer.send(queues[0], 'taken', persistent);
  const subscription = await peer.subscribe(queues[0], { ack: 'client-individual' });
  const taken = await subscription.next();
  const transaction = peer.client.begin('t');
  taken.ack({ transaction: 't' });
  for (const queue of queues) peer.publish(queue, 'committed', { ...persistent, transaction: 't' });
  await peer.receipt((receipt) => peer.frame('COMMIT', { transaction: transaction.id, receipt }));
  peer.client.begin('u');
  for (const queue of queues) peer.publish(queue, 'never', { ...persistent, transaction: 'u' });
  await peer.sync();
  await life.crash();
  for (const queue of queues) assert.deepEqual(bodies(await life.take(queue, 1)), ['committed']);
});

test('an HTTP POST is persistent if it says so', async (t) => {
  const life = await Stored.begin(t);
  const queue = unique();
  const post = (headers) => request(life.gateway, `/queues/${queue}`, { method: 'POST', headers, body: 'x' });
  assert.equal((await post(persistent)).status, 204);
  assert.equal((await post({ persistent: 'false' })).status, 204);
  const refused = await post({ persistent: 'yes' });
  assert.deepEqual([refused.status, refused.text.trim()], [400, 'the header persistent must be true or false']);
  await life.crash();
  await life.take(`/queue/${queue}`, 1);
});

test('a message to a topic needs no store', async (t) => {
  const life = await Stored.begin(t, '');
  const peer = await life.peer();
  await peer.send(`/topic/${unique()}`, 'x', persistent);
  assert(!existsSync(`${life.gateway.folder}/passerelle-state`), 'a store is made when it is needed');
  const queue = `/queue/${unique()}`;
  await peer.send(queue, 'x', persistent);
  assert(existsSync(`${life.gateway.folder}/passerelle-state/store`));
  await life.crash();
  await life.take(queue, 1);
});

test('one process has a store: a second one says which', async (t) => {
  const life = await Stored.begin(t);
  const path = JSON.stringify(`${life.gateway.folder}/store`);
  await assert.rejects(start(`[store]\npath = ${path}\n`), (error) => {
    assert.match(error.message, new RegExp(`used by process ${life.gateway.process.pid} `));
    return true;
  });
});

test('without [store], a gateway beside another one refuses persistent messages until that has ended', async (t) => {
  const life = await Stored.begin(t, '');
  const queue = `/queue/${unique()}`;
  await (await life.peer()).send(queue, 'of the first', persistent);
  const second = await start('', { folder: life.gateway.folder });
  t.after(() => second.stop());
  const tcp = await Tcp.open(second);
  await tcp.connect();
  tcp.frame('SEND', `destination:${queue}`, 'persistent:true', 'receipt:1', '', 'x');
  const error = await tcp.next();
  assert.deepEqual([error.command, error.headers.message], ['ERROR', 'not stored']);
  assert.match(second.said, new RegExp(`used by process ${life.gateway.process.pid} `));
  const peer = await Peer.open(second);
  await peer.send(`/queue/${unique()}`, 'not persistent');
  life.gateway.process.kill('SIGKILL');
  await life.gateway.exited;
  await pause(1100);
  await peer.send(queue, 'of the second', persistent);
  const subscription = await peer.subscribe(queue);
  assert.deepEqual(await subscription.bodies(2), ['of the first', 'of the second']);
});

test('what waits is on the disk: after a restart it is browsed, selected and delivered in order', async (t) => {
  const life = await Stored.begin(t);
  const queue = `/queue/${unique()}`;
  const count = 4000;
  const peer = await life.peer();
  const text = 'x'.repeat(1000);
  for (let index = 1; index < count; index += 1) peer.publish(queue, `${index} ${text}`, { ...persistent, index: `${index}` });
  await peer.send(queue, `${count} ${text}`, { ...persistent, index: `${count}` });
  await life.crash();
  const reader = await life.peer();
  const browser = await reader.subscribe(queue, { browser: 'true' });
  const shown = await browser.messages.take(count + 1, 20_000);
  assert.equal(shown.at(-1).headers.browser, 'end');
  const selected = await reader.subscribe(queue, { selector: 'index = 3990 OR index = 10', ack: 'client-individual' });
  for (const message of await selected.messages.take(2, 20_000)) await reader.receipt((receipt) => message.ack({ receipt }));
  await selected.unsubscribe();
  // New ones are behind.
  await peer.client.deactivate();
  await reader.send(queue, 'last', { ...persistent, index: `${count + 1}` });
  const consumer = await reader.subscribe(queue, { ack: 'auto' });
  const taken = await consumer.messages.take(count - 1, 20_000);
  const expected = Array.from({ length: count + 1 }, (_, index) => index + 1).filter((index) => index !== 10 && index !== 3990);
  assert.deepEqual(taken.map(({ headers }) => Number(headers.index)), expected);
  const numbers = await metrics(life.gateway);
  assert(numbers.get('passerelle_broker_loaded_total') > count, 'bodies are loaded when they are next');
  assert.equal(numbers.get('passerelle_broker_unreadable_total'), 0);
});

test('what is damaged on the disk is named, and the queue goes on without it', async (t) => {
  const life = await Stored.begin(t);
  const queue = `/queue/${unique()}`;
  const peer = await life.peer();
  for (const body of ['one', 'two', 'three']) await peer.send(queue, `the body ${body}`, persistent);
  life.gateway.terminate();
  await life.gateway.exited;
  const folder = join(life.gateway.folder, 'store');
  let damaged;
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const bytes = await readFile(path);
    const at = bytes.indexOf('the body two');
    if (at < 0) continue;
    bytes[at] ^= 1;
    await writeFile(path, bytes);
    damaged = { name, at };
  }
  await life.restart();
  assert.deepEqual(bodies(await life.take(queue, 2)), ['the body one', 'the body three']);
  while (!/messages cannot be read/.test(life.gateway.said)) await pause(20);
  const [, offset] = new RegExp(`${damaged.name} is damaged at byte (\\d+)`).exec(life.gateway.said);
  // Where its record begins.
  assert(damaged.at - 200 < Number(offset) && Number(offset) < damaged.at, `${offset} and ${damaged.at}`);
  assert.equal((await metrics(life.gateway)).get('passerelle_broker_unreadable_total'), 1);
});

test('a full disk refuses persistent messages and nothing else', async (t) => {
  const life = await Stored.begin(t, store, { disk: '140m' });
  const queue = `/queue/${unique()}`;
  const body = new Uint8Array(1_000_000).fill(1);
  const filler = await life.peer();
  const refused = filler.errors.next(60_000);
  let stored = -1;
  let outcome;
  do {
    stored += 1;
    assert(stored < 500, 'the disk is never full');
    filler.publish(queue, body, { ...persistent, receipt: `${stored}` });
    outcome = await Promise.race([
      new Promise((resolve) => filler.client.watchForReceipt(`${stored}`, () => resolve('stored'))),
      refused,
    ]);
  } while (outcome === 'stored');
  assert.equal(outcome.headers.message, 'not stored');
  assert.match(outcome.body, /the disk is full/);
  assert(stored >= 20, `${stored} MB on a disk of 140`);
  // The log comes by a way of its own.
  while (!/the disk of the store is full/.test(life.gateway.said)) await pause(20);
  const peer = await life.peer();
  await peer.send(queue, 'not persistent');
  const topic = await peer.subscribe(`/topic/${unique()}`);
  await peer.send(topic.destination, 'x', persistent);
  assert.deepEqual(await topic.bodies(1), ['x']);
  const response = await request(life.gateway, '/queues/full', { method: 'POST', headers: persistent, body: 'x' });
  assert.equal(response.status, 503);
  const reader = await life.peer();
  const subscription = await reader.subscribe(queue, { ack: 'client-individual' });
  for (const message of await subscription.messages.take(stored, 10_000)) {
    assert.equal(message.binaryBody.length, body.length);
    await reader.receipt((receipt) => message.ack({ receipt }));
  }
  // What was acknowledged made room.
  const before = Date.now();
  while (!(await canStore())) {
    assert(Date.now() < before + 20_000, 'there is no room for new messages');
    await pause(200);
  }

  async function canStore() {
    return (await request(life.gateway, '/queues/full', { method: 'POST', headers: persistent, body: 'x' })).status === 204;
  }
});

test('the metrics say what the store does', async (t) => {
  const life = await Stored.begin(t);
  const peer = await life.peer();
  const queue = `/queue/${unique()}`;
  for (const body of ['1', '2', '3']) await peer.send(queue, body, persistent);
  const waiting = await metrics(life.gateway);
  assert.equal(waiting.get('passerelle_store_messages'), 3);
  assert.equal(waiting.get('passerelle_store_segments'), 1);
  assert.equal(waiting.get('passerelle_store_disk_full'), 0);
  assert(waiting.get('passerelle_store_syncs_total') >= 3, 'each was confirmed before the next was sent');
  assert(waiting.get('passerelle_store_sync_seconds_total') > 0);
  assert.deepEqual(bodies(await life.take(queue, 3)), ['1', '2', '3']);
  const emptied = await metrics(life.gateway);
  assert.equal(emptied.get('passerelle_store_messages'), 0);
  assert(emptied.get('passerelle_store_appended_bytes_total') > waiting.get('passerelle_store_appended_bytes_total'));
});

/** The numbers of `/metrics` without labels. */
async function metrics(gateway) {
  const { text } = await request(gateway, '/metrics');
  const lines = text.split('\n').map((line) => /^(\w+) (\S+)$/.exec(line));
  return new Map(lines.filter(Boolean).map(([, name, value]) => [name, Number(value)]));
}
