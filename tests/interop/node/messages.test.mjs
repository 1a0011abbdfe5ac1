// What a message says of itself: whether its body is text, and who sent it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { again, start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Raw } from './lib/raw.mjs';
import { WebSocket } from 'ws';
import { Inbox, within } from './lib/wait.mjs';

const hash = () => /\{.*\}/s.exec(execFileSync(process.env.PASSERELLE, ['password'], { input: 'x\n', encoding: 'utf8' }))[0];
const users = ['ann', 'bob'].map((name) => `[[user]]\nname = "${name}"\npassword = ${hash()}\n`).join('\n');

/** A WebSocket that speaks STOMP by hand: what it sends it frames itself, and it sees how what it gets is framed. */
async function raw(t, gateway) {
  const socket = new WebSocket(gateway.ws('/messaging'), 'v12.stomp');
  t.after(() => socket.terminate());
  socket.inbox = new Inbox('a message');
  socket.on('message', (data, isBinary) => socket.inbox.push({ isBinary, text: data.toString('latin1') }));
  socket.ended = new Promise((resolve) => socket.once('close', resolve));
  await within(5000, 'open', new Promise((resolve) => socket.once('open', resolve)));
  socket.send('CONNECT\naccept-version:1.2\nhost:x\n\n\0');
  assert.match((await socket.inbox.next()).text, /^CONNECTED/);
  return socket;
}

test('a body that is UTF-8 comes in a text message, another in a binary one, however it was sent', async (t) => {
  const gateway = await start();
  t.after(() => gateway.stop());
  const topic = `/topic/${unique()}`;
  const reader = await raw(t, gateway);
  reader.send(`SUBSCRIBE\nid:0\ndestination:${topic}\nreceipt:s\n\n\0`);
  await reader.inbox.next();
  const sender = await raw(t, gateway);
  const send = `SEND\ndestination:${topic}\n`;
  const latin1 = Buffer.from([0xe9]);
  const cases = [
    ['text, in a text message', [[`${send}\ntext é\0`, false]], 'text é', false],
    ['text, in a binary message', [[`${send}\ntext é\0`, true]], 'text é', false],
    ['split over text and binary messages', [[`${send}\nte`, false], ['xt', true], ['\0', false]], 'text', false],
    ['split over text messages', [[`${send}content-length:4\n\nte`, false], ['xt\0', false]], 'text', false],
    ['bytes', [[Buffer.concat([Buffer.from(`${send}\n`), latin1, Buffer.from('\0')]), true]], latin1, true],
    ['bytes that are called text', [[Buffer.concat([Buffer.from(`${send}content-type:text/plain\n\n`), latin1, Buffer.from('\0')]), true]], latin1, true],
    ['bytes whose end comes in a text message', [[Buffer.concat([Buffer.from(`${send}\n`), latin1]), true], ['\0', false]], latin1, true],
  ];
  for (const [what, messages, body, isBinary] of cases) {
    for (const [data, binary] of messages) sender.send(data, { binary });
    const received = await reader.inbox.next();
    assert.equal(received.isBinary, isBinary, what);
    assert.equal(received.text.split('\n\n')[1], `${Buffer.from(body).toString('latin1')}\0`, what);
  }
  // A text message that is not UTF-8 ends the connection (RFC 6455, 8.1).
  sender.send(Buffer.concat([Buffer.from(`${send}\n`), latin1, Buffer.from('\0')]), { binary: false });
  assert.equal(await within(5000, 'the end', sender.ended), 1007);
});

test('@stomp/stompjs gets text and bytes as they were sent', async (t) => {
  const gateway = await start();
  t.after(() => gateway.stop());
  const topic = `/topic/${unique()}`;
  const [reader, sender] = [await Peer.open(gateway), await Peer.open(gateway)];
  const subscription = await reader.subscribe(topic);
  const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
  sender.publish(topic, 'héllo');
  sender.publish(topic, bytes, { 'content-type': 'application/octet-stream' });
  sender.publish(topic, bytes, { 'content-type': 'text/plain' });
  sender.publish(topic, new TextEncoder().encode('{}'), { 'content-type': 'application/json' });
  const [text, binary, called, json] = await subscription.messages.take(4);
  assert.equal(text.body, 'héllo');
  assert.deepEqual(binary.binaryBody, bytes);
  assert.deepEqual(called.binaryBody, bytes);
  assert.equal(json.body, '{}');
});

for (const shown of [false, true]) {
  test(`show-senders = ${shown}: receivers see who sent a message${shown ? '' : ', where it says so'}`, async (t) => {
    let gateway = await start(`[clients]\nshow-senders = ${shown}\n[store]\npath = "store"\n${users}`);
    t.after(() => gateway.stop());
    const as = (login) => Peer.open(gateway, { connectHeaders: login ? { login, passcode: 'x' } : {} });
    const queue = `/queue/${unique()}`;
    const [ann, nobody] = [await as('ann'), await as()];
    const by = (message) => [message.headers.JMSXUserID, message.headers['user-id']];
    const expected = (name) => [name, name];
    await ann.send(queue, '1', { persistent: 'true' });
    await ann.send(queue, '2', { 'user-id': 'ann', persistent: 'true' });
    await ann.send(queue, '3', { JMSXUserID: 'ann' });
    await nobody.send(queue, '4');
    const basic = (name) => ({ authorization: `Basic ${btoa(`${name}:x`)}` });
    const post = (headers) => request(gateway, queue.replace('/queue/', '/queues/'), { method: 'POST', body: 'x', headers });
    assert.equal((await post(basic('bob'))).status, 204);
    assert.equal((await post({ ...basic('bob'), 'User-Id': 'bob' })).status, 204);
    const other = await post({ ...basic('bob'), JMSXUserID: 'ann' });
    assert.equal(other.status, 403);
    assert.match(other.text, /user-id must be the name of the user, "bob"/);
    assert.match((await post({ 'user-id': 'bob' })).text, /log in, or leave it out/);
    const names = [shown ? 'ann' : undefined, 'ann', 'ann', undefined, shown ? 'bob' : undefined, 'bob'];
    let reader = await as('bob');
    let subscription = await reader.subscribe(queue, { ack: 'client' });
    const received = await subscription.messages.take(names.length);
    assert.deepEqual(received.map(by), names.map(expected));
    await reader.close();
    // A selector sees it.
    reader = await as('bob');
    const selected = await reader.subscribe(queue, { selector: "JMSXUserID = 'bob'", ack: 'client' });
    assert.deepEqual(by(await selected.next()), expected('bob'));
    await reader.close();
    // The store keeps it.
    gateway = await again(gateway, 'SIGKILL');
    reader = await as('bob');
    subscription = await reader.subscribe(queue);
    assert.deepEqual((await subscription.messages.take(2)).map(by), [names[0], 'ann'].map(expected));
    await reader.close();
  });
}

test('a name that is not the sender\'s own is refused, in a transaction too', async (t) => {
  const gateway = await start(users);
  t.after(() => gateway.stop());
  const cases = [
    ['ann', { 'user-id': 'bob' }, /user-id must be the user of this connection, "ann", or be left out: not "bob"/],
    ['ann', { JMSXUserID: 'bob' }, /not "bob"/],
    ['ann', { 'user-id': '' }, /not ""/],
    [undefined, { 'user-id': 'anonymous' }, /has not logged in: log in, or leave it out/],
  ];
  for (const [login, headers, expected] of cases) {
    for (const transaction of [{}, { transaction: 't' }]) {
      const peer = await Peer.open(gateway, { connectHeaders: login ? { login, passcode: 'x' } : {} });
      if (transaction.transaction) peer.frame('BEGIN', transaction);
      peer.publish('/queue/a', 'x', { ...headers, ...transaction });
      const error = await peer.errors.next();
      assert.equal(error.headers.message, 'bad user-id');
      assert.match(error.body, expected);
      await peer.closed;
    }
  }
});

test('no sender of STOMP 1.0 forges a name by blanks around the header', async (t) => {
  const gateway = await start();
  t.after(() => gateway.stop());
  const reader = await Peer.open(gateway, { versions: ['1.0'] });
  const topic = `/topic/${unique()}`;
  const subscription = await reader.subscribe(topic);
  const sender = await Raw.open(gateway);
  sender.write('CONNECT\naccept-version:1.1\nhost:x\n\n\0');
  sender.write(`SEND\ndestination:${topic}\nJMSXUserID :bob\n user-id:bob\nown:kept\n\nx\0`);
  const { headers } = await subscription.next();
  assert.equal(headers.own, 'kept');
  assert.deepEqual(Object.keys(headers).filter((name) => /user/i.test(name)), []);
});
