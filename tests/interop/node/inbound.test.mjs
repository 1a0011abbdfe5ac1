// What peers have sent in part takes bounded memory in all: the largest is refused, whatever it is
// sent by, and all others go on.
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import zlib from 'node:zlib';
import WebSocket from 'ws';
import { start } from './lib/gateway.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';

const MIB = 1 << 20;
const LARGEST = 16 * MIB;
/**
 * In MiB: the bound, an eighth of it while one core frees what another requires, the process, and
 * what the allocator keeps in pieces that do not fit, which is more than all the rest. The messages
 * have 3,000 MiB.
 */
const MOST = 400;

let gateway;
before(async () => {
  gateway = await start(`
[limits]
message-bytes-max = "16MiB"
transaction-bytes-max = "16MiB"
unsent-bytes-max = "32MiB"

[memory]
inbound-bytes-max = "64MiB"
`, { threads: 2 });
});
after(() => gateway?.stop());

const upgrade = async (path, headers = '') => {
  const raw = await Raw.open(gateway);
  raw.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`,
  );
  assert.match((await raw.until('\r\n\r\n')).toString(), /^HTTP\/1\.1 101 /);
  return raw;
};

/** A frame that is not really masked. */
const frame = (first, payload) => {
  const head = Buffer.from([first, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  head.writeUInt32BE(payload.length, 6);
  if (payload.length > 0xffff) return Buffer.concat([head, payload]);
  if (payload.length < 126) return Buffer.concat([Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
  const short = Buffer.from([first, 0xfe, payload.length >> 8, payload.length & 0xff, 0, 0, 0, 0]);
  return Buffer.concat([short, payload]);
};

const stomp = async (...head) => {
  const tcp = await Tcp.open(gateway);
  assert.equal((await tcp.connect()).command, 'CONNECTED');
  tcp.write(`${['SEND', 'destination:/topic/inbound', ...head, '', ''].join('\n')}`);
  return tcp;
};

const post = async (...head) => {
  const raw = await Raw.open(gateway);
  raw.write(`${['POST /topics/inbound HTTP/1.1', 'Host: localhost', ...head, '', ''].join('\r\n')}`);
  return raw;
};

const piece = Buffer.alloc(MIB, 'x');
const flush = { finishFlush: zlib.constants.Z_SYNC_FLUSH };
const deflated = zlib.deflateRawSync(piece, flush);
const deflate = 'Sec-WebSocket-Extensions: permessage-deflate\r\n';
const closed = /\x88.\x03\xf1the gateway's memory for incoming messages is full: try again later/s;
const error = /^ERROR\n[^\0]*\n\n[^\0]*the gateway's memory for incoming messages is full/s;
const unavailable = /^HTTP\/1\.1 503 [^]*\r\nretry-after: 1\r\n[^]*the gateway's memory for incoming messages is full/i;

/** How a connection begins a message of 15 MiB, its pieces of 1 MiB, and how one is refused. */
const WAYS = {
  'a WebSocket message in fragments': [
    async () => (await upgrade('/echo')).write(frame(0x02, Buffer.from('x'))),
    frame(0x00, piece),
    closed,
  ],
  'a broadcast in one frame': [
    async () => (await upgrade('/broadcast')).write(Buffer.from([0x82, 0xff, 0, 0, 0, 0, 0, 0xf0, 0, 0, 0, 0, 0, 0])),
    piece,
    closed,
  ],
  'a deflated message': [
    async () => (await upgrade('/echo', deflate)).write(frame(0x42, deflated)),
    frame(0x00, deflated),
    closed,
  ],
  'a frame of STOMP over TCP with its length': [() => stomp(`content-length:${15 * MIB}`), piece, error],
  'a frame of STOMP over TCP without': [() => stomp(), piece, error],
  'a frame of STOMP over WebSocket': [
    async () => {
      const raw = await upgrade('/messaging', 'Sec-WebSocket-Protocol: v12.stomp\r\n');
      raw.write(frame(0x82, Buffer.from('CONNECT\naccept-version:1.2\nhost:x\n\n\0')));
      await raw.until('CONNECTED');
      await raw.until('\0');
      return raw.write(frame(0x02, Buffer.from('SEND\ndestination:/topic/inbound\n\n')));
    },
    frame(0x00, piece),
    /ERROR\n[^\0]*\0[^]*\x88.\x03\xf1/s,
  ],
  'the body of a request': [() => post(`Content-Length: ${15 * MIB}`), piece, unavailable],
  'a body in chunks': [
    () => post('Transfer-Encoding: chunked'),
    Buffer.concat([Buffer.from('100000\r\n'), piece, Buffer.from('\r\n')]),
    unavailable,
  ],
};

const status = async (key) => {
  const text = await readFile(`/proc/${gateway.process.pid}/status`, 'utf8');
  return Number(new RegExp(`${key}:\\s+(\\d+)`).exec(text)[1]) / 1024;
};

const metric = async (name) => {
  const text = await (await fetch(gateway.http('/metrics'))).text();
  return Number(new RegExp(`^passerelle_${name} (\\d+)`, 'm').exec(text)[1]);
};

/** The peak of the gateway's memory in MiB while something is done. */
const peak = async (act) => {
  // Begins anew with what it has now.
  await writeFile(`/proc/${gateway.process.pid}/clear_refs`, '5');
  await act();
  return status('VmHWM');
};

/** Sends small messages in every way until `done`; each comes back. */
const honest = async (done, size = 100_000) => {
  const peer = await Peer.open(gateway);
  const echo = new WebSocket(gateway.ws('/echo'), { perMessageDeflate: false });
  await within(5000, 'a WebSocket', new Promise((resolve) => echo.once('open', resolve)));
  const body = 'y'.repeat(size);
  let rounds = 0;
  while (!done() || rounds < 3) {
    rounds += 1;
    const receipt = unique('r');
    const received = new Promise((resolve) => peer.client.watchForReceipt(receipt, resolve));
    peer.client.publish({ destination: '/topic/honest', body, headers: { receipt } });
    await within(20_000, 'a receipt', received);
    const back = new Promise((resolve) => echo.once('message', resolve));
    echo.send(body.slice(0, size / 2), { fin: false });
    await pause(5);
    echo.send(body.slice(size / 2));
    assert.equal((await within(20_000, 'an echo', back)).length, body.length);
    assert.equal((await fetch(gateway.http('/topics/honest'), { method: 'POST', body })).status, 204);
  }
  await peer.client.deactivate();
  echo.terminate();
};

const ends = async (raw) => {
  const text = (await raw.rest(20_000)).toString('latin1');
  raw.destroy();
  return text;
};

/** 200 unfinished messages, of which each grows by a piece in turn while they last. */
const attack = async (begin, bytes) => {
  const all = [];
  for (let i = 0; i < 200; i++) all.push(await begin());
  for (let n = 0; n < 15; n++) {
    for (const raw of all.filter((raw) => !raw.ended)) {
      if (!raw.ended && !raw.socket.write(bytes)) {
        await Promise.race([new Promise((resolve) => raw.socket.once('drain', resolve)), raw.rest(60_000)]);
      }
    }
  }
  return all;
};

for (const [name, [begin, bytes, refusal]] of Object.entries(WAYS)) {
  test(`200 times 15 MiB of ${name}`, { timeout: 120_000 }, async () => {
    const refusedBefore = await metric('inbound_refused_total');
    let all;
    const took = await peak(async () => {
      let over = false;
      const small = honest(() => over);
      all = await attack(begin, bytes);
      over = true;
      await small;
    });
    assert.ok(took < MOST, `the gateway took ${took} MiB`);
    assert.ok((await metric('inbound_bytes')) <= 64 * MIB);
    const refused = all.filter((raw) => raw.ended);
    const counted = (await metric('inbound_refused_total')) - refusedBefore;
    assert.ok(counted > 100 && counted <= 200, `${counted} were refused`);
    let told = 0;
    for (const raw of refused) told += refusal.test(await ends(raw)) ? 1 : 0;
    // A connection that is closed while its peer still sends may be reset.
    assert.ok(told > 0, `${told} of ${refused.length} were told`);
    all.forEach((raw) => raw.destroy());
    await within(5000, 'the memory to be free', (async () => {
      while ((await metric('inbound_bytes')) > 0) await pause(20);
    })());
  });
}

test('thousands of deflated messages of a byte', { timeout: 120_000 }, async () => {
  const all = [];
  const took = await peak(async () => {
    let over = false;
    // Smaller than the others, each of which takes a window of 32 KiB and more.
    const small = honest(() => over, 10_000);
    for (let i = 0; i < 2000; i++) all.push((await upgrade('/echo', deflate)).write(frame(0x42, Buffer.from([0]))));
    over = true;
    await small;
  });
  assert.ok(took < MOST, `the gateway took ${took} MiB`);
  const ended = all.filter((raw) => raw.ended);
  assert.ok(ended.length > 200, `${ended.length} of 2000 were refused`);
  assert.match(await ends(ended[0]), closed);
  all.forEach((raw) => raw.destroy());
});

test('the largest message passes, in every way', { timeout: 60_000 }, async () => {
  const body = Buffer.alloc(LARGEST, 'z');
  const echo = new WebSocket(gateway.ws('/echo'), { maxPayload: LARGEST });
  await within(5000, 'a WebSocket', new Promise((resolve) => echo.once('open', resolve)));
  for (const pieces of [1, 7]) {
    const back = new Promise((resolve) => echo.once('message', resolve));
    const size = Math.ceil(LARGEST / pieces);
    for (let at = 0; at < LARGEST; at += size) {
      echo.send(body.subarray(at, at + size), { fin: at + size >= LARGEST });
      await pause(20);
    }
    assert.equal((await within(20_000, 'the echo', back)).length, LARGEST);
  }
  echo.terminate();
  for (const head of [[], [`content-length:${LARGEST}`]]) {
    const tcp = await stomp('receipt:r', ...head);
    tcp.write(body).write('\0');
    assert.equal((await tcp.next(20_000)).headers['receipt-id'], 'r');
    tcp.destroy();
  }
  const url = gateway.http('/topics/inbound');
  assert.equal((await fetch(url, { method: 'POST', body })).status, 204);
  const noise = Buffer.alloc(LARGEST).map((_, index) => (index * 2654435761) >>> 13);
  const coded = { method: 'POST', body: zlib.gzipSync(noise), headers: { 'Content-Encoding': 'gzip' } };
  assert.equal((await fetch(url, coded)).status, 204);
});
