// Transactions over sends and acknowledgements: all of them or none.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

test('sends arrive at COMMIT, to topics and queues, in order', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, other] = [await open(), await open()];
  const [topic, queue] = [`/topic/${unique()}`, `/queue/${unique()}`];
  const [onTopic, onQueue] = [await other.subscribe(topic), await other.subscribe(queue)];
  const { id, commit } = peer.client.begin();
  for (const body of ['1', '2', '3']) {
    peer.publish(topic, body, { transaction: id });
    peer.publish(queue, body, { transaction: id });
  }
  await peer.send(topic, 'outside');
  await peer.send(queue, 'outside');
  assert.deepEqual(await onTopic.bodies(1), ['outside']);
  assert.deepEqual(await onQueue.bodies(1), ['outside']);
  commit();
  assert.deepEqual(await onTopic.bodies(3), ['1', '2', '3']);
  assert.deepEqual(await onQueue.bodies(3), ['1', '2', '3']);
});

test('ABORT forgets the sends', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const { id, abort } = peer.client.begin();
  peer.publish(topic, 'never', { transaction: id });
  abort();
  await peer.send(topic, 'next');
  assert.deepEqual(await subscription.bodies(1), ['next']);
});

test('a connection that ends aborts its transactions', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, other] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const subscription = await other.subscribe(topic);
  const { id } = peer.client.begin();
  await peer.send(topic, 'never', { transaction: id });
  await peer.drop();
  await other.send(topic, 'next');
  assert.deepEqual(await subscription.bodies(1), ['next']);
});

test('acknowledgements count at COMMIT', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, other] = [await open(), await open()];
  const queue = `/queue/${unique()}`;
  for (const body of ['1', '2', '3']) await other.send(queue, body);
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  const messages = await subscription.messages.take(3);
  const transaction = unique('tx');
  peer.frame('BEGIN', { transaction });
  messages[0].ack({ transaction });
  messages[1].ack({ transaction });
  await peer.receipt((receipt) => peer.frame('COMMIT', { transaction, receipt }));
  await peer.drop();
  const rest = await other.subscribe(queue, { ack: 'client-individual' });
  const message = await rest.next();
  assert.equal(message.body, '3');
  message.ack();
  await other.send(queue, '4');
  assert.deepEqual(await rest.bodies(1), ['4']);
});

test('after ABORT a message waits for its acknowledgement as before', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  await peer.send(queue, 'x');
  const subscription = await peer.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
  const message = await subscription.next();
  const { id, abort } = peer.client.begin();
  message.ack({ transaction: id });
  abort();
  message.ack();
  await peer.send(queue, 'y');
  assert.deepEqual(await subscription.bodies(1), ['y']);
});

test('an acknowledgement in a transaction that ends with its connection does not count', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, other] = [await open(), await open()];
  const queue = `/queue/${unique()}`;
  await other.send(queue, 'x');
  const message = await (await peer.subscribe(queue, { ack: 'client-individual' })).next();
  const { id } = peer.client.begin();
  message.ack({ transaction: id });
  await peer.sync();
  await peer.drop();
  const again = await (await other.subscribe(queue)).next();
  assert.equal(again.body, 'x');
  assert.equal(again.headers.redelivered, 'true');
});

test('two transactions of one connection end independently', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, other] = [await open(), await open()];
  const [source, target] = [`/queue/${unique()}`, `/queue/${unique()}`];
  for (const body of ['1', '2', '3']) await other.send(source, body);
  const subscription = await peer.subscribe(source, { ack: 'client' });
  const [one, two, three] = await subscription.messages.take(3);
  const [kept, dropped] = [peer.client.begin(), peer.client.begin()];
  two.ack({ transaction: kept.id });
  three.ack({ transaction: dropped.id });
  peer.publish(target, 'kept', { transaction: kept.id });
  peer.publish(target, 'dropped', { transaction: dropped.id });
  const end = (command, { id }) =>
    peer.receipt((receipt) => peer.frame(command, { transaction: id, receipt }));
  await Promise.all([end('COMMIT', kept), end('ABORT', dropped), peer.send(target, 'outside')]);
  const sent = await (await other.subscribe(target)).bodies(2);
  assert.deepEqual(sent.sort(), ['kept', 'outside']);
  assert.equal(one.body, '1');
  await peer.drop();
  assert.deepEqual(await (await other.subscribe(source)).bodies(1), ['3']);
});

test('a transaction may acknowledge more than is prefetched', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, consumer, other] = [await open(), await open(), await open()];
  const [queue, transaction] = [`/queue/${unique()}`, unique('tx')];
  const bodies = [...Array(5000).keys()].map(String);
  for (const body of bodies) sender.publish(queue, body);
  await sender.send(queue, 'last');
  const headers = { ack: 'client-individual', prefetch: '100' };
  const subscription = await consumer.subscribe(queue, headers);
  consumer.frame('BEGIN', { transaction });
  for (const body of bodies) {
    const message = await subscription.next();
    assert.equal(message.body, body);
    message.ack({ transaction });
  }
  await consumer.receipt((receipt) => consumer.frame('COMMIT', { transaction, receipt }));
  await consumer.drop();
  assert.deepEqual(await (await other.subscribe(queue)).bodies(1), ['last']);
});

test('take, work, answer: a message is consumed and its answer sent in one transaction', async (t) => {
  const open = peers(t, () => gateway);
  const [client, worker] = [await open(), await open()];
  const [requests, answers] = [`/queue/${unique()}`, `/queue/${unique()}`];
  const inbox = await client.subscribe(answers);
  const work = await worker.subscribe(requests, { ack: 'client-individual' });
  for (let i = 0; i < 20; i += 1) {
    client.publish(requests, `${i}`);
    const message = await work.next();
    const { id, commit } = worker.client.begin();
    worker.publish(answers, `${Number(message.body) * 2}`, { transaction: id });
    message.ack({ transaction: id });
    commit();
    assert.equal((await inbox.next()).body, `${i * 2}`);
  }
});

test('two transactions at once do not touch each other', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const [a, b] = [peer.client.begin(), peer.client.begin()];
  peer.publish(topic, 'a', { transaction: a.id });
  peer.publish(topic, 'b', { transaction: b.id });
  b.commit();
  a.abort();
  await peer.send(topic, 'end');
  assert.deepEqual(await subscription.bodies(2), ['b', 'end']);
});

test('what a connection sends stays in order, in transactions and outside of them', async (t) => {
  const open = peers(t, () => gateway);
  const [peer, reader] = [await open(), await open()];
  // Over several queues, which live on several cores.
  const [queue, ...others] = Array.from({ length: 9 }, () => `/queue/${unique()}`);
  for (let round = 0; round < 10; round += 1) {
    const [a, b] = [peer.client.begin(), peer.client.begin()];
    for (const other of others) peer.publish(other, 'x', { transaction: a.id });
    peer.publish(queue, '1', { transaction: a.id });
    peer.publish(queue, '3', { transaction: b.id });
    a.commit();
    peer.publish(queue, '2');
    b.commit();
    peer.publish(queue, '4');
  }
  await peer.sync();
  const subscription = await reader.subscribe(queue);
  assert.deepEqual(await subscription.bodies(40), Array(10).fill(['1', '2', '3', '4']).flat());
});

test('an acknowledgement that was committed stays so when its subscription ends', async (t) => {
  const open = peers(t, () => gateway);
  const peer = await open({ versions: ['1.2'] });
  const queue = `/queue/${unique()}`;
  await peer.send(queue, '1');
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  const [message] = await subscription.messages.take(1);
  const [wide, acknowledging] = [peer.client.begin(), peer.client.begin()];
  for (let i = 0; i < 8; i += 1) peer.publish(`/queue/${unique()}`, 'x', { transaction: wide.id });
  message.ack({ transaction: acknowledging.id });
  wide.commit();
  acknowledging.commit();
  await subscription.unsubscribe();
  await peer.send(queue, 'end');
  assert.deepEqual(await (await peer.subscribe(queue)).bodies(1), ['end']);
});

test('what is sent behind COMMITs over several cores waits, and is not refused', async (t) => {
  const gateway = await start('', { threads: 4 });
  t.after(() => gateway.stop());
  const body = 'x'.repeat(500_000);
  for (let round = 0; round < 20; round += 1) {
    const peer = await Tcp.open(gateway);
    await peer.connect();
    let receipts = 0;
    const send = (to, text, headers = '') => `SEND\ndestination:${to}\n${headers}\n${text}\0`;
    const receipt = () => `receipt:${(receipts += 1)}\n`;
    let frames = '';
    for (let i = 0; i < 3; i += 1) {
      frames += 'BEGIN\ntransaction:t\n\n\0';
      for (let q = 0; q < 8; q += 1) frames += send(`/queue/few.${q}`, 'x', 'transaction:t\n');
      frames += `COMMIT\ntransaction:t\n${receipt()}\n\0`;
      for (let n = 0; n < 10; n += 1) frames += send(`/queue/large.${round}.${i}`, body, receipt());
      frames += send('/topic/large', body, receipt());
    }
    peer.write(frames);
    for (let i = 1; i <= receipts; i += 1) {
      const { command, headers } = await peer.next(20_000);
      assert.deepEqual([command, headers['receipt-id']], ['RECEIPT', `${i}`]);
    }
    peer.destroy();
  }
});

test('BEGIN of a transaction that is open already is an error', async () => {
  const peer = await Peer.open(gateway);
  peer.frame('BEGIN', { transaction: 'twice' });
  peer.frame('BEGIN', { transaction: 'twice' });
  assert.match((await peer.errors.next()).body, /begun already/);
  await within(5000, 'the end of the connection', peer.closed);
});

test('a refused operation leaves nothing of its transaction', async () => {
  const peer = await Peer.open(gateway);
  const witness = await Peer.open(gateway);
  const topic = `/topic/${unique()}`;
  const subscription = await witness.subscribe(topic);
  const { id } = peer.client.begin();
  peer.publish(topic, 'never', { transaction: id });
  peer.publish('/topic/a.*', 'bad', { transaction: id });
  await peer.errors.next();
  await within(5000, 'the end of the connection', peer.closed);
  await witness.send(topic, 'next');
  assert.deepEqual(await subscription.bodies(1), ['next']);
  await witness.close();
});
