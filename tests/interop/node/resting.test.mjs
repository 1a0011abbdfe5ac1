// How long an HTTP connection may rest, and how long a head may take.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Raw } from './lib/raw.mjs';
import { pause } from './lib/wait.mjs';

const short = '[limits]\nlogin-timeout = "600ms"\n';
let gateway;
let brief;
let never;
before(async () => {
  gateway = await start(short);
  brief = await start(`${short}[http]\nkeep-alive = "300ms"\n`);
  never = await start(`${short}[http]\nkeep-alive = 0\n`);
});
after(() => Promise.all([gateway?.stop(), brief?.stop(), never?.stop()]));

const get = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n';
/** Sends a request, and reads the whole response. */
async function request(raw, text = get) {
  raw.write(text);
  const head = (await raw.until('\r\n\r\n')).toString();
  assert.match(head, /^HTTP\/1\.1 200/);
  await raw.bytes(Number(/content-length: (\d+)/i.exec(head)[1]));
  return head;
}

test('a connection may rest for longer than a head may take', async () => {
  const raw = await Raw.open(gateway);
  for (let round = 0; round < 3; round += 1) {
    await request(raw);
    await pause(1000);
    assert.ok(!raw.ended);
  }
  raw.destroy();
});

test('a head that has begun has its time, behind a rest too', async () => {
  for (const rest of [0, 900]) {
    const raw = await Raw.open(gateway);
    await request(raw);
    await pause(rest);
    raw.write('GET /healthz HT');
    await raw.rest(3000);
    raw.destroy();
  }
});

test('so has half a head that came with the request before', async () => {
  const raw = await Raw.open(gateway);
  await request(raw, `${get}GET /healthz HT`);
  await raw.rest(3000);
  raw.destroy();
});

test('a head that trickles in has no more time', async () => {
  const raw = await Raw.open(gateway);
  await request(raw);
  const begin = performance.now();
  while (!raw.ended && performance.now() - begin < 4000) {
    raw.write('G');
    await pause(100);
  }
  assert.ok(raw.ended);
  raw.destroy();
});

test('a new connection has only the time for its first request', async () => {
  for (const bytes of ['', 'GET /healthz HT']) {
    const raw = await Raw.open(gateway);
    if (bytes) raw.write(bytes);
    await raw.rest(3000);
    raw.destroy();
  }
});

test('a connection that rests for too long is closed, one that is used is not', async () => {
  const raw = await Raw.open(brief);
  for (let round = 0; round < 6; round += 1) {
    await request(raw);
    await pause(100);
  }
  await raw.rest(3000);
  raw.destroy();
});

test('without keep-alive each answer is the last', async () => {
  const raw = await Raw.open(never);
  assert.match(await request(raw), /connection: close/i);
  await raw.rest(3000);
  raw.destroy();
});

test('an answer that takes long is waited for', async () => {
  const raw = await Raw.open(brief);
  const head = 'POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n';
  raw.write(head);
  for (const byte of 'slow') {
    await pause(250);
    raw.write(byte);
  }
  assert.match((await raw.until('\r\n\r\n')).toString(), /^HTTP\/1\.1 20[0-9]/);
  raw.destroy();
});

test('a rest ends at once when the gateway stops', async (t) => {
  const leaving = await start('[shutdown]\ngrace = 0\n');
  t.after(() => leaving.stop());
  const raw = await Raw.open(leaving);
  await request(raw);
  leaving.terminate();
  await raw.rest(5000);
  raw.destroy();
});
