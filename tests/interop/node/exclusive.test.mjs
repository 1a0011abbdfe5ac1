// Exclusive consumers: one gets all of a queue, and the next takes over; and consumers with a priority.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';

let gateway;
before(async () => (gateway = await start('[store]\npath = "store"\n')));
after(() => gateway.stop());

const ack = { ack: 'client-individual' };

const spellings = {
  'our own': [(queue) => queue, { exclusive: 'true' }],
  "ActiveMQ's header": [(queue) => queue, { 'activemq.exclusive': 'true' }],
  "ActiveMQ's destination": [(queue) => `${queue}?consumer.exclusive=true`, {}],
  "ActiveMQ's destination with a priority": [(queue) => `${queue}?consumer.exclusive=true&consumer.priority=10`, {}],
  RabbitMQ: [(queue) => queue, { 'x-single-active-consumer': 'true' }],
};

for (const [name, [destination, headers]] of Object.entries(spellings)) {
  test(`${name}: one consumer gets all, and the next takes over, in order`, async (t) => {
    const open = peers(t, () => gateway);
    const queue = `/queue/${unique()}`;
    const sender = await open();
    const plain = await (await open()).subscribe(queue, ack);
    const consumers = [];
    for (let i = 0; i < 3; i += 1) {
      const peer = await Peer.open(gateway);
      t.after(() => peer.client.deactivate({ force: true }));
      const subscription = await peer.subscribe(destination(queue), { ...ack, ...headers, prefetch: '4' });
      consumers.push({ peer, subscription });
    }
    let sent = 0;
    const send = async (count) => {
      for (let i = 0; i < count; i += 1) await sender.send(queue, `${(sent += 1)}`, { persistent: 'true' });
    };
    await send(6);
    // It has four; the first two it acknowledges, and gets two more for them.
    const [first, second, third] = consumers;
    const got = await first.subscription.messages.take(4);
    assert.deepEqual(got.map(({ body }) => body), ['1', '2', '3', '4']);
    assert.equal(got[0].headers.destination, queue);
    for (const message of got.slice(0, 2)) await first.peer.receipt((receipt) => message.ack({ receipt }));
    await first.subscription.messages.take(2);
    await first.peer.drop();
    const rest = await second.subscription.messages.take(4);
    assert.deepEqual(rest.map(({ body, headers }) => [body, headers.redelivered]), ['3', '4', '5', '6'].map((body) => [body, 'true']));
    for (const message of rest) message.ack();
    await second.subscription.unsubscribe();
    await send(2);
    for (const message of await third.subscription.messages.take(2)) message.ack();
    await third.subscription.unsubscribe();
    assert.equal(plain.messages.length, 0, 'who is not exclusive has got nothing');
    await send(1);
    assert.deepEqual(await plain.bodies(1), ['9']);
    assert.equal(second.subscription.messages.length + third.subscription.messages.length, 0);
  });
}

test('an exclusive consumer with a higher priority takes over from one that works', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique()}`;
  const sender = await open();
  const low = await (await open()).subscribe(queue, { ...ack, exclusive: 'true' });
  await sender.send(queue, '1');
  const one = await low.next();
  const high = await (await open()).subscribe(queue, { ...ack, exclusive: 'true', 'consumer-priority': '5' });
  await sender.send(queue, '2');
  assert.deepEqual(await high.bodies(1), ['2']);
  one.ack();
  await high.unsubscribe();
  assert.deepEqual(await low.bodies(1), ['2'], 'released, and in its place');
});

for (const [name, at] of [['our own', 'consumer-priority'], ['ActiveMQ', 'activemq.priority'], ['RabbitMQ', 'x-priority']]) {
  test(`priority, ${name}: others get what those with a higher one cannot take`, async (t) => {
    const open = peers(t, () => gateway);
    const queue = `/queue/${unique()}`;
    const sender = await open();
    const low = await (await open()).subscribe(queue, { ...ack, [at]: '-1' });
    const high = await (await open()).subscribe(queue, { ...ack, [at]: '10', prefetch: '2' });
    const usual = await (await open()).subscribe(queue, { ...ack, prefetch: '1' });
    for (let i = 1; i <= 5; i += 1) await sender.send(queue, `${i}`);
    const [one] = await high.messages.take(2);
    assert.deepEqual(await usual.bodies(1), ['3']);
    assert.deepEqual(await low.bodies(2), ['4', '5']);
    await high.peer.receipt((receipt) => one.ack({ receipt }));
    await sender.send(queue, '6');
    assert.deepEqual(await high.bodies(1), ['6']);
  });
}

test('by hand over TCP, also where one waits from the beginning', async (t) => {
  const queue = `/queue/${unique()}`;
  const connections = [];
  for (let i = 0; i < 3; i += 1) {
    const tcp = await Tcp.open(gateway);
    t.after(() => tcp.destroy());
    await tcp.connect();
    tcp.frame('SUBSCRIBE', 'id:0', `destination:${queue}`, 'exclusive:true', 'ack:client', 'receipt:s', '', '');
    assert.equal((await tcp.next()).command, 'RECEIPT');
    connections.push(tcp);
  }
  const sender = await peers(t, () => gateway)();
  for (const tcp of connections) {
    await sender.send(queue, 'x');
    assert.deepEqual((await tcp.next()).body, 'x');
    tcp.destroy();
    const next = connections[connections.indexOf(tcp) + 1];
    if (next) {
      const { headers, body } = await next.next();
      assert.deepEqual([body, headers.redelivered], ['x', 'true']);
      next.frame('ACK', `id:${headers.ack}`, '', '');
    }
  }
});

test('what is none is refused with the reason, and topics know no such thing', async (t) => {
  const open = peers(t, () => gateway);
  for (const [destination, headers, why] of [
    ['/queue/x', { exclusive: 'yes' }, 'exclusive must be true or false'],
    ['/queue/x', { 'activemq.priority': '128' }, 'activemq.priority must be a whole number from -128 to 127'],
    ['/queue/x?consumer.exclusive=1', {}, 'consumer.exclusive must be true or false'],
    ['/queue/x?consumer.exclusive=true&consumer.noLocal=true', {}, 'the options of a destination are'],
  ]) {
    const peer = await open();
    peer.client.subscribe(destination, () => {}, headers);
    const error = await peer.errors.next();
    assert.equal(error.headers.message, 'bad consumer');
    assert.ok(error.body.includes(why), error.body);
  }
  const topic = `/topic/${unique()}`;
  const both = [];
  for (let i = 0; i < 2; i += 1) both.push(await (await open()).subscribe(topic, { 'activemq.exclusive': 'true' }));
  await (await open()).send(topic, 'to all');
  for (const subscription of both) assert.deepEqual(await subscription.bodies(1), ['to all']);
});
