// Topics, wildcards, queues, temporary destinations, and what headers make of a message.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

test('each subscriber of a topic gets each message once, in order', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique()}`;
  const subscriptions = [];
  for (let i = 0; i < 5; i += 1) subscriptions.push(await (await open()).subscribe(topic));
  const sender = await open();
  const sent = Array.from({ length: 50 }, (_, i) => `${i}`);
  for (const body of sent) sender.publish(topic, body);
  for (const subscription of subscriptions) {
    assert.deepEqual(await subscription.bodies(50), sent);
  }
});

test('one connection may subscribe to a topic twice', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const [a, b] = [await peer.subscribe(topic), await peer.subscribe(topic)];
  await peer.send(topic, 'x');
  assert.deepEqual([...(await a.bodies(1)), ...(await b.bodies(1))], ['x', 'x']);
});

test('a message sent to a topic before a subscription does not reach it', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  await peer.send(topic, 'early');
  const subscription = await peer.subscribe(topic);
  await peer.send(topic, 'late');
  assert.deepEqual(await subscription.bodies(1), ['late']);
});

test('any name can be written, and means one destination', async (t) => {
  const peer = await peers(t, () => gateway)();
  const base = unique();
  const names = ['x*3E10', '*2A*23', '1*2E2', '1.2', '*0.*0', 'a.*0', 'a%2Eb', 'a\\b', 'a/b'];
  const topics = names.map((name) => `/topic/${base}.${name}`);
  const queues = names.map((name) => `/queue/${base}.${name}`);
  const subscriptions = [];
  for (const name of [...topics, ...queues]) subscriptions.push([name, await peer.subscribe(name)]);
  for (const name of [...topics, ...queues]) await peer.send(name, name);
  for (const [name, subscription] of subscriptions) {
    const message = await subscription.next();
    assert.equal(message.body, name);
    assert.equal(message.headers.destination, name);
  }
  await peer.sync();
  for (const [name, { messages }] of subscriptions) assert.equal(messages.length, 0, name);
});

test('an escape is no wildcard, and a wildcard takes levels with any characters', async (t) => {
  const open = peers(t, () => gateway);
  const base = `/topic/${unique()}`;
  const names = ['.*2A', '.a', '.1*2E2', '.*0', '.1.2', '.*0.b'];
  const expected = {
    '.*': ['.*2A', '.a', '.1*2E2', '.*0'],
    '.*2A': ['.*2A'],
    '.*3E': [],
    '.*.*': ['.1.2', '.*0.b'],
    '.*0.>': ['.*0', '.*0.b'],
  };
  const subscriptions = {};
  for (const pattern of Object.keys(expected)) {
    subscriptions[pattern] = await (await open()).subscribe(base + pattern);
  }
  const sender = await open();
  for (const name of names) await sender.send(base + name, name);
  for (const [pattern, bodies] of Object.entries(expected)) {
    assert.deepEqual(await subscriptions[pattern].bodies(bodies.length), bodies, pattern);
    assert.equal(subscriptions[pattern].messages.length, 0, pattern);
  }
});

test('an HTTP POST and the metrics have the names that STOMP has', async (t) => {
  const peer = await peers(t, () => gateway)();
  const name = `${unique()}.x*3E10`;
  for (const path of [name, name.replace('*', '%2A'), name.replace('.', '%2e')]) {
    const { status } = await request(gateway, `/queues/${path}`, { method: 'POST', body: path });
    assert.equal(status, 204, path);
  }
  const refused = await request(gateway, `/queues/${name.replace('*3E', '%3E')}`, { method: 'POST', body: '' });
  assert.equal(refused.status, 400);
  assert.match(refused.text, /\*3E/);
  const { text } = await request(gateway, '/metrics');
  assert.ok(text.includes(`passerelle_queue_ready{queue="/queue/${name}"} 3`), text);
  const subscription = await peer.subscribe(`/queue/${name}`);
  assert.equal((await subscription.bodies(3)).length, 3);
});

test('wildcards take what they say', async (t) => {
  const open = peers(t, () => gateway);
  const base = `/topic/${unique()}`;
  const names = ['', '.a', '.a.b', '.a.b.c', '.x.b', '.x.b.c'];
  const expected = {
    '.*': ['.a'],
    '.*.b': ['.a.b', '.x.b'],
    '.a.*': ['.a.b'],
    '.a.*.c': ['.a.b.c'],
    '.>': ['', '.a', '.a.b', '.a.b.c', '.x.b', '.x.b.c'],
    '.#': ['', '.a', '.a.b', '.a.b.c', '.x.b', '.x.b.c'],
    '.a.>': ['.a', '.a.b', '.a.b.c'],
    '.*.b.#': ['.a.b', '.a.b.c', '.x.b', '.x.b.c'],
  };
  const subscriptions = {};
  for (const pattern of Object.keys(expected)) {
    subscriptions[pattern] = await (await open()).subscribe(base + pattern);
  }
  const sender = await open();
  for (const name of names) sender.publish(base + name, name);
  // A last message that each of them matches, to see that nothing else came before it.
  for (const pattern of Object.keys(expected)) {
    const last = pattern.replaceAll('*', 'end').replace('.>', '.end').replace('.#', '.end');
    sender.publish(base + last, 'end', { last: pattern });
  }
  for (const [pattern, subscription] of Object.entries(subscriptions)) {
    const bodies = [];
    for (;;) {
      const message = await subscription.next();
      if (message.body === 'end') {
        if (message.headers.last === pattern) break;
      } else {
        bodies.push(message.body);
        assert.equal(message.headers.destination, base + message.body);
      }
    }
    assert.deepEqual(bodies, expected[pattern], pattern);
  }
});

test('nothing comes after UNSUBSCRIBE is answered', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique()}`;
  const [peer, sender] = [await open(), await open()];
  const unhandled = [];
  peer.client.onUnhandledMessage = (message) => unhandled.push(message.body);
  const subscription = await peer.subscribe(topic);
  await sender.send(topic, 'before');
  assert.deepEqual(await subscription.bodies(1), ['before']);
  await subscription.unsubscribe();
  await sender.send(topic, 'after');
  await peer.sync();
  assert.deepEqual(unhandled, []);
});

test('a queue gives each message to one consumer', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const got = [];
  const shares = [0, 0, 0];
  let all;
  const complete = new Promise((resolve) => (all = resolve));
  for (const who of shares.keys()) {
    const peer = await open();
    const take = (message) => {
      got.push(Number(message.body));
      shares[who] += 1;
      message.ack();
      if (got.length === 60) all();
    };
    peer.client.subscribe(queue, take, { ack: 'client-individual', prefetch: '5' });
    await peer.sync();
  }
  const sender = await open();
  for (let i = 0; i < 60; i += 1) sender.publish(queue, `${i}`);
  await within(5000, 'all messages', complete);
  assert.ok(shares.every((share) => share >= 5), `no consumer is starved: ${shares}`);
  got.sort((a, b) => a - b);
  assert.deepEqual(got, Array.from({ length: 60 }, (_, i) => i));
});

test('a queue keeps messages until a consumer comes', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const sender = await open();
  for (const body of ['1', '2', '3']) await sender.send(queue, body);
  await sender.close();
  const subscription = await (await open()).subscribe(queue);
  assert.deepEqual(await subscription.bodies(3), ['1', '2', '3']);
});

test('prefetch bounds what is in flight', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  const subscription = await peer.subscribe(queue, { ack: 'client-individual', prefetch: '3' });
  for (let i = 0; i < 10; i += 1) await peer.send(queue, `${i}`);
  const first = await subscription.messages.take(3);
  await peer.sync();
  assert.equal(subscription.messages.length, 0);
  first[0].ack();
  assert.deepEqual(await subscription.bodies(1), ['3']);
  await peer.sync();
  assert.equal(subscription.messages.length, 0);
  first[1].ack();
  first[2].ack();
  assert.deepEqual(await subscription.bodies(2), ['4', '5']);
});

test('what was unsettled when a consumer unsubscribes goes to the next', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const peer = await open();
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, 'a');
  await peer.send(queue, 'b');
  await subscription.messages.take(2);
  await subscription.unsubscribe();
  const next = await (await open()).subscribe(queue);
  assert.deepEqual(await next.bodies(2), ['a', 'b']);
});

test('higher priorities come first', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  for (const [body, priority] of [['low', 0], ['normal', undefined], ['high', 9], ['four', 4], ['high too', 9]]) {
    await peer.send(queue, body, priority === undefined ? {} : { priority: `${priority}` });
  }
  const subscription = await peer.subscribe(queue);
  const messages = await subscription.messages.take(5);
  assert.deepEqual(messages.map((message) => message.body), ['high', 'high too', 'normal', 'four', 'low']);
  assert.equal(messages[0].headers.priority, '9');
});

test('an expired message is not delivered', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  const later = `${Date.now() + 60_000}`;
  await peer.send(queue, 'past', { expires: `${Date.now() - 1}` });
  await peer.send(queue, 'soon', { expires: `${Date.now() + 150}` });
  await peer.send(queue, 'later', { expires: later });
  await peer.send(queue, 'never', { expires: '0' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  const subscription = await peer.subscribe(queue);
  const messages = await subscription.messages.take(2);
  assert.deepEqual(messages.map((message) => message.body), ['later', 'never']);
  assert.equal(messages[0].headers.expires, later);
});

test('persistent is accepted', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  await peer.send(queue, 'x', { persistent: 'true' });
  assert.deepEqual(await (await peer.subscribe(queue)).bodies(1), ['x']);
});

test('request and reply over a temporary queue', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const [client, server] = [await open(), await open()];
  const requests = await server.subscribe(queue, { ack: 'client-individual' });
  const replies = await client.subscribe('/temp-queue/answers');
  for (const body of ['ping', 'pong']) {
    await client.send(queue, body, { 'reply-to': '/temp-queue/answers', 'correlation-id': body });
    const request = await requests.next();
    assert.match(request.headers['reply-to'], /^\/temp-queue\/[0-9a-f]{32}$/);
    await server.send(request.headers['reply-to'], body.toUpperCase(), {
      'correlation-id': request.headers['correlation-id'],
    });
    request.ack();
    const reply = await replies.next();
    assert.equal(reply.body, body.toUpperCase());
    assert.equal(reply.headers['correlation-id'], body);
    assert.equal(reply.headers.subscription, replies.id);
  }
});

test('temporary names are private to their connection', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const server = await open();
  const requests = await server.subscribe(queue);
  const clients = [await open(), await open()];
  const replies = [];
  for (const client of clients) {
    replies.push(await client.subscribe('/temp-queue/mine'));
    await client.send(queue, '', { 'reply-to': '/temp-queue/mine' });
  }
  const addresses = (await requests.messages.take(2)).map((message) => message.headers['reply-to']);
  assert.notEqual(addresses[0], addresses[1]);
  await server.send(addresses[1], 'second');
  await server.send(addresses[0], 'first');
  assert.deepEqual(await replies[0].bodies(1), ['first']);
  assert.deepEqual(await replies[1].bodies(1), ['second']);
});

test('all who know a temporary queue may send, only its owner may subscribe', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const owner = await open();
  const server = await open();
  const requests = await server.subscribe(queue);
  await owner.subscribe('/temp-queue/mine');
  await owner.send(queue, '', { 'reply-to': '/temp-queue/mine' });
  const address = (await requests.next()).headers['reply-to'];
  const thief = await Peer.open(gateway);
  thief.client.subscribe(address, () => {});
  const error = await thief.errors.next();
  assert.match(`${error.headers.message} ${error.body}`, /allowed/);
});

test('a temporary topic fans out to its owner alone', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const [owner, server] = [await open(), await open()];
  const requests = await server.subscribe(queue);
  const [a, b] = [await owner.subscribe('/temp-topic/t'), await owner.subscribe('/temp-topic/t')];
  await owner.send(queue, '', { 'reply-to': '/temp-topic/t' });
  const address = (await requests.next()).headers['reply-to'];
  assert.match(address, /^\/temp-topic\/[0-9a-f]{32}$/);
  await server.send(address, 'x');
  assert.deepEqual([...(await a.bodies(1)), ...(await b.bodies(1))], ['x', 'x']);
});

test('a send to a temporary queue whose owner has gone is dropped without an ERROR', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const server = await open();
  const requests = await server.subscribe(queue);
  const owner = await open();
  await owner.subscribe('/temp-queue/mine');
  await owner.send(queue, '', { 'reply-to': '/temp-queue/mine' });
  const address = (await requests.next()).headers['reply-to'];
  await owner.close();
  server.publish(address, 'too late');
  await server.sync();
  assert.equal(server.errors.length, 0);
});

test('a sender receives its own messages in the order RECEIPT, or MESSAGE, never lost', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  await within(5000, 'receipts', Promise.all(['a', 'b', 'c'].map((body) => peer.send(topic, body))));
  assert.deepEqual(await subscription.bodies(3), ['a', 'b', 'c']);
});
