// Selectors: a subscription gets the messages that its condition selects; in a queue the others stay.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

for (const version of ['1.0', '1.1', '1.2']) {
  test(`STOMP ${version}: consumers of a queue get what they select, and the rest stays`, async (t) => {
    const open = peers(t, () => gateway);
    const [sender, red, cheap] = [await open(), await open({ versions: [version] }), await open()];
    const queue = `/queue/${unique()}`;
    const reds = await red.subscribe(queue, { selector: "color = 'red' AND price > 10" });
    await sender.send(queue, 'green', { color: 'green', price: '5' });
    await sender.send(queue, 'red 1', { color: 'red', price: '20' });
    await sender.send(queue, 'cheap red', { color: 'red', price: '9.5' });
    await sender.send(queue, 'red 2', { color: 'red', price: '10.01' });
    await sender.send(queue, 'free', { color: 'red' });
    assert.deepEqual(await reds.bodies(2), ['red 1', 'red 2']);
    const cheaps = await cheap.subscribe(queue, { selector: 'price BETWEEN 1 AND 9.99' });
    assert.deepEqual(await cheaps.bodies(2), ['green', 'cheap red']);
    const rest = await sender.subscribe(queue);
    assert.deepEqual(await rest.bodies(1), ['free']);
  });
}

for (const version of ['1.0', '1.1', '1.2']) {
  test(`STOMP ${version}: subscribers of a topic get what they select`, async (t) => {
    const open = peers(t, () => gateway);
    const sender = await open();
    const topic = `/topic/${unique()}.a`;
    const wide = topic.replace(/a$/, '*');
    const readers = [];
    for (const [destination, headers] of [
      [topic, { selector: "color = 'red' AND price > 10" }],
      [wide, { selector: "color = 'red' AND price > 10" }],
      [topic, { selector: 'price BETWEEN 1 AND 9.99', 'x-slow': 'drop-oldest' }],
      [topic, { selector: 'price IS NULL', 'prefetch-count': '9', ack: 'client' }],
      [topic, {}],
    ]) {
      const reader = await open({ versions: [version] });
      readers.push(await reader.subscribe(destination, headers));
    }
    await sender.send(topic, 'green', { color: 'green', price: '5' });
    await sender.send(topic, 'red 1', { color: 'red', price: '20' });
    await sender.send(topic, 'cheap red', { color: 'red', price: '9.5' });
    await sender.send(topic, 'free', { color: 'red' });
    await sender.send(topic, 'red 2', { color: 'red', price: '10.01' });
    const all = ['green', 'red 1', 'cheap red', 'free', 'red 2'];
    const [red, redWide, cheap, free, rest] = readers;
    assert.deepEqual(await red.bodies(2), ['red 1', 'red 2']);
    assert.deepEqual(await redWide.bodies(2), ['red 1', 'red 2']);
    assert.deepEqual(await cheap.bodies(2), ['green', 'cheap red']);
    assert.deepEqual(await free.bodies(1), ['free']);
    assert.deepEqual(await rest.bodies(5), all);
    await sender.send(topic, 'end', { color: 'red', price: '11' });
    assert.deepEqual(await red.bodies(1), ['end'], 'nothing else came between');
  });
}

test('of a topic the selector decides before the latest replaces anything', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, reader] = [await open(), await open()];
  const topic = `/topic/${unique()}`;
  const slow = { 'x-slow': 'latest', 'prefetch-count': '1', ack: 'client', selector: "kind = 'trade'" };
  const latest = await reader.subscribe(topic, slow);
  const [first] = await (async () => {
    await sender.send(topic, 'first', { kind: 'trade' });
    return [await latest.messages.next()];
  })();
  await sender.send(topic, 'second', { kind: 'trade' });
  await sender.send(topic, 'quote', { kind: 'quote' });
  first.ack();
  const second = await latest.messages.next();
  assert.equal(second.body, 'second');
  assert.equal(second.headers['x-dropped'], undefined);
});

test('subscribers of a temporary topic get what they select', async (t) => {
  const open = peers(t, () => gateway);
  const [owner, sender] = [await open(), await open()];
  const own = await owner.subscribe('/temp-topic/t', { selector: 'n > 1' });
  const inbox = `/queue/${unique()}`;
  const asked = await sender.subscribe(inbox);
  await owner.send(inbox, '?', { 'reply-to': '/temp-topic/t' });
  const to = (await asked.messages.next()).headers['reply-to'];
  for (const n of [1, 2, 0, 3]) await sender.send(to, `${n}`, { n: `${n}` });
  assert.deepEqual(await own.bodies(2), ['2', '3']);
});

test('many selectors of a topic: each subscriber gets its own', async (t) => {
  const open = peers(t, () => gateway);
  const sender = await open();
  const topic = `/topic/${unique()}`;
  const readers = [];
  for (let i = 0; i < 8; i += 1) {
    const reader = await open();
    for (let j = 0; j < 50; j += 1) {
      const n = i * 50 + j;
      readers.push(await reader.subscribe(topic, { selector: `n = ${n} OR n / 2 * 2 = ${n}` }));
    }
  }
  for (let n = 0; n < 400; n += 1) sender.publish(topic, `${n}`, { n: `${n}` });
  await sender.sync();
  for (const [n, reader] of readers.entries()) {
    const expected = n % 2 === 0 ? [`${n}`, `${n + 1}`] : [`${n}`];
    assert.deepEqual(await reader.bodies(expected.length), expected);
  }
});

test('headers of the message are selected by', async (t) => {
  const open = peers(t, () => gateway);
  const peer = await open();
  const queue = `/queue/${unique()}`;
  for (const [selector, headers] of [
    ['JMSPriority = 9', { priority: '9' }],
    ["JMSCorrelationID LIKE 'order-%'", { 'correlation-id': 'order-7' }],
    ["JMSType IN ('car', 'ship')", { type: 'ship' }],
    ["JMSXGroupID = 'g' AND urgent", { JMSXGroupID: 'g', urgent: 'true' }],
    [`JMSTimestamp > ${Date.now() - 1000} AND stamp IS NOT NULL`, { stamp: '' }],
    ["größe = '日本' AND quoted = 'it''s'", { größe: '日本', quoted: "it's" }],
  ]) {
    const subscription = await peer.subscribe(queue, { selector });
    await peer.send(queue, 'other', { other: 'x' });
    await peer.send(queue, selector, headers);
    assert.deepEqual(await subscription.bodies(1), [selector]);
    await subscription.unsubscribe();
  }
  const rest = await peer.subscribe(queue);
  assert.deepEqual(await rest.bodies(6), Array(6).fill('other'));
});

test('what a consumer returns goes to another that selects it', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, first, second] = [await open(), await open(), await open()];
  const queue = `/queue/${unique()}`;
  const selector = 'n > 0';
  const taken = await first.subscribe(queue, { selector, ack: 'client-individual' });
  for (const n of [0, 1, 2, 0, 3]) await sender.send(queue, `${n}`, { n: `${n}` });
  assert.deepEqual(await taken.bodies(3), ['1', '2', '3']);
  const again = await second.subscribe(queue, { selector, ack: 'client' });
  await first.close();
  assert.deepEqual(await again.bodies(3), ['1', '2', '3']);
});

test('among many messages the few that are selected are found', async (t) => {
  const open = peers(t, () => gateway);
  const [sender, consumer] = [await open(), await open()];
  const queue = `/queue/${unique()}`;
  for (let i = 0; i < 9000; i += 1) sender.publish(queue, `${i}`, { i: `${i}` });
  await sender.sync();
  await sender.send(queue, 'last', { last: 'true' });
  const found = await consumer.subscribe(queue, { selector: 'last OR i = 8999 OR i / 4000 * 4000 = i' });
  assert.deepEqual(await found.bodies(5), ['0', '4000', '8000', '8999', 'last']);
  const browser = await consumer.subscribe(queue, { browser: 'true', selector: 'i IN (\'77\')' });
  assert.deepEqual(await browser.bodies(2), ['77', '']);
});

test('an empty selector selects all', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  await peer.send(queue, 'x');
  assert.deepEqual(await (await peer.subscribe(queue, { selector: ' ' })).bodies(1), ['x']);
});

test('a text that is no selector is refused with its place', async () => {
  for (const [selector, said] of [
    ['color LIKE 5', /^selector, column 12: expected a string after LIKE$/],
    ["color = 'blue", /column 9: the string that begins here has no end/],
    ['a == 1', /column 3: write = for equal/],
    ['('.repeat(40), /column 33: .* 32 levels deep/],
    [`a = '${'x'.repeat(9000)}'`, /column 8193: .* 8192 bytes/],
  ]) {
    const peer = await Peer.open(gateway);
    peer.client.subscribe(`/queue/${unique()}`, () => {}, { selector });
    const error = await peer.errors.next();
    assert.equal(error.headers.message, 'bad selector');
    assert.match(error.body, said);
    await within(5000, 'the end of the connection', peer.closed);
  }
});
