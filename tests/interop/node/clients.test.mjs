// Client ids: one connection at a time is a client; shared subscriptions that are not durable; what strings count as
// in the selectors of a connection.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Raw } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';

/** Gateways whose clients CONNECT as a test says. */
async function begin(t, config = '') {
  const gateway = await start(config);
  t.after(() => gateway.stop());
  const as = (headers, options = {}) => Peer.open(gateway, { ...options, connectHeaders: headers });
  return { gateway, as };
}

const metric = async (gateway, name) => {
  const { text } = await request(gateway, '/metrics');
  return Number(new RegExp(`^passerelle_broker_${name} (\\d+)`, 'm').exec(text)?.[1]);
};

test('a second connection with a client id is refused while the first lasts, and has it then', async (t) => {
  const { gateway, as } = await begin(t);
  const id = { 'client-id': unique('client') };
  const first = await as(id);
  const refused = await as(id).catch((error) => error);
  assert.equal(refused.frame?.headers.message, 'client id in use');
  assert.match(refused.frame.body, /another connection of this user has the same client id; .*CONNECT with displace:true/);
  assert.equal(await metric(gateway, 'clients'), 1);
  assert.equal(await metric(gateway, 'clients_refused_total'), 1);
  // Who comes back before the end of the other was seen has it, however that ended.
  let holder = first;
  for (const end of ['close', 'drop', 'close', 'drop']) {
    const next = as(id);
    await holder[end]();
    holder = await next;
    await holder.sync();
  }
  // Other ids, and none, are free.
  await Promise.all([as({ 'client-id': 'other' }), as({}), as({}), as({ 'client-id': '' }), as({ 'client-id': '' })]);
});

test('displace:true ends the connection that has the client id', async (t) => {
  const { gateway, as } = await begin(t);
  const [id, topic] = [{ 'client-id': unique('client') }, `/topic/${unique()}`];
  const durable = { 'durable-subscription-name': 'n', ack: 'client-individual' };
  let holder = await as(id);
  const sender = await as({});
  const subscription = await holder.subscribe(topic, durable);
  await sender.send(topic, '0');
  assert.deepEqual(await subscription.bodies(1), ['0']);
  for (let round = 1; round <= 3; round += 1) {
    const next = await as({ ...id, displace: 'true' });
    assert.equal((await holder.errors.next()).headers.message, 'displaced');
    await within(5000, 'the end of the connection', holder.closed);
    // What the other had, and had not acknowledged, is its own now.
    const resumed = await next.subscribe(topic, durable);
    assert.deepEqual(await resumed.bodies(1), ['0'], `round ${round}`);
    holder = next;
  }
  assert.equal(await metric(gateway, 'clients_displaced_total'), 3);
  assert.equal(await metric(gateway, 'clients'), 1);
});

test('same-client-id = "displace" makes that the rule, but for who says displace:false', async (t) => {
  const { as } = await begin(t, '[clients]\nsame-client-id = "displace"\n');
  const id = { 'client-id': unique('client') };
  const first = await as(id);
  const second = await as(id);
  assert.equal((await first.errors.next()).headers.message, 'displaced');
  const third = await as({ ...id, displace: 'false' }).catch((error) => error);
  assert.equal(third.frame.headers.message, 'client id in use');
  await second.sync();
});

test('same-client-id = "share" lets all be one client', async (t) => {
  const { as } = await begin(t, '[clients]\nsame-client-id = "share"\n');
  const [id, topic] = [{ 'client-id': unique('client') }, `/topic/${unique()}`];
  const [first, second] = [await as(id), await as(id)];
  const durable = { 'durable-subscription-name': 'n' };
  await first.subscribe(topic, durable);
  second.client.subscribe(topic, () => {}, durable);
  assert.equal((await second.errors.next()).headers.message, 'durable subscription in use');
});

test('many that want to be one client: one is, and a storm of those that displace each other ends with one', async (t) => {
  const { gateway, as } = await begin(t);
  const id = { 'client-id': unique('client') };
  const tries = await Promise.allSettled(Array.from({ length: 12 }, () => as(id)));
  assert.equal(tries.filter((one) => one.status === 'fulfilled').length, 1);
  const storm = await Promise.allSettled(Array.from({ length: 12 }, () => as({ ...id, displace: 'true' })));
  const open = storm.filter((one) => one.status === 'fulfilled').map((one) => one.value);
  assert(open.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const alive = open.filter((peer) => peer.client.connected && peer.errors.length === 0);
  assert.equal(await metric(gateway, 'clients'), 1);
  assert.equal(alive.length, 1);
});

test('client ids are a user’s own', async (t) => {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: 'x\n', encoding: 'utf8' });
  const password = /\{.*\}/s.exec(printed)[0];
  const users = ['ann', 'bob'].map((name) => `[[user]]\nname = "${name}"\npassword = ${password}\n`).join('\n');
  const { as } = await begin(t, users);
  const id = { 'client-id': 'desk', passcode: 'x' };
  const [ann, bob, nobody] = [await as({ ...id, login: 'ann' }), await as({ ...id, login: 'bob' }), await as({ 'client-id': 'desk' })];
  await Promise.all([ann.sync(), bob.sync(), nobody.sync()]);
  const refused = await as({ ...id, login: 'ann' }).catch((error) => error);
  assert.equal(refused.frame.headers.message, 'client id in use');
});

test('what is sent behind CONNECT waits for the client id, and bad headers are named', async (t) => {
  const { gateway } = await begin(t);
  const holder = await Raw.open(gateway);
  holder.write('CONNECT\naccept-version:1.2\nclient-id:c\nhost:x\n\n\0');
  await holder.until('\0');
  const next = await Raw.open(gateway);
  next.write('CONNECT\naccept-version:1.2\nclient-id:c\ndisplace:true\nhost:x\n\n\0SEND\ndestination:/queue/a\nreceipt:r\n\nx\0');
  const answer = (await next.until('receipt-id:r')).toString();
  assert.match(answer, /^CONNECTED/);
  for (const [headers, said] of [
    ['displace:yes', /displace must be true or false/],
    ['selector-strings:no', /selector-strings must be coerced or strict/],
    [`client-id:${'x'.repeat(1100)}`, /client-id must have no control characters and, with the name of the user, at most 1024/],
  ]) {
    const peer = await Raw.open(gateway);
    peer.write(`CONNECT\naccept-version:1.2\n${headers}\nhost:x\n\n\0`);
    assert.match((await peer.rest()).toString(), said);
  }
});

for (const header of ['shared-subscription-name', 'x-queue-name']) {
  test(`${header}: each message goes to one of those who share it, and nothing outlives them`, async (t) => {
    const { gateway, as } = await begin(t);
    const [name, topic] = [unique('name'), `/topic/${unique()}`];
    const shared = { [header]: name, ack: 'client-individual' };
    const readers = [await as({}), await as({}), await as({})];
    const sender = await as({});
    const subscriptions = [];
    for (const reader of readers) subscriptions.push(await reader.subscribe(topic.replace(/[^/]+$/, '*'), shared));
    const other = await (await as({})).subscribe(topic);
    for (let i = 0; i < 30; i += 1) await sender.send(topic, `${i}`, { persistent: 'true' });
    assert.equal((await other.bodies(30)).length, 30, 'plain subscribers get all');
    const seen = [];
    const take = async (subscription, count) => {
      for (let i = 0; i < count; i += 1) {
        const message = await subscription.next();
        seen.push(message.body);
        message.ack();
      }
    };
    // One of them goes with all that it has: the others get that.
    await subscriptions[2].next();
    await readers[2].drop();
    const all = [];
    for (const subscription of subscriptions.slice(0, 2)) {
      all.push((async () => {
        while (seen.length < 30) {
          const message = await subscription.next(1000).catch(() => null);
          if (message) {
            seen.push(message.body);
            message.ack();
          }
        }
      })());
    }
    await Promise.all(all);
    assert.deepEqual(new Set(seen), new Set(Array.from({ length: 30 }, (_, i) => `${i}`)));
    const { text } = await request(gateway, '/metrics');
    assert.match(text, new RegExp(`queue="/subscription/\\*0\\.\\*0\\.${name}\\.shared"\\}`));
    for (const reader of readers.slice(0, 2)) await reader.close();
    await sender.send(topic, 'lost');
    const again = await (await as({})).subscribe(topic, shared);
    await sender.send(topic, 'new');
    assert.deepEqual(await again.bodies(1), ['new']);
  });
}

test('a shared subscription has one set of terms, and none of a queue', async (t) => {
  const { as } = await begin(t);
  const topic = `/topic/${unique()}`;
  const shared = { 'shared-subscription-name': unique('name') };
  await (await as({})).subscribe(topic, shared);
  for (const [destination, headers, message, said] of [
    [`${topic}.b`, shared, 'durable subscription in use', /has a consumer already/],
    [topic, { ...shared, selector: 'n = 1' }, 'durable subscription in use', /has a consumer already/],
    ['/queue/a', shared, 'bad durable subscription', /all consumers of a queue share it anyway/],
    [topic, { ...shared, shared: 'false' }, 'bad durable subscription', /shared is true/],
    [topic, { ...shared, 'no-local': 'true' }, 'bad durable subscription', /no-local:true is not for those/],
    [topic, { 'shared-subscription-name': '' }, 'bad durable subscription', /must not be empty/],
  ]) {
    const peer = await as({});
    peer.client.subscribe(destination, () => {}, headers);
    const error = await peer.errors.next();
    assert.equal(error.headers.message, message);
    assert.match(error.body, said);
  }
});

test('selector-strings says for a connection whether strings are numbers to its selectors, a prefix for one', async (t) => {
  const { as } = await begin(t);
  const topic = `/topic/${unique()}`;
  const [coerced, strict, sender] = [await as({}), await as({ 'selector-strings': 'strict' }), await as({})];
  const convert = 'convert_string_expressions:';
  const cases = [
    [coerced, 'amount > 1000', ['1200']],
    [strict, 'amount > 1000', []],
    [strict, "amount = '1200'", ['1200']],
    [strict, `${convert}amount > 1000`, ['1200']],
    [coerced, `${convert}amount > 1000`, ['1200']],
    [coerced, `no_${convert}amount > 1000`, []],
  ];
  const subscriptions = [];
  for (const [peer, selector] of cases) subscriptions.push(await peer.subscribe(topic, { selector }));
  const ends = [];
  for (const peer of [coerced, strict]) ends.push(await peer.subscribe(topic, { selector: "amount = 'end'" }));
  for (const amount of ['900', '1200', 'much', 'end']) await sender.send(topic, amount, { amount });
  for (const end of ends) assert.deepEqual(await end.bodies(1), ['end']);
  for (const [index, [, selector, expected]] of cases.entries()) {
    const got = [];
    for (let message; (message = await subscriptions[index].next(300).catch(() => null)); ) got.push(message);
    assert.deepEqual(got.map((message) => message.body), expected, selector);
    // Properties stay as they were sent.
    for (const message of got) assert.equal(message.headers.amount, '1200');
  }
});
