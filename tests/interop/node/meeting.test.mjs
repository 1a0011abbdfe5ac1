// Protocols that meet on one destination: STOMP over TCP and over WebSocket, and HTTP.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

const post = (path, body, headers = {}) =>
  fetch(gateway.http(path), { method: 'POST', body, headers });

test('HTTP publishes to a topic: every subscriber of every protocol gets it', async (t) => {
  const open = peers(t, () => gateway);
  const name = unique('news');
  const web = await (await open()).subscribe(`/topic/${name}`);
  const wild = await (await open()).subscribe('/topic/>');
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  tcp.frame('SUBSCRIBE', 'id:1', `destination:/topic/${name}`, 'receipt:r', '', '');
  assert.equal((await tcp.next()).command, 'RECEIPT');

  const response = await post(`/topics/${name}`, '{"hello":1}', { 'content-type': 'application/json' });
  assert.ok(response.ok, `${response.status} ${await response.text()}`);

  const message = await web.next();
  assert.equal(message.body, '{"hello":1}');
  assert.equal(message.headers.destination, `/topic/${name}`);
  assert.equal(message.headers['content-type'], 'application/json');
  assert.equal((await tcp.next()).body, '{"hello":1}');
  for (;;) {
    const other = await wild.next();
    if (other.headers.destination !== `/topic/${name}`) continue; // another test's
    assert.equal(other.body, '{"hello":1}');
    break;
  }
});

test('HTTP publishes to a queue: one consumer gets it, now or later', async (t) => {
  const open = peers(t, () => gateway);
  const name = unique('jobs');
  assert.ok((await post(`/queues/${name}`, 'first')).ok);
  const subscription = await (await open()).subscribe(`/queue/${name}`);
  assert.deepEqual(await subscription.bodies(1), ['first']);
  assert.ok((await post(`/queues/${name}`, 'second')).ok);
  assert.deepEqual(await subscription.bodies(1), ['second']);
});

test('bytes posted over HTTP arrive as they were', async (t) => {
  const open = peers(t, () => gateway);
  const name = unique('bytes');
  const subscription = await (await open()).subscribe(`/topic/${name}`);
  const bytes = Uint8Array.from({ length: 300 }, (_, i) => i & 255);
  assert.ok((await post(`/topics/${name}`, bytes, { 'content-type': 'application/octet-stream' })).ok);
  assert.deepEqual((await subscription.next()).binaryBody, bytes);
});

test('HTTP says what is wrong', async () => {
  const cases = [
    ['a name with a wildcard', await post('/topics/a.*', 'x'), 400],
    ['no name', await post('/topics/', 'x'), 400],
    ['an empty level', await post('/topics/a..b', 'x'), 400],
    ['GET', await fetch(gateway.http('/topics/a')), 405],
  ];
  for (const [rule, response, status] of cases) {
    const text = await response.text();
    assert.equal(response.status, status, `${rule}: ${text}`);
    assert.ok(text.length > 0, rule);
  }
  const large = await post('/topics/a', new Uint8Array((1 << 20) + 1));
  assert.equal(large.status, 413);
});

test('TCP publishes, WebSocket receives; WebSocket publishes, TCP receives', async (t) => {
  const open = peers(t, () => gateway);
  const topic = `/topic/${unique()}`;
  const peer = await open();
  const web = await peer.subscribe(topic);
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  tcp.frame('SEND', `destination:${topic}`, 'from:tcp', '', 'over TCP');
  const message = await web.next();
  assert.deepEqual([message.body, message.headers.from], ['over TCP', 'tcp']);

  tcp.frame('SUBSCRIBE', 'id:7', `destination:${topic}`, 'receipt:r', '', '');
  assert.equal((await tcp.next()).headers['receipt-id'], 'r');
  await peer.send(topic, 'over WebSocket', { from: 'web' });
  const frame = await tcp.next();
  assert.equal(frame.body, 'over WebSocket');
  assert.equal(frame.headers.from, 'web');
  assert.equal(frame.headers.subscription, '7');
});

test('a worker on TCP answers a browser on its temporary queue', async (t) => {
  const peer = await peers(t, () => gateway)();
  const queue = `/queue/${unique()}`;
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  tcp.frame('SUBSCRIBE', 'id:1', `destination:${queue}`, 'ack:client-individual', '', '');
  const replies = await peer.subscribe('/temp-queue/r');
  peer.publish(queue, 'question', { 'reply-to': '/temp-queue/r' });
  const request = await tcp.next();
  tcp.frame('SEND', `destination:${request.headers['reply-to']}`, '', `answer to ${request.body}`);
  tcp.frame('ACK', `id:${request.headers.ack}`, '', '');
  assert.equal((await replies.next()).body, 'answer to question');
});

test('CONNECT by STOMP and CONNECT by HTTP are told apart', async () => {
  const tcp = await Tcp.open(gateway);
  assert.equal((await tcp.connect()).command, 'CONNECTED');
  tcp.destroy();
  const http = await Tcp.open(gateway);
  http.write('CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n');
  assert.match((await http.until('\r\n')).toString(), /^HTTP\/1\.1 [45]\d\d /);
  http.destroy();
});

for (const eol of ['\n', '\r\n']) {
  test(`STOMP over TCP may end its lines with ${JSON.stringify(eol)}`, async () => {
    const tcp = await Tcp.open(gateway);
    tcp.write(['STOMP', 'accept-version:1.2', 'host:/', '', '\0'].join(eol));
    assert.equal((await tcp.next()).headers.version, '1.2');
    tcp.write(['DISCONNECT', 'receipt:bye', '', '\0'].join(eol));
    assert.equal((await tcp.next()).headers['receipt-id'], 'bye');
    await tcp.rest();
  });
}
