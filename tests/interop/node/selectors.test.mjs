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
