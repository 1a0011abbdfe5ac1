// Durable and shared subscriptions: a client that comes back with its name misses nothing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { request } from './lib/http.mjs';
import { Life, store } from './lib/life.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

const persistent = { persistent: 'true' };

class Clients extends Life {
  /** A client with this id. */
  as(clientId, options = {}) {
    return this.peer({ ...options, connectHeaders: clientId ? { 'client-id': clientId } : {} });
  }
}

const spellings = {
  Artemis: (name) => ({ 'durable-subscription-name': name }),
  'Artemis, the other name': (name) => ({ 'durable-subscriber-name': name }),
  ActiveMQ: (name) => ({ 'activemq.subscriptionName': name }),
  RabbitMQ: (name) => ({ id: name, durable: 'true', 'auto-delete': 'false' }),
};

for (const [broker, headers] of Object.entries(spellings)) {
  for (const version of ['1.0', '1.1', '1.2']) {
    test(`as ${broker} spells it, STOMP ${version}: what is published meanwhile waits, until it is deleted`, async (t) => {
      const life = await Clients.begin(t);
      const [client, name, topic] = [unique('client'), unique('name'), `/topic/${unique()}.a`];
      const durable = headers(name);
      const sender = await life.as();
      const versions = { versions: [version] };
      let reader = await life.as(client, versions);
      let subscription = await reader.subscribe(topic.replace(/a$/, '*'), durable);
      await sender.send(topic, '1');
      assert.deepEqual(await subscription.bodies(1), ['1']);
      await reader.close();
      await sender.send(topic, '2');
      await sender.send(topic, '3', persistent);
      reader = await life.as(client, versions);
      subscription = await reader.subscribe(topic.replace(/a$/, '*'), durable);
      assert.deepEqual(await subscription.bodies(2), ['2', '3']);
      const end = (how) =>
        reader.receipt((receipt) => reader.frame('UNSUBSCRIBE', { id: subscription.id, ...how, receipt }));
      // Without the header it only rests.
      await end({});
      await sender.send(topic, '4');
      subscription = await reader.subscribe(topic.replace(/a$/, '*'), durable);
      assert.deepEqual(await subscription.bodies(1), ['4']);
      await end(durable);
      await sender.send(topic, '5');
      subscription = await reader.subscribe(topic.replace(/a$/, '*'), durable);
      await sender.send(topic, '6');
      assert.deepEqual(await subscription.bodies(1), ['6']);
      await end({});
      // Deleted without a subscription.
      await end({ ...durable, id: durable.id ?? 'none' });
      await sender.send(topic, '7');
      subscription = await reader.subscribe(topic.replace(/a$/, '*'), durable);
      await sender.send(topic, '8');
      assert.deepEqual(await subscription.bodies(1), ['8']);
    });
  }
}

for (const signal of ['SIGKILL', 'SIGTERM']) {
  test(`a client that comes back misses nothing, over ${signal} too`, async (t) => {
    const life = await Clients.begin(t);
    const topics = Array.from({ length: 4 }, () => `/topic/${unique('t')}`);
    const clients = topics.map((topic) => ({
      topic,
      id: unique('client'),
      received: new Map(),
      async read(count) {
        const peer = await life.as(this.id);
        const subscription = await peer.subscribe(this.topic, {
          'durable-subscription-name': 'n',
          ack: 'client-individual',
        });
        for (let i = 0; i < count; i += 1) {
          const message = await subscription.next();
          await peer.receipt((receipt) => message.ack({ receipt }));
          this.received.set(message.body, (this.received.get(message.body) ?? 0) + 1);
        }
        await peer.drop();
      },
    }));
    for (const client of clients) await client.read(0);
    const count = 40;
    let sent = 0;
    for (let round = 0; round < 4; round += 1) {
      const sender = await life.as();
      const work = clients.map((client) => client.read(round === 0 ? 0 : 6));
      for (let i = 0; i < count / 4; i += 1) {
        for (const topic of topics) await sender.send(topic, `${sent}`, persistent);
        sent += 1;
      }
      await Promise.all(work);
      await life.end(signal);
    }
    for (const client of clients) {
      await client.read(count - client.received.size);
      assert.deepEqual([...client.received.keys()], Array.from({ length: count }, (_, i) => `${i}`), 'all, in order');
      assert.deepEqual(new Set(client.received.values()), new Set([1]), 'each once');
    }
  });
}

test('each message of a shared subscription goes to one of its consumers', async (t) => {
  const life = await Clients.begin(t);
  const [name, topic] = [unique('name'), `/topic/${unique()}`];
  const shared = { 'durable-subscription-name': name, shared: 'true', ack: 'client-individual', prefetch: '1' };
  const readers = [await life.as(), await life.as()];
  const subscriptions = [];
  for (const reader of readers) subscriptions.push(await reader.subscribe(topic, shared));
  const sender = await life.as();
  for (let i = 0; i < 20; i += 1) await sender.send(topic, `${i}`);
  const all = [];
  await Promise.all(
    subscriptions.map(async (subscription) => {
      const first = await subscription.next();
      for (let message = first; message; message = all.length < 20 && (await subscription.next(1000).catch(() => null))) {
        all.push(message.body);
        message.ack();
      }
    }),
  );
  assert.deepEqual(all.map(Number).sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i));
});

test('a transaction comes whole, and selectors select', async (t) => {
  const life = await Clients.begin(t);
  const [client, topic, queue] = [unique('client'), `/topic/${unique()}`, `/queue/${unique()}`];
  const selecting = { 'durable-subscription-name': 's', selector: 'n > 1' };
  let reader = await life.as(client);
  await reader.subscribe(topic, selecting);
  await reader.subscribe(topic, { 'durable-subscription-name': 'all' });
  await reader.close();
  const sender = await life.as();
  const transaction = sender.client.begin();
  for (const n of ['1', '2', '3']) {
    const headers = { ...persistent, n, transaction: transaction.id };
    sender.publish(topic, n, headers);
    sender.publish(queue, n, headers);
  }
  await sender.receipt((receipt) => sender.frame('COMMIT', { transaction: transaction.id, receipt }));
  const aborted = sender.client.begin();
  sender.publish(topic, 'aborted', { n: '9', transaction: aborted.id });
  aborted.abort();
  await sender.sync();
  await life.end('SIGKILL');
  reader = await life.as(client);
  const selected = await reader.subscribe(topic, selecting);
  assert.deepEqual(await selected.bodies(2), ['2', '3']);
  assert.deepEqual(await (await reader.subscribe(topic, { 'durable-subscription-name': 'all' })).bodies(3), ['1', '2', '3']);
  assert.deepEqual(await (await reader.subscribe(queue)).bodies(3), ['1', '2', '3']);
});

test('other terms begin anew', async (t) => {
  const life = await Clients.begin(t);
  const [client, topic] = [unique('client'), `/topic/${unique()}`];
  const [sender, reader] = [await life.as(), await life.as(client)];
  const durable = { 'durable-subscription-name': 'n' };
  await (await reader.subscribe(topic, durable)).unsubscribe();
  await sender.send(topic, 'old', { ...persistent, n: '1' });
  const anew = await reader.subscribe(topic, { ...durable, selector: 'n = 1' });
  await sender.send(topic, 'other', { n: '2' });
  await sender.send(topic, 'new', { n: '1' });
  assert.deepEqual(await anew.bodies(1), ['new']);
});

test('no-local leaves out what its own connection publishes', async (t) => {
  const life = await Clients.begin(t);
  for (const header of ['no-local', 'activemq.noLocal']) {
    const [client, topic] = [unique('client'), `/topic/${unique()}`];
    const [sender, reader] = [await life.as(), await life.as(client)];
    const subscription = await reader.subscribe(topic, { 'durable-subscription-name': 'n', [header]: 'true' });
    await reader.send(topic, 'own');
    await sender.send(topic, 'other');
    assert.deepEqual(await subscription.bodies(1), ['other']);
  }
});

test('one consumer at a time: a second is refused, or displaces the first', async (t) => {
  const life = await Clients.begin(t, `[clients]\nsame-client-id = "share"\n${store}`);
  const [client, topic] = [unique('client'), `/topic/${unique()}`];
  const durable = { 'durable-subscription-name': 'n', ack: 'client' };
  const [sender, first, second, third] = [await life.as(), await life.as(client), await life.as(client), await life.as(client)];
  const taken = await first.subscribe(topic, durable);
  await sender.send(topic, 'x');
  assert.deepEqual(await taken.bodies(1), ['x']);
  second.client.subscribe(topic, () => {}, durable);
  const error = await second.errors.next();
  assert.equal(error.headers.message, 'durable subscription in use');
  const displacing = await third.subscribe(topic, { ...durable, displace: 'true' });
  assert.deepEqual(await displacing.bodies(1), ['x']);
  const displaced = await first.errors.next();
  assert.equal(displaced.headers.message, 'displaced');
  await within(5000, 'the end of the connection', first.closed);
});

test('users have their own names', async (t) => {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: 'x\n', encoding: 'utf8' });
  const password = /\{.*\}/s.exec(printed)[0];
  const users = ['ann', 'bob'].map((name) => `[[user]]\nname = "${name}"\npassword = ${password}\n`).join('\n');
  const life = await Clients.begin(t, `${users}${store}`);
  const [client, topic] = [unique('client'), `/topic/${unique()}`];
  const as = (login) =>
    Peer.open(life.gateway, { connectHeaders: { login, passcode: 'x', 'client-id': client } });
  const durable = { 'durable-subscription-name': 'n' };
  const [ann, bob] = [await as('ann'), await as('bob')];
  const [anns, bobs] = [await ann.subscribe(topic, durable), await bob.subscribe(topic, durable)];
  await bob.receipt((receipt) => bob.frame('UNSUBSCRIBE', { id: bobs.id, ...durable, receipt }));
  await bob.send(topic, 'x');
  assert.deepEqual(await anns.bodies(1), ['x']);
});

test('its depth is shown as that of queues', async (t) => {
  const life = await Clients.begin(t);
  const [client, topic] = [unique('client'), `/topic/${unique()}`];
  const [sender, reader] = [await life.as(), await life.as(client)];
  await reader.subscribe(topic, { 'durable-subscription-name': 'n' });
  await reader.close();
  for (let i = 0; i < 3; i += 1) await sender.send(topic, 'x');
  const { text: metrics } = await request(life.gateway, '/metrics');
  assert.match(metrics, new RegExp(`passerelle_queue_ready\\{queue="/subscription/\\*0\\.${client}\\.n"\\} 3`));
});

test('what makes no durable subscription is refused with what to do', async (t) => {
  const life = await Clients.begin(t);
  const name = { 'durable-subscription-name': 'n' };
  for (const [clientId, destination, headers, said] of [
    [undefined, '/topic/a', name, /CONNECT with a client-id, or subscribe with shared:true/],
    ['c', '/queue/a', name, /a queue keeps its messages anyway/],
    ['c', '/topic/a', { 'durable-subscription-name': '' }, /must not be empty/],
    ['c', '/topic/a', { ...name, shared: 'yes' }, /shared must be true or false/],
    ['c', '/topic/a', { ...name, shared: 'true', 'no-local': 'true' }, /not for shared/],
    ['c', '/topic/a', { shared: 'true' }, /goes with durable-subscription-name/],
    ['c', '/topic/a', { 'no-local': 'true' }, /for durable subscriptions/],
    ['c', '/topic/a', { 'durable-subscription-name': 'x'.repeat(1024) }, /at most 1024 bytes/],
  ]) {
    const peer = await life.as(clientId);
    peer.client.subscribe(destination, () => {}, headers);
    const error = await peer.errors.next();
    assert.equal(error.headers.message, 'bad durable subscription');
    assert.match(error.body, said);
    await within(5000, 'the end of the connection', peer.closed);
  }
});
