// SIGTERM: not ready, no new connections, closes in each protocol's way, and the end in time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer } from './lib/peer.mjs';
import { Raw, Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

const times = '[shutdown]\ngrace = "500ms"\ndrain = "2s"\n';

test('SIGTERM: each is closed in its own way, then exit 0', async (t) => {
  const gateway = await start(times);
  t.after(() => gateway.stop());
  const socket = await Socket.open(gateway.ws('/echo'));
  const peer = await Peer.open(gateway);
  const tcp = await Tcp.open(gateway);
  await tcp.connect();
  assert.equal((await request(gateway, '/readyz')).status, 200);

  gateway.terminate();
  // The time of grace: not ready, but still serving those who come late.
  let ready;
  do ready = (await request(gateway, '/readyz')).status;
  while (ready === 200);
  assert.equal(ready, 503);
  assert.equal((await request(gateway, '/healthz')).status, 200);
  const late = await Socket.open(gateway.ws('/echo'));
  late.send('late');
  assert.equal(await late.next(), 'late');

  assert.equal((await socket.end())[0], 1001);
  assert.equal((await late.end())[0], 1001);
  assert.equal((await within(5000, 'the end of the session', peer.closed)).code, 1001);
  const error = await tcp.next();
  assert.equal(error.command, 'ERROR');
  assert.match(`${error.headers.message} ${error.body}`, /stopping|shut/i);
  await tcp.rest();
  assert.equal(await within(5000, 'the exit', gateway.exited), 0);
  await assert.rejects(Raw.open(gateway));
});

test('SIGTERM: a hundred peers are closed', async (t) => {
  const gateway = await start(times);
  t.after(() => gateway.stop());
  const sockets = await Promise.all(Array.from({ length: 100 }, () => Socket.open(gateway.ws('/broadcast'))));
  gateway.terminate();
  const codes = await Promise.all(sockets.map((socket) => socket.end(10_000)));
  assert.deepEqual(new Set(codes.map(([code]) => code)), new Set([1001]));
  assert.equal(await within(5000, 'the exit', gateway.exited), 0);
});

test('SIGTERM: a peer that does not react is dropped', async (t) => {
  const gateway = await start(times);
  t.after(() => gateway.stop());
  const deaf = await Tcp.open(gateway);
  await deaf.connect();
  deaf.socket.pause();
  const half = await Raw.open(gateway);
  half.write('GET / HT');
  await pause(50);
  const begin = performance.now();
  gateway.terminate();
  await within(8000, 'the exit', gateway.exited);
  assert.ok(performance.now() - begin < 6000);
});

test('SIGTERM: the log says how many messages end with their queues', async (t) => {
  for (const [count, expected] of [
    [0, null],
    [12, 'messages=12'],
  ]) {
    const gateway = await start(times, { threads: 3 });
    t.after(() => gateway.stop());
    let log = '';
    gateway.process.stderr.on('data', (data) => (log += data));
    const peer = await Peer.open(gateway);
    for (let i = 0; i < count; i += 1) peer.publish(`/queue/left.${i % 5}`, `${i}`);
    // One is with a consumer when the end comes.
    if (count) await (await peer.subscribe('/queue/left.0', { ack: 'client', prefetch: '1' })).next();
    await peer.sync();
    gateway.terminate();
    assert.equal(await within(5000, 'the exit', gateway.exited), 0);
    const line = log.split('\n').find((line) => line.includes('what is not persistent is gone')) ?? null;
    assert.equal(line?.includes(expected) ?? null, expected && true, log);
  }
});

test('SIGTERM: what was sent before is not lost', async (t) => {
  const gateway = await start(times);
  t.after(() => gateway.stop());
  const [sender, receiver] = [await Peer.open(gateway), await Peer.open(gateway)];
  const subscription = await receiver.subscribe('/topic/last');
  for (let i = 0; i < 500; i += 1) sender.publish('/topic/last', `${i}`);
  await sender.sync();
  gateway.terminate();
  await within(10_000, 'the end of the session', receiver.closed);
  assert.equal(subscription.messages.length, 500);
});
