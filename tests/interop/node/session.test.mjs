// STOMP sessions over WebSocket: versions, receipts, heart-beats, headers, bodies, errors.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { start } from './lib/gateway.mjs';
import { peers, Peer, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { Inbox, within } from './lib/wait.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

for (const version of ['1.2', '1.1', '1.0']) {
  test(`STOMP ${version}: subprotocol, CONNECTED, a message there and back`, async (t) => {
    const peer = await peers(t, () => gateway)({ versions: [version] });
    const connected = await peer.connected;
    assert.equal(peer.socket.protocol, `v${version.replace('.', '')}.stomp`);
    assert.equal(connected.headers.version, version);
    assert.match(connected.headers.server, /^passerelle\//);

    const topic = `/topic/${unique()}`;
    const subscription = await peer.subscribe(topic);
    await peer.send(topic, 'hello', { greeting: 'bonjour' });
    const message = await subscription.next();
    assert.equal(message.body, 'hello');
    assert.equal(message.headers.destination, topic);
    assert.equal(message.headers.subscription, subscription.id);
    assert.equal(message.headers.greeting, 'bonjour');
    assert.ok(message.headers['message-id']);
  });
}

test('the newest version that both speak is chosen', async (t) => {
  const peer = await peers(t, () => gateway)({ versions: ['1.0', '1.1', '1.2'] });
  assert.equal(peer.socket.protocol, 'v12.stomp');
  assert.equal((await peer.connected).headers.version, '1.2');
});

test('without a subprotocol the first frame picks STOMP', async (t) => {
  const socket = new WebSocket(gateway.ws('/messaging'));
  t.after(() => socket.terminate());
  const received = new Inbox('a frame');
  socket.on('message', (data) => received.push(data.toString()));
  await within(5000, 'the WebSocket', new Promise((resolve) => socket.once('open', resolve)));
  assert.equal(socket.protocol, '');
  socket.send('CONNECT\naccept-version:1.2\nhost:/\n\n\0');
  assert.match(await received.next(), /^CONNECTED\n(.*\n)*version:1\.2\n/);
});

test('a version that is not spoken is refused with those that are spoken', async () => {
  const tcp = await Tcp.open(gateway);
  tcp.frame('CONNECT', 'accept-version:3.0', 'host:/', '', '');
  const error = await tcp.next();
  assert.equal(error.command, 'ERROR');
  assert.match(error.headers.version, /1\.2/);
  await tcp.rest();
});

test('receipts answer every kind of frame', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, 'one');
  await peer.send(queue, 'two');
  const [one, two] = await subscription.messages.take(2);
  await peer.receipt((receipt) => one.ack({ receipt }));
  await peer.receipt((receipt) => two.nack({ receipt }));
  assert.equal((await subscription.next()).body, 'two');
  for (const end of ['COMMIT', 'ABORT']) {
    const transaction = unique('tx');
    await peer.receipt((receipt) => peer.frame('BEGIN', { transaction, receipt }));
    await peer.receipt((receipt) => peer.frame(end, { transaction, receipt }));
  }
  await subscription.unsubscribe();
  await peer.close(); // waits for the receipt of its DISCONNECT
});

test('heart-beats arrive as agreed on', async (t) => {
  const peer = await peers(t, () => gateway)({ heartbeatIncoming: 1000, heartbeatOutgoing: 1000 });
  const beats = new Inbox('a heart-beat');
  peer.client._stompHandler.onHeartbeatReceived = () => beats.push(performance.now());
  const [sends, wants] = (await peer.connected).headers['heart-beat'].split(',').map(Number);
  assert.ok(sends > 0 && wants > 0, `${sends},${wants}`);
  const start = performance.now();
  // max(what it can send, what we want) apart
  const [first, second] = await beats.take(2, Math.max(sends, 1000) + 1500);
  assert.ok(second - first <= Math.max(sends, 1000) + 500, `${first - start}, ${second - start}`);
});

test('a peer that promised heart-beats and is silent is closed', async () => {
  const tcp = await Tcp.open(gateway);
  const connected = await tcp.connect('heart-beat:1000,0');
  const interval = Math.max(1000, Number(connected.headers['heart-beat'].split(',')[1]));
  const begin = performance.now();
  const error = await tcp.next(interval * 4 + 2000);
  assert.equal(error.command, 'ERROR');
  assert.ok(performance.now() - begin >= interval * 0.9);
  await tcp.rest();
});

test('a peer that promised none may be silent', async (t) => {
  const peer = await peers(t, () => gateway)();
  assert.match((await peer.connected).headers['heart-beat'] ?? '0,0', /^\d+,\d+$/);
  await peer.sync();
});

test('headers keep their values, whatever characters they have', async (t) => {
  const peer = await peers(t, () => gateway)({ versions: ['1.2'] });
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const headers = {
    colon: 'a:b:c',
    backslash: 'a\\b',
    lines: 'one\ntwo\r\nthree',
    empty: '',
    accents: 'Größe, 長さ, 😀',
    'content-type': 'text/plain; charset=utf-8',
  };
  await peer.send(topic, 'x', headers);
  const message = await subscription.next();
  for (const [name, value] of Object.entries(headers)) {
    assert.equal(message.headers[name], value, name);
  }
});

test('escaped backslashes and spaces at the ends are kept', async (t) => {
  // By hand: @stomp/stompjs decodes the escapes one kind after the other, and cuts off the spaces.
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  const topic = `/topic/${unique()}`;
  tcp.frame('SUBSCRIBE', 'id:1', `destination:${topic}`, '', '');
  tcp.frame('SEND', `destination:${topic}`, 'path: C\\c\\\\temp\\\\n ', '', 'x');
  assert.equal((await tcp.next()).headers.path, ' C\\c\\\\temp\\\\n ');
});

test('bodies keep their bytes', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const bytes = Uint8Array.from({ length: 512 }, (_, i) => i & 255);
  await peer.send(topic, bytes);
  assert.deepEqual((await subscription.next()).binaryBody, bytes);

  await peer.send(topic, 'Grüße 😀\0 und weiter');
  assert.equal((await subscription.next()).body, 'Grüße 😀\0 und weiter');

  await peer.send(topic, '');
  assert.equal((await subscription.next()).body, '');
});

test('a body of nearly 1 MiB passes, in one piece or in many', async (t) => {
  const open = peers(t, () => gateway);
  const body = 'ä0123456789'.repeat(87_000); // 1,044,000 bytes
  const topic = `/topic/${unique()}`;
  const subscription = await (await open()).subscribe(topic);
  await (await open()).send(topic, body);
  assert.equal((await subscription.next()).body, body);
  await (await open({ splitLargeFrames: true, maxWebSocketChunkSize: 4096 })).send(topic, body);
  assert.equal((await subscription.next()).body, body);
  await (await open({ forceBinaryWSFrames: true })).send(topic, body);
  assert.equal((await subscription.next()).body, body);
});

test('a larger body is refused with 1009 or an ERROR, and the connection ends', async (t) => {
  const peer = await peers(t, () => gateway)();
  peer.publish(`/topic/${unique()}`, new Uint8Array(2 << 20));
  const close = await within(5000, 'the end', peer.closed);
  assert.ok(close.code === 1009 || peer.errors.length === 1, `${close.code}`);
});

test('the first of repeated headers counts', async (t) => {
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  const topic = `/topic/${unique()}`;
  tcp.frame('SUBSCRIBE', 'id:1', `destination:${topic}`, '', '');
  tcp.frame('SEND', `destination:${topic}`, 'k:first', 'k:second', '', 'x');
  const message = await tcp.next();
  assert.equal(message.headers.k, 'first');
});

test('message ids are unique', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique()}`;
  const subscription = await (await open()).subscribe(topic);
  const senders = [await open(), await open()];
  for (let i = 0; i < 100; i += 1) senders[i % 2].publish(topic, `${i}`);
  const messages = await subscription.messages.take(100);
  assert.equal(new Set(messages.map((message) => message.headers['message-id'])).size, 100);
});

const refused = [
  ['a wildcard in SEND', (peer) => peer.publish('/topic/a.*', 'x'), /wildcard/i],
  ['an unknown prefix in SEND', (peer) => peer.publish('/exchange/a', 'x'), /\/topic\//],
  ['an unknown prefix in SUBSCRIBE', (peer) => peer.client.subscribe('news', () => {}), /\/topic\//],
  ['a wildcard in the middle of a level', (peer) => peer.client.subscribe('/topic/a.b*', () => {}), /wildcard/i],
  ['a > that is not last', (peer) => peer.client.subscribe('/topic/a.>.b', () => {}), /wildcard/i],
  ['a wildcard for queues', (peer) => peer.client.subscribe('/queue/a.*', () => {}), /wildcard/i],
  ['an empty level', (peer) => peer.publish('/topic/a..b', 'x'), /empty/i],
  ['ACK of an unknown id', (peer) => peer.client.ack('nothing', 'sub-0'), /ACK|ack/],
  ['NACK of an unknown id', (peer) => peer.client.nack('nothing', 'sub-0'), /NACK|ack/],
  ['UNSUBSCRIBE of an unknown id', (peer) => peer.client.unsubscribe('nothing'), /UNSUBSCRIBE|subscription/],
  ['COMMIT of an unknown transaction', (peer) => peer.client.commit('nothing'), /transaction/i],
  ['ABORT of an unknown transaction', (peer) => peer.client.abort('nothing'), /transaction/i],
  ['SEND in an unknown transaction', (peer) => peer.publish('/topic/a', 'x', { transaction: 'nothing' }), /transaction/i],
  ['an unknown ack mode', (peer) => peer.client.subscribe('/topic/a', () => {}, { ack: 'sometimes' }), /ack/],
];
for (const [rule, work, pattern] of refused) {
  test(`${rule} is answered by an ERROR that says so, then the end`, async () => {
    const peer = await Peer.open(gateway);
    work(peer);
    const error = await peer.errors.next();
    assert.ok(error.headers.message, 'a message header');
    assert.match(`${error.headers.message}\n${error.body}`, pattern);
    await within(5000, 'the end of the connection', peer.closed);
  });
}

test('an ERROR names the receipt that was asked for', async () => {
  const peer = await Peer.open(gateway);
  peer.publish('/topic/a.*', 'x', { receipt: 'r-77' });
  assert.equal((await peer.errors.next()).headers['receipt-id'], 'r-77');
});

test('a subscription id can be used once at a time', async () => {
  const peer = await Peer.open(gateway);
  peer.client.subscribe('/topic/a', () => {}, { id: 'same' });
  peer.client.subscribe('/topic/b', () => {}, { id: 'same' });
  assert.match((await peer.errors.next()).body, /same|id/);
});

test('a command that is none, or comes too early, ends the connection', async () => {
  for (const frame of ['HELLO\n\n\0', 'SEND\ndestination:/topic/a\n\nx\0']) {
    const socket = new WebSocket(gateway.ws('/messaging'), ['v12.stomp']);
    const received = new Inbox('a frame');
    socket.on('message', (data) => received.push(data.toString()));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    await within(5000, 'the WebSocket', new Promise((resolve) => socket.once('open', resolve)));
    socket.send(frame);
    assert.match(await received.next(), /^ERROR\n/);
    await within(5000, 'the end of the connection', closed);
  }
});
