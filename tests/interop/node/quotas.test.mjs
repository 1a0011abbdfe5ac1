// What one principal may have of the queues, and all together: who is stopped, and who is not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause } from './lib/wait.mjs';

const QUEUES = 300;
const config = (listen) => `
[limits]
message-bytes-max = "256KiB"
unsent-bytes-max = "1MiB"
queues-max = 1000
[memory]
queued-bytes-max = "8MiB"
queued-bytes-max-per-principal = "2MiB"
queues-max-per-principal = ${QUEUES}
[[listen]]
address = "127.0.0.1:0"
anonymous = true
operations = true
${listen}
[[service]]
path = "/messaging"
type = "broker"
[[service]]
path = "/queues"
type = "queues"
`;
let gateway;
let proxied;
before(async () => {
  gateway = await start(config('forwarded-from = ["127.0.0.1"]'));
  proxied = await start(config('proxy-protocol-from = ["127.0.0.1"]'));
});
after(() => Promise.all([gateway?.stop(), proxied?.stop()]));

let address = 0;
/** An address that no other test uses. */
const another = () => `198.51.100.${(address += 1)}`;
const by = (address) => ({ headers: { 'X-Forwarded-For': address } });
const post = (address, queue, body) =>
  request(gateway, `/queues/${queue}`, { method: 'POST', body, ...by(address) });

/** What /metrics says. */
async function metric(name) {
  const { text } = await request(gateway, '/metrics');
  return Number(new RegExp(`^passerelle_${name} (\\d+)`, 'm').exec(text)?.[1]);
}

/** Reads until it is what it should be. */
async function eventually(read, expected) {
  for (let i = 0; i < 50; i += 1) {
    if ((await read()) === expected) return;
    await pause(100);
  }
  assert.equal(await read(), expected);
}

/** Sends until that is refused; gives the numbers of what was confirmed. */
async function sendUntilRefused(peer, most, send) {
  const confirmed = [];
  try {
    for (let i = 0; i < most; i += 1) {
      await send(i);
      confirmed.push(i);
    }
  } catch (error) {
    assert.match(error.message, /closed before the RECEIPT/);
    return { confirmed, error: await peer.errors.next() };
  }
  return { confirmed };
}

/** Takes all that is in some queues, and says that it has them. */
async function empty(peer, queues, count) {
  const bodies = [];
  const subscriptions = [];
  for (const queue of queues) subscriptions.push(await peer.subscribe(queue, { ack: 'client-individual', prefetch: '1000' }));
  for (const subscription of subscriptions) {
    for (let i = 0; i < count(subscription.destination); i += 1) {
      const message = await subscription.next();
      bodies.push(message.body);
      message.ack();
    }
    await subscription.unsubscribe();
  }
  return bodies;
}

test('20,000 sends of one byte by one address to as many queues stop at its bound, and stop nobody else', async (t) => {
  const open = peers(t, () => gateway);
  const before = await metric('broker_queues');
  const name = unique('many');
  const hostile = await open(by('203.0.113.1'));
  for (let i = 0; i < 20_000; i += 1) {
    if (!hostile.client.connected) break;
    hostile.publish(`/queue/${name}-${i}`, 'x');
  }
  const { headers, body } = await hostile.errors.next(20_000);
  assert.equal(headers.message, 'limit reached');
  assert.match(body, /memory\.queues-max-per-principal/);
  assert.equal((await metric('broker_queues')) - before, QUEUES);
  // So does the next connection from there, at once, for queues, temporary ones and POST.
  const again = await open(by('203.0.113.1'));
  await assert.rejects(again.subscribe(`/queue/${name}-more`), /closed before the RECEIPT/);
  const other = await post('203.0.113.1', `${name}-more`, 'x');
  assert.equal(other.status, 503);
  assert.equal(other.headers['retry-after'], '1');
  assert.match(other.text, /queues-max-per-principal/);
  // What is there already takes more.
  assert.equal((await post('203.0.113.1', `${name}-0`, 'x')).status, 204);

  // Others make queues and temporary ones, and post.
  const honest = await open(by('203.0.113.2'));
  const queue = `/queue/${unique('honest')}`;
  const inbox = await honest.subscribe(queue);
  const replies = await honest.subscribe('/temp-queue/replies');
  await honest.send(queue, 'question', { 'reply-to': '/temp-queue/replies' });
  const question = await inbox.next();
  await honest.send(question.headers['reply-to'], 'reply');
  assert.equal((await replies.next()).body, 'reply');
  assert.equal((await post('203.0.113.2', unique('posted'), 'x')).status, 204);
});

test('as many queues as one may make work, and each that ends makes room for another', async (t) => {
  const open = peers(t, () => gateway);
  const whose = another();
  const peer = await open(by(whose));
  const name = unique('exactly');
  for (let i = 0; i < QUEUES; i += 1) await peer.send(`/queue/${name}-${i}`, `${i}`);
  const consumer = await open(by(another()));
  for (let i = 0; i < 20; i += 1) {
    const subscription = await consumer.subscribe(`/queue/${name}-${i}`);
    assert.equal((await subscription.next()).body, `${i}`);
    await subscription.unsubscribe();
    await peer.send(`/queue/${name}-${QUEUES + i}`, `${QUEUES + i}`);
  }
  await assert.rejects(peer.send(`/queue/${name}-one-too-many`, 'x'), /closed before the RECEIPT/);
  assert.match((await peer.errors.next()).body, /queues-max-per-principal/);
});

test('one that stores in 60 queues is stopped at its bound; what was confirmed is there, and then it goes on', async (t) => {
  const open = peers(t, () => gateway);
  const peer = await open(by(another()));
  const name = unique('sixty');
  const body = (i) => `${i} ${'x'.repeat(20_000)}`;
  const queue = (i) => `/queue/${name}-${i % 60}`;
  const { confirmed, error } = await sendUntilRefused(peer, 400, (i) => peer.send(queue(i), body(i)));
  assert.equal(error.headers.message, 'memory full');
  assert.match(error.body, /memory\.queued-bytes-max-per-principal/);
  const bytes = confirmed.length * 20_000;
  assert.ok(bytes > 1.8 * (1 << 20) && bytes <= 2 << 20, `${bytes} bytes of 2 MiB`);
  const consumer = await open(by(another()));
  const queues = Array.from({ length: 60 }, (_, i) => queue(i));
  const bodies = await empty(consumer, queues, (name) => confirmed.filter((i) => queue(i) === name).length);
  assert.deepEqual(bodies.toSorted(), confirmed.map(body).toSorted());
  const next = await open(by(`198.51.100.${address - 1}`));
  await next.send(queue(0), body(0));
  assert.deepEqual(await empty(consumer, [queue(0)], () => 1), [body(0)]);
});

test('what is taken and not settled counts; so does what a transaction would store, which is refused whole', async (t) => {
  const open = peers(t, () => gateway);
  const whose = another();
  const peer = await open(by(whose));
  const consumer = await open(by(another()));
  const queue = `/queue/${unique('unsettled')}`;
  const subscription = await consumer.subscribe(queue, { ack: 'client-individual', prefetch: '1000' });
  for (let i = 0; i < 10; i += 1) await peer.send(queue, 'x'.repeat(180_000));
  const messages = await subscription.messages.take(10);
  const transacting = await open(by(whose));
  transacting.frame('BEGIN', { transaction: 't' });
  for (let i = 0; i < 3; i += 1) transacting.publish(`${queue}-${i}`, 'x'.repeat(120_000), { transaction: 't' });
  await assert.rejects(
    transacting.receipt((receipt) => transacting.frame('COMMIT', { transaction: 't', receipt })),
    /closed before the RECEIPT/,
  );
  assert.match((await transacting.errors.next()).body, /queued-bytes-max-per-principal/);
  for (const message of messages) message.ack();
  await consumer.sync();
  const again = await open(by(whose));
  again.frame('BEGIN', { transaction: 't' });
  for (let i = 0; i < 3; i += 1) again.publish(`${queue}-${i}`, `${i}`, { transaction: 't' });
  await again.receipt((receipt) => again.frame('COMMIT', { transaction: 't', receipt }));
  const queues = [0, 1, 2].map((i) => `${queue}-${i}`);
  assert.deepEqual(await empty(consumer, queues, () => 1), ['0', '1', '2']);
});

test('all together have a bound: ERROR and 503 say so, what was confirmed stays, and then it goes on', async (t) => {
  const open = peers(t, () => gateway);
  const name = unique('all');
  const body = 'x'.repeat(100_000);
  let confirmed = 0;
  const counts = new Map();
  let refused;
  for (let i = 0; i < 8 && !refused; i += 1) {
    const peer = await open(by(another()));
    const sent = await sendUntilRefused(peer, 18, (n) => peer.send(`/queue/${name}-${n}`, body));
    confirmed += sent.confirmed.length;
    for (const n of sent.confirmed) counts.set(`/queue/${name}-${n}`, (counts.get(`/queue/${name}-${n}`) ?? 0) + 1);
    refused = sent.error;
  }
  assert.equal(refused?.headers.message, 'memory full');
  assert.match(refused.body, /the gateway's memory for queues is full \(memory\.queued-bytes-max\)/);
  // Cores may keep a little that they do not use.
  assert.ok(confirmed * 100_000 > 7 << 20, `${confirmed} messages`);
  assert.ok((await metric('broker_queued_bytes')) <= (await metric('broker_queued_bytes_max')));
  // The core of the POST may have some that it did not use.
  let posted;
  for (let i = 0; i < 20 && posted?.status !== 503; i += 1) posted = await post(another(), name, 'x'.repeat(200_000));
  assert.equal(posted.status, 503);
  assert.equal(posted.headers['retry-after'], '1');
  assert.match(posted.text, /memory for queues is full/);
  const consumer = await open(by(another()));
  const queues = [...counts.keys()];
  const bodies = await empty(consumer, queues, (queue) => counts.get(queue));
  assert.equal(bodies.length, confirmed);
  // What other cores took out is for all within a moment.
  await eventually(async () => (await post(another(), name, body)).status, 204);
});

test('behind a proxy it is the address that the PROXY protocol names: of IPv6 its /64', async (t) => {
  const connect = async (from) => {
    const tcp = await Tcp.open(proxied);
    t.after(() => tcp.destroy());
    tcp.write(`PROXY ${from.includes(':') ? 'TCP6' : 'TCP4'} ${from} ${from.includes(':') ? '::1' : '127.0.0.1'} 4711 80\r\n`);
    assert.equal((await tcp.connect()).command, 'CONNECTED');
    return tcp;
  };
  const send = (tcp, queue, receipt) => tcp.frame('SEND', `destination:/queue/${queue}`, `receipt:${receipt}`, '', 'x');
  const fill = async (from, count) => {
    const tcp = await connect(from);
    const name = unique('v6');
    for (let i = 0; i < count; i += 1) send(tcp, `${name}-${i}`, i);
    for (let i = 0; i < count; i += 1) {
      const frame = await tcp.next();
      assert.equal(frame.command, 'RECEIPT', frame.body);
    }
    return tcp;
  };
  const ends = async (tcp) => {
    send(tcp, unique('more'), 'more');
    const frame = await tcp.next();
    assert.equal(frame.command, 'ERROR');
    assert.match(frame.body, /queues-max-per-principal/);
  };
  // Two of one /64 have it together.
  await fill('2001:db8:1:2::1', QUEUES / 2);
  await ends(await fill('2001:db8:1:2:3:4:5:6', QUEUES / 2));
  // The next network, and an IPv4 address, have their own; IPv4 in IPv6 is IPv4.
  await fill('2001:db8:1:3::1', QUEUES / 2);
  await fill('192.0.2.1', QUEUES - 1);
  const mapped = await fill('::ffff:192.0.2.1', 1);
  await ends(mapped);
});
