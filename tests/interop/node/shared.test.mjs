// A large body is sent from one place in memory to all who subscribe, whatever stands before it in
// each frame: what arrives is the same as ever, compressed or not, also at peers that stall.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { start } from './lib/gateway.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';

const KIB = 1 << 10;
const MIB = 1 << 20;

let gateway;
before(async () => {
  gateway = await start('[limits]\nmessage-bytes-max = "5MiB"\ntransaction-bytes-max = "5MiB"\nunsent-bytes-max = "32MiB"\n');
});
after(() => gateway?.stop());

/** A session of @stomp/stompjs over `ws`. */
const open = async (t, perMessageDeflate) => {
  const webSocketFactory = () => new WebSocket(gateway.ws('/messaging'), ['v12.stomp'], { perMessageDeflate });
  const peer = await Peer.open(gateway, { webSocketFactory });
  assert.equal(peer.socket.extensions, perMessageDeflate ? 'permessage-deflate' : '');
  t.after(() => peer.client.deactivate({ force: true }));
  return peer;
};

const digits = (length) => randomBytes(length).map((byte) => 0x30 + (byte % 10)).toString('latin1');

const BODIES = {
  'text that is copied': digits(4 * KIB),
  'text that is shared': digits(4 * KIB + 1),
  'text of more than one character a byte': '€'.repeat(30_000),
  'text that hardly takes room when compressed': 'x'.repeat(100_000),
  'bytes that do not compress': randomBytes(100_000),
  'bytes, many': Buffer.alloc(300_000, randomBytes(10_000)),
  'much text': digits(MIB),
};

const bytesOf = (body) => (typeof body === 'string' ? Buffer.from(body) : Buffer.from(body));

test('each subscriber receives what was sent, behind headers of its own', async (t) => {
  const topic = `/topic/${unique('shared')}`;
  const subscribers = [];
  for (const deflate of [false, true]) {
    for (const ack of ['auto', 'auto', 'client', 'client-individual']) {
      const peer = await open(t, deflate);
      subscribers.push([deflate, ack, await peer.subscribe(topic, { ack })]);
      // With the same id as another's, too.
      if (ack === 'client') subscribers.push([deflate, ack, await peer.subscribe(topic, { ack, id: 'the same' })]);
      if (ack === 'auto') subscribers.push([deflate, ack, await peer.subscribe(topic, { ack, id: 'another' })]);
    }
  }
  const tcp = await Tcp.open(gateway);
  t.after(() => tcp.destroy());
  await tcp.connect();
  tcp.frame('SUBSCRIBE', 'id:tcp', `destination:${topic}`, 'ack:client-individual', 'receipt:r', '', '');
  assert.equal((await tcp.next()).command, 'RECEIPT');
  const publisher = await open(t, true);
  // All at once, and then each by itself.
  for (const [name, body] of Object.entries(BODIES)) publisher.publish(topic, body, { name });
  for (const rounds of [1, 2]) {
    for (const [name, body] of Object.entries(BODIES)) {
      if (rounds === 2) await publisher.send(topic, body, { name });
      for (const [deflate, ack, subscription] of subscribers) {
        const shown = `${name}, deflate ${deflate}, ${ack}`;
        const message = await subscription.next(20_000);
        assert.equal(message.headers.name, name, shown);
        assert.equal(message.headers.subscription, subscription.id, shown);
        assert.equal(message.headers.ack !== undefined, ack !== 'auto', shown);
        assert(Buffer.from(message.binaryBody).equals(bytesOf(body)), shown);
      }
      const message = await tcp.next(20_000);
      assert.equal(message.headers.subscription, 'tcp');
      assert.equal(Number(message.headers['content-length']), bytesOf(body).length);
      if (typeof body === 'string') assert(message.body === body, `${name} over TCP`);
    }
  }
});

test('a queue sends bodies behind their ack headers, and once more after a NACK', async (t) => {
  const queue = `/queue/${unique('shared')}`;
  for (const deflate of [false, true]) {
    const [publisher, consumer] = [await open(t, deflate), await open(t, deflate)];
    const subscription = await consumer.subscribe(queue, { ack: 'client-individual' });
    for (const [name, body] of Object.entries(BODIES)) {
      await publisher.send(queue, body, { name });
      for (const redelivered of [undefined, 'true']) {
        const message = await subscription.next(20_000);
        assert.equal(message.headers.redelivered, redelivered, name);
        assert(Buffer.from(message.binaryBody).equals(bytesOf(body)), name);
        if (redelivered) message.ack();
        else message.nack();
      }
    }
    await subscription.unsubscribe();
  }
});

test('compression saves what it can', async (t) => {
  const topic = `/topic/${unique('shared')}`;
  for (const [body, most] of [
    [digits(MIB), 0.8],
    ['x'.repeat(MIB), 0.02],
    [randomBytes(MIB), 1.01],
  ]) {
    for (const ack of ['auto', 'client']) {
      const [publisher, peer] = [await open(t, false), await open(t, true)];
      const subscription = await peer.subscribe(topic, { ack });
      const before = peer.socket._socket.bytesRead;
      await publisher.send(topic, body);
      const message = await subscription.next(20_000);
      assert(Buffer.from(message.binaryBody).equals(bytesOf(body)), ack);
      const received = peer.socket._socket.bytesRead - before;
      assert(received < most * MIB, `${ack}: ${received} of ${MIB} bytes`);
      await subscription.unsubscribe();
    }
  }
});

test('peers that stall have all of it later', async (t) => {
  const topic = `/topic/${unique('shared')}`;
  const subscribers = [];
  for (const deflate of [false, true]) {
    for (const ack of ['auto', 'client-individual', 'client-individual']) {
      const peer = await open(t, deflate);
      subscribers.push([peer, await peer.subscribe(topic, { ack })]);
    }
  }
  for (const [peer] of subscribers) peer.socket.pause();
  const bodies = [digits(4 * MIB), randomBytes(4 * MIB), digits(5 * KIB), 'the end', digits(4 * MIB)];
  const publisher = await open(t, false);
  for (const body of bodies) await publisher.send(topic, body);
  for (const [peer] of subscribers) peer.socket.resume();
  for (const [index, body] of bodies.entries()) {
    for (const [, subscription] of subscribers) {
      const message = await subscription.next(20_000);
      assert(Buffer.from(message.binaryBody).equals(bytesOf(body)), `body ${index}`);
    }
  }
});
