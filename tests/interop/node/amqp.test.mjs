// AMQP 1.0 with rhea: connections, queues and topics, credit, settlement, what the gateway refuses.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { before, after, test } from 'node:test';
import rhea from 'rhea';
import { Amqp, event } from './lib/amqp.mjs';
import { start } from './lib/gateway.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway.stop());

const open = async (t, options) => {
  const amqp = await Amqp.open(gateway, options);
  t.after(() => amqp.connection.close());
  return amqp;
};
/** What `passerelle password` prints for a password. */
function hashed(password) {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: `${password}\n`, encoding: 'utf8' });
  return /\{.*\}/s.exec(printed)[0];
}
const queue = (address) => ({ address, capabilities: ['queue'] });
const topic = (address) => ({ address, capabilities: ['topic'] });

for (const websocket of [false, true]) {
  const over = websocket ? 'WebSocket' : 'TCP';

  test(`messages pass a queue, over ${over}`, async (t) => {
    const amqp = await open(t, { websocket });
    const name = unique('q');
    const sender = await amqp.sender(name);
    for (const body of ['one', 'two', 'three']) assert.equal(await sender.send({ body }), 'accepted');
    const receiver = await amqp.receiver(name);
    assert.deepEqual(await receiver.bodies(3), ['one', 'two', 'three']);
  });

  test(`messages of a topic go to all who receive, over ${over}`, async (t) => {
    const amqp = await open(t, { websocket });
    const name = unique('t');
    const receivers = [await amqp.receiver(topic(name)), await amqp.receiver(topic(`${name}.>`)), await amqp.receiver(`topic://${name}`)];
    const sender = await amqp.sender(topic(name));
    await sender.send({ body: 'news' });
    for (const receiver of receivers) assert.deepEqual(await receiver.bodies(1), ['news']);
  });

  test(`messages larger than a frame come whole, in both directions, over ${over}`, async (t) => {
    for (const max_frame_size of [512, 65_536, undefined]) {
      const amqp = await open(t, { websocket, ...(max_frame_size && { max_frame_size }) });
      const name = unique('q');
      const [sender, receiver] = [await amqp.sender(name), await amqp.receiver(name)];
      // rhea opens its window again only when a message is complete.
      for (const size of [0, 400, 5000, 100_000, max_frame_size === 512 ? 200_000 : 900_000]) {
        const body = rhea.message.data_section(Buffer.alloc(size, size % 251));
        await sender.send({ body, application_properties: { size } });
        const { message, delivery } = await receiver.next();
        assert.equal(message.application_properties.size, size);
        assert.ok(message.body.content.equals(body.content), `${size} bytes in frames of ${max_frame_size}`);
        delivery.accept();
      }
    }
  });
}

test('a client logs in by SASL, or without where that is allowed', async (t) => {
  const hash = hashed('secret');
  const secured = await start(`[[listen]]\naddress = "127.0.0.1:0"\nanonymous = false\n\n[[user]]\nname = "ann"\npassword = ${hash}\n`);
  t.after(() => secured.stop());
  const ann = await Amqp.open(secured, { username: 'ann', password: 'secret' });
  assert.equal(await (await ann.sender(unique('q'))).send({ user_id: 'ann', body: 'x' }), 'accepted');
  await ann.close();
  for (const options of [{ username: 'ann', password: 'wrong' }, { username: 'anonymous' }]) {
    await assert.rejects(Amqp.open(secured, options), { condition: 'amqp:unauthorized-access' });
  }
  await assert.rejects(Amqp.open(secured), { condition: 'amqp:unauthorized-access' });
  await (await Amqp.open(gateway, { username: 'nobody' })).close();
});

test('a message that passes keeps its bytes and the types of its annotations', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const [sender, receiver] = [await amqp.sender(name), await amqp.receiver(name)];
  const { types } = rhea;
  const message = {
    durable: true,
    priority: 7,
    message_id: 'ID:1',
    user_id: undefined,
    to: 'elsewhere',
    subject: 'kind',
    reply_to: 'answers',
    correlation_id: types.wrap_ulong(17),
    content_type: 'text/plain',
    group_id: 'g',
    group_sequence: 3,
    message_annotations: { 'x-opt-jms-msg-type': types.wrap_byte(5), 'x-opt-jms-dest': types.wrap_byte(0), 'x-own': types.wrap_ubyte(200) },
    application_properties: { text: 'ä', int: types.wrap_int(-5), long: types.wrap_long(1e12), double: 0.5, yes: true, none: null },
    body: 'hello',
  };
  const whole = rhea.message.encode(message);
  await sender.send(whole, undefined, 0);
  const received = await receiver.next();
  const again = received.message;
  for (const field of ['priority', 'message_id', 'to', 'subject', 'reply_to', 'correlation_id', 'content_type', 'group_id', 'group_sequence', 'body']) {
    assert.deepEqual(again[field], typeof message[field] === 'object' ? 17 : message[field], field);
  }
  assert.equal(again.durable, true);
  assert.deepEqual(again.application_properties, { text: 'ä', int: -5, long: 1e12, double: 0.5, yes: true, none: null });
  assert.deepEqual(Object.keys(again.message_annotations), ['x-opt-jms-msg-type', 'x-opt-jms-dest', 'x-own']);
  received.delivery.accept();
});

test('outcomes are what they say: accepted, released, modified, rejected', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const [sender, receiver] = [await amqp.sender(name), await amqp.receiver(name, { credit: 1 })];
  await sender.send({ body: 'x' });
  let { message, delivery } = await receiver.next();
  assert.ok(!message.delivery_count, 'the first time');
  delivery.release();
  receiver.link.add_credit(1);
  ({ message, delivery } = await receiver.next());
  assert.ok(!message.delivery_count, 'it was not looked at');
  delivery.modified({ delivery_failed: true });
  receiver.link.add_credit(1);
  ({ message, delivery } = await receiver.next());
  assert.equal(message.delivery_count, 1);
  delivery.reject({ condition: 'amqp:not-allowed' });
  const dead = await amqp.receiver(`DLQ.${name}`);
  ({ message, delivery } = await dead.next());
  assert.equal(message.body, 'x');
  assert.equal(message.delivery_annotations['x-opt-dlq-queue'], `/queue/${name}`);
  delivery.accept();
  receiver.link.add_credit(1);
  await pause(100);
  assert.equal(receiver.messages.length, 0);
});

test('what a link has not settled is delivered to another when it closes', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const sender = await amqp.sender(name);
  const first = await amqp.receiver(name, { credit: 2 });
  for (const body of ['a', 'b', 'c']) await sender.send({ body });
  const { delivery } = await first.next();
  await first.next();
  delivery.accept();
  await first.close();
  assert.deepEqual(await (await amqp.receiver(name)).bodies(2), ['b', 'c']);
});

test('no more comes than there is credit for, and a drain is answered at once', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const [sender, receiver] = [await amqp.sender(name), await amqp.receiver(name, { credit: 0 })];
  for (let index = 0; index < 20; index += 1) await sender.send({ body: index });
  await pause(100);
  assert.equal(receiver.messages.length, 0);
  receiver.link.add_credit(5);
  assert.deepEqual(await receiver.bodies(5), [0, 1, 2, 3, 4]);
  receiver.link.add_credit(100);
  assert.equal(await receiver.drain(), 15);
  await receiver.bodies(15);
  receiver.link.add_credit(10);
  assert.equal(await receiver.drain(), 0, 'an empty queue');
  await sender.send({ body: 'later' });
  await pause(100);
  assert.equal(receiver.messages.length, 0, 'the credit was used up');
  receiver.link.add_credit(1);
  assert.deepEqual(await receiver.bodies(1), ['later']);
});

test('more credit than a subscription may have unsettled is given bit by bit', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const sender = await amqp.sender(name);
  await Promise.all(Array.from({ length: 2500 }, (_, body) => sender.send({ body })));
  const receiver = await amqp.receiver(name, { credit: 5000 });
  const bodies = [];
  while (bodies.length < 2500) bodies.push(...(await receiver.bodies(100)));
  assert.deepEqual(bodies, Array.from({ length: 2500 }, (_, body) => body));
});

test('a browser sees all that is in a queue, and leaves it there', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const sender = await amqp.sender(name);
  for (const body of ['a', 'b', 'c']) await sender.send({ body });
  for (let times = 0; times < 2; times += 1) {
    const browser = await amqp.receiver({ address: name, distribution_mode: 'copy' }, { credit: 10, snd_settle_mode: 1 });
    assert.equal(await browser.drain(), 3);
    await browser.close();
  }
  assert.deepEqual(await (await amqp.receiver(name)).bodies(3), ['a', 'b', 'c']);
});

test('what is sent settled is taken, and what is received settled is gone', async (t) => {
  const amqp = await open(t);
  const name = unique('q');
  const sender = await amqp.sender(name, { snd_settle_mode: 1 });
  for (let index = 0; index < 300; index += 1) {
    while (!sender.link.sendable()) await event(sender.link, 'sendable');
    sender.link.send({ body: index });
  }
  const receiver = await amqp.receiver(name, { snd_settle_mode: 1, credit: 200 });
  const got = await receiver.messages.take(200);
  assert.deepEqual(got.map(({ message }) => message.body), Array.from({ length: 200 }, (_, index) => index));
  await receiver.close();
  assert.deepEqual((await (await amqp.receiver(name)).bodies(100))[0], 200);
});

test('a link may have a temporary queue made, which is gone with it', async (t) => {
  const [server, client] = [await open(t), await open(t)];
  const name = unique('q');
  const requests = await server.receiver(name);
  const replies = await client.receiver({ address: '', dynamic: true });
  assert.match(replies.address, /^\/temp-queue\/[0-9a-f]{32}$/);
  const sender = await client.sender(name);
  await sender.send({ body: 'question', reply_to: replies.address, correlation_id: 'c' });
  const { message, delivery } = await requests.next();
  delivery.accept();
  const relay = await server.sender({});
  assert.equal(await relay.send({ to: message.reply_to, correlation_id: message.correlation_id, body: 'answer' }), 'accepted');
  const reply = await replies.next();
  assert.deepEqual([reply.message.body, reply.message.correlation_id], ['answer', 'c']);
  await assert.rejects(server.receiver(replies.address), { condition: 'amqp:unauthorized-access' });
  await replies.close();
  await assert.rejects(relay.send({ to: message.reply_to, body: 'late' }), { condition: 'amqp:not-found' });
  // More of them one after the other than may be there at a time.
  for (let index = 0; index < 150; index += 1) await (await client.receiver({ address: '', dynamic: true })).close();
});

test('a selector says which messages come', async (t) => {
  const amqp = await open(t);
  for (const [address, kind] of [[unique('q'), queue], [unique('t'), topic]]) {
    const filter = rhea.filter.selector("colour = 'red' AND size > 2");
    const receiver = await amqp.receiver({ ...kind(address), filter });
    assert.ok(receiver.link.remote.attach.source.filter['jms-selector'], 'it is applied');
    const sender = await amqp.sender(kind(address));
    for (const [colour, size] of [['red', 1], ['red', 3], ['blue', 3], ['red', 4]]) {
      await sender.send({ body: `${colour} ${size}`, application_properties: { colour, size } });
    }
    assert.deepEqual(await receiver.bodies(2), ['red 3', 'red 4']);
    await assert.rejects(amqp.receiver({ ...kind(address), filter: rhea.filter.selector('colour = ') }), { condition: 'amqp:invalid-field' });
  }
});

test('what cannot be is refused with the condition of the standard', async (t) => {
  const amqp = await open(t);
  await assert.rejects(amqp.sender(topic('a.*')), { condition: 'amqp:invalid-field' });
  await assert.rejects(amqp.receiver('queue://a.*'), { condition: 'amqp:invalid-field' });
  await assert.rejects(amqp.sender({ address: 'topic://a', capabilities: ['queue'] }), { condition: 'amqp:invalid-field' });
  const relay = await amqp.sender({});
  await assert.rejects(relay.send({ body: 'nowhere' }), { condition: 'amqp:invalid-field' });
  const claiming = await amqp.sender(unique('q'));
  await assert.rejects(claiming.send({ user_id: 'ann', body: 'x' }), { condition: 'amqp:unauthorized-access' });
  assert.equal(await claiming.send({ body: 'x' }), 'accepted', 'the link goes on');
  const large = await amqp.sender(unique('q'));
  large.link.send({ body: rhea.message.data_section(Buffer.alloc(2_000_000)) });
  const { sender } = await event(large.link, 'sender_close');
  assert.equal(sender.error.condition, 'amqp:link:message-size-exceeded');
});

test('AMQP and STOMP meet in queues and topics', async (t) => {
  const [amqp, stomp] = [await open(t), await Peer.open(gateway)];
  t.after(() => stomp.close());
  const name = unique('q');
  const receiver = await amqp.receiver(name);
  await stomp.send(`/queue/${name}`, 'from STOMP', { colour: 'red', 'correlation-id': 'c', 'reply-to': '/topic/answers', type: 'kind', priority: '8', 'content-type': 'text/plain' });
  const { message, delivery } = await receiver.next();
  delivery.accept();
  assert.equal(message.body, 'from STOMP');
  assert.deepEqual([message.correlation_id, message.reply_to, message.subject, message.priority], ['c', 'answers', 'kind', 8]);
  assert.equal(message.application_properties.colour, 'red');
  assert.equal(message.message_annotations['x-opt-jms-reply-to'], 1);
  await receiver.close();
  const subscription = await stomp.subscribe(`/queue/${name}`);
  const sender = await amqp.sender(name);
  await sender.send({
    body: 'from AMQP', subject: 'kind', reply_to: 'answers', correlation_id: 'c', group_id: 'g', priority: 8,
    application_properties: { colour: 'red', size: rhea.types.wrap_int(3) }, content_type: 'text/plain',
  });
  const frame = await subscription.next();
  assert.equal(frame.body, 'from AMQP');
  const { headers } = frame;
  assert.deepEqual(
    [headers.type, headers['reply-to'], headers['correlation-id'], headers.colour, headers.size, headers.priority, headers['content-type'], headers.JMSXGroupID],
    ['kind', '/queue/answers', 'c', 'red', '3', '8', 'text/plain', 'g'],
  );
  await sender.send({ body: rhea.message.data_section(Buffer.from([0, 255])) });
  assert.deepEqual(Buffer.from((await subscription.next()).binaryBody), Buffer.from([0, 255]));
});

test('a client that speaks another AMQP is told which is spoken', async () => {
  for (const header of ['AMQP\x00\x00\x09\x01', 'AMQP\x02\x01\x00\x00', 'AMQP\x01\x01\x00\x00']) {
    const tcp = await Tcp.open(gateway);
    tcp.write(Buffer.from(header, 'latin1'));
    assert.equal((await tcp.rest()).toString('latin1'), 'AMQP\x00\x01\x00\x00');
  }
});
