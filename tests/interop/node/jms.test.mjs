// What applications that were written for JMS rely on, with @stomp/stompjs: request and reply among many, time to live
// wherever a message waits, and transactions as large as they may be.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { again, start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { pause } from './lib/wait.mjs';

test('many clients ask two servers: each gets the replies to its own requests, each once', async (t) => {
  const gateway = await start();
  t.after(() => gateway.stop());
  const requests = `/queue/${unique()}`;
  for (let index = 0; index < 2; index += 1) {
    const server = await Peer.open(gateway);
    const subscription = await server.subscribe(requests, { ack: 'client-individual', prefetch: '3' });
    void (async () => {
      for (let message; (message = await subscription.next(30_000).catch(() => null)); ) {
        const headers = { 'correlation-id': message.headers['correlation-id'] };
        const transaction = server.client.begin();
        server.publish(message.headers['reply-to'], `reply to ${message.body}`, { ...headers, transaction: transaction.id });
        message.ack({ transaction: transaction.id });
        transaction.commit();
      }
    })();
  }
  const clients = Array.from({ length: 10 }, async (_, client) => {
    const peer = await Peer.open(gateway);
    const kind = client % 2 === 0 ? 'temp-queue' : 'temp-topic';
    const replies = await peer.subscribe(`/${kind}/replies`);
    const expected = new Map();
    for (let index = 0; index < 20; index += 1) {
      const [id, body] = [`${client}-${index}`, `request ${index} of ${client}`];
      expected.set(id, `reply to ${body}`);
      peer.publish(requests, body, { 'reply-to': `/${kind}/replies`, 'correlation-id': id });
    }
    for (const reply of await replies.messages.take(20)) {
      assert.equal(reply.body, expected.get(reply.headers['correlation-id']));
      expected.delete(reply.headers['correlation-id']);
    }
    assert.equal(expected.size, 0);
    await peer.close();
  });
  await Promise.all(clients);
});

test('what has expired is delivered nowhere, and is no dead letter: in queues and durable subscriptions, over a restart', async (t) => {
  let gateway = await start('[store]\npath = "store"\n');
  t.after(() => gateway.stop());
  const [queue, topic] = [`/queue/${unique()}`, `/topic/${unique()}`];
  const durable = { 'durable-subscription-name': 'n' };
  const client = { connectHeaders: { 'client-id': 'c' } };
  let peer = await Peer.open(gateway, client);
  await (await peer.subscribe(topic, durable)).unsubscribe();
  const soon = `${Date.now() + 300}`;
  for (const to of [queue, topic]) {
    for (const persistent of ['true', 'false']) {
      await peer.send(to, 'soon', { expires: soon, persistent });
      await peer.send(to, persistent, { persistent, expires: `${Date.now() + 60_000}` });
    }
  }
  await pause(500);
  const bodies = async (subscription) => {
    const got = [];
    for (let message; (message = await subscription.next(400).catch(() => null)); ) got.push(message);
    return got.map((message) => message.body);
  };
  for (const [to, headers] of [[queue, {}], [topic, durable]]) {
    const subscription = await peer.subscribe(to, { ...headers, ack: 'client' });
    assert.deepEqual(await bodies(subscription), ['true', 'false']);
  }
  const dead = [queue.replace('/queue/', '/queue/DLQ.'), topic.replace('/topic/', '/queue/DLQ.topic.')];
  for (const to of dead) assert.deepEqual(await bodies(await peer.subscribe(to)), []);
  const { text } = await request(gateway, '/metrics');
  assert.match(text, /^passerelle_broker_expired_total 4$/m);
  await peer.drop();
  gateway = await again(gateway, 'SIGKILL');
  peer = await Peer.open(gateway, client);
  assert.deepEqual(await bodies(await peer.subscribe(queue)), ['true']);
  assert.deepEqual(await bodies(await peer.subscribe(topic, durable)), ['true']);
});

for (const prefetch of ['1', '7', '0']) {
  test(`prefetch ${prefetch}: a transaction has as many acknowledgements as it may, and not one more`, async (t) => {
    const max = 400;
    const gateway = await start(`[limits]\ntransaction-operations-max = ${max}\n`);
    t.after(() => gateway.stop());
    const queue = `/queue/${unique()}`;
    const sender = await Peer.open(gateway);
    for (let index = 0; index <= max; index += 1) sender.publish(queue, `${index}`);
    await sender.sync();
    const take = async (count) => {
      const peer = await Peer.open(gateway);
      const subscription = await peer.subscribe(queue, { ack: 'client-individual', prefetch });
      peer.frame('BEGIN', { transaction: 't' });
      for (let index = 0; index < count; index += 1) {
        const message = await subscription.next();
        assert.equal(message.body, `${index}`);
        message.ack({ transaction: 't' });
      }
      return peer;
    };
    // One too many: nothing of it was carried out.
    const greedy = await take(max + 1);
    const error = await greedy.errors.next();
    assert.equal(error.headers.message, 'limit reached');
    assert.match(error.body, /transaction-operations-max/);
    await greedy.closed;
    const exact = await take(max);
    await exact.receipt((receipt) => exact.frame('COMMIT', { transaction: 't', receipt }));
    await exact.close();
    const rest = await (await Peer.open(gateway)).subscribe(queue);
    assert.deepEqual(await rest.bodies(1), [`${max}`]);
  });
}
