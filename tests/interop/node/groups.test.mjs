// Message groups: what belongs together goes to one consumer, in order, until that leaves.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { again, start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start('[store]\npath = "store"\n')));
after(() => gateway.stop());

const spellings = {
  'our own': ['group-id', 'group-sequence'],
  ActiveMQ: ['JMSXGroupID', 'JMSXGroupSeq'],
  Artemis: ['_AMQ_GROUP_ID', '_AMQ_GROUP_SEQUENCE'],
};

/** Resolves when `done` says so, which is asked after each message. */
function collector(count) {
  let resolve;
  const all = new Promise((done) => (resolve = done));
  const got = [];
  return {
    got,
    all: () => within(10_000, `${count} messages, not ${got.length}`, all),
    take(who, message) {
      got.push({ who, group: message.headers.group, body: message.body });
      if (got.length === count) resolve();
    },
  };
}

/** The consumers that got something of each group, in the order in which they came. */
function owners(got) {
  const by = {};
  for (const { who, group } of got) if (by[group]?.at(-1) !== who) (by[group] ??= []).push(who);
  return by;
}

for (const [broker, [id, sequence]] of Object.entries(spellings)) {
  test(`${broker} spelling: three consumers have a group each at a time, in order, and a closed one goes on elsewhere`, async (t) => {
    const open = peers(t, () => gateway);
    const queue = `/queue/${unique()}`;
    const groups = ['red', 'green', 'blue'];
    const result = collector(groups.length * 20);
    for (const who of groups.keys()) {
      const peer = await open();
      const subscription = await peer.subscribe(queue, { ack: 'client-individual', prefetch: '3' });
      // Each works for a while on what it has.
      (async () => {
        for (;;) {
          const message = await subscription.next(60_000);
          result.take(who, message);
          setTimeout(() => message.ack(), (result.got.length * 7) % 5);
        }
      })().catch(() => {});
    }
    const sender = await open();
    for (let number = 0; number < 20; number += 1) {
      for (const group of groups) {
        sender.publish(queue, `${number}`, { [id]: `${queue}-${group}`, group, ...(number % 2 ? { persistent: 'true' } : {}) });
      }
    }
    await result.all();
    for (const [group, who] of Object.entries(owners(result.got))) assert.equal(who.length, 1, `${group}: ${who}`);
    for (const group of groups) {
      const bodies = result.got.filter((one) => one.group === group).map(({ body }) => Number(body));
      assert.deepEqual(bodies, [...Array(20).keys()], group);
    }

    // What closes a group, and who has it then.
    const [first, second] = [await open(), await open()];
    const other = `/queue/${unique()}`;
    const one = await first.subscribe(other, { ack: 'client-individual', prefetch: '2' });
    await sender.send(other, 'begin', { [id]: 'g' });
    const begin = await one.next();
    await sender.send(other, 'close', { [id]: 'g', [sequence]: '-1' });
    const close = await one.next();
    assert.equal(close.headers[sequence], '-1', 'receivers see the headers');
    await first.receipt((receipt) => begin.ack({ receipt }));
    await sender.send(other, 'plain');
    assert.equal((await one.next()).body, 'plain');
    await sender.send(other, 'next', { [id]: 'g' });
    const two = await second.subscribe(other, { ack: 'client-individual', prefetch: '1' });
    await second.sync();
    assert.equal(two.messages.length, 0, 'not before what closes it is acknowledged');
    close.ack();
    assert.equal((await two.next()).body, 'next');
  });
}

for (const end of ['lost', 'unsubscribed']) {
  test(`when its consumer is ${end}, another has the group: all of it, in order`, async (t) => {
    const open = peers(t, () => gateway);
    const queue = `/queue/${unique()}`;
    const sender = await open();
    const grouped = { 'group-id': 'g', persistent: 'true' };
    const first = await open();
    const one = await first.subscribe(queue, { ack: 'client-individual', prefetch: '2' });
    await sender.send(queue, '0', grouped);
    await one.next();
    const two = await (await open()).subscribe(queue, { ack: 'client-individual', prefetch: '10' });
    for (const body of ['1', '2', '3']) await sender.send(queue, body, grouped);
    await one.next();
    await two.peer.sync();
    assert.equal(two.messages.length, 0);
    if (end === 'lost') await first.drop();
    else await one.unsubscribe();
    const messages = await two.messages.take(4);
    assert.deepEqual(messages.map(({ body }) => body), ['0', '1', '2', '3']);
    assert.equal(messages[0].headers.redelivered, end === 'lost' ? 'true' : undefined);
  });
}

test('groups hold after kill -9, and within transactions', async (t) => {
  const life = { gateway: await start('[store]\npath = "store"\n') };
  t.after(() => life.gateway.stop());
  const queue = `/queue/${unique()}`;
  const sender = await Peer.open(life.gateway);
  const transaction = sender.client.begin();
  for (let number = 0; number < 12; number += 1) {
    for (const group of ['a', 'b']) {
      sender.publish(queue, `${number}`, { JMSXGroupID: group, group, persistent: 'true', transaction: transaction.id });
    }
  }
  await sender.receipt((receipt) => sender.frame('COMMIT', { transaction: transaction.id, receipt }));
  life.gateway = await again(life.gateway, 'SIGKILL');
  const result = collector(24);
  for (const who of [0, 1]) {
    const tcp = await Tcp.open(life.gateway);
    t.after(() => tcp.destroy());
    await tcp.connect();
    tcp.frame('SUBSCRIBE', 'id:0', `destination:${queue}`, 'ack:client-individual', 'prefetch:1', '', '');
    // Acknowledges in transactions, each other one of which it gives up first.
    (async () => {
      for (let number = 0; ; number += 1) {
        const { command, headers, body } = await tcp.next(60_000);
        if (command !== 'MESSAGE') continue;
        result.take(who, { headers, body });
        const name = `${who}-${number}`;
        tcp.frame('BEGIN', `transaction:${name}`, '', '');
        tcp.frame('ACK', `id:${headers.ack}`, `transaction:${name}`, '', '');
        if (number % 2) {
          tcp.frame('ABORT', `transaction:${name}`, '', '');
          tcp.frame('ACK', `id:${headers.ack}`, '', '');
        } else tcp.frame('COMMIT', `transaction:${name}`, '', '');
      }
    })().catch(() => {});
  }
  await result.all();
  for (const [group, who] of Object.entries(owners(result.got))) assert.equal(who.length, 1, `${group}: ${who}`);
  for (const group of ['a', 'b']) {
    const bodies = result.got.filter((one) => one.group === group).map(({ body }) => Number(body));
    assert.deepEqual(bodies, [...Array(12).keys()], group);
  }
});

test('an urgent message of a group comes first, and to who has it; one without a group passes', async (t) => {
  const open = peers(t, () => gateway);
  const [queue, group] = [`/queue/${unique()}`, { 'group-id': 'g' }];
  const sender = await open();
  const [first, second] = [await open(), await open()];
  const one = await first.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
  await sender.send(queue, '1', group);
  const held = await one.next();
  const two = await second.subscribe(queue, { ack: 'client-individual', prefetch: '5' });
  await sender.send(queue, '2', group);
  await sender.send(queue, 'urgent', { ...group, priority: '9' });
  await sender.send(queue, 'none');
  assert.equal((await two.next()).body, 'none');
  // Failed: it comes again, behind the urgent one.
  await first.receipt((receipt) => held.nack({ receipt }));
  for (const expected of ['urgent', '1', '2']) {
    const message = await one.next();
    assert.equal(message.body, expected);
    message.ack();
  }
  await second.sync();
  assert.equal(two.messages.length, 0);
});

test('the consumers of a shared durable subscription have groups too', async (t) => {
  const open = peers(t, () => gateway);
  const [topic, name] = [`/topic/${unique()}`, unique('name')];
  const shared = { 'durable-subscription-name': name, shared: 'true', ack: 'client-individual', prefetch: '4' };
  const result = collector(40);
  for (const who of [0, 1]) {
    const peer = await open();
    const subscription = await peer.subscribe(topic, shared);
    (async () => {
      for (;;) {
        const message = await subscription.next(60_000);
        result.take(who, message);
        message.ack();
      }
    })().catch(() => {});
  }
  const sender = await open();
  for (let number = 0; number < 10; number += 1) {
    for (const group of ['a', 'b', 'c', 'd']) sender.publish(topic, `${number}`, { 'group-id': group, group });
  }
  await result.all();
  const by = owners(result.got);
  for (const [group, who] of Object.entries(by)) assert.equal(who.length, 1, `${group}: ${who}`);
  assert.equal(new Set(Object.values(by).flat()).size, 2, 'both have something to do');
});
