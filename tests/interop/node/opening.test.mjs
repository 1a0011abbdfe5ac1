// A store that is opened late, since another process had it: persistent messages wait for it, and nothing else does.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncate } from 'node:fs/promises';
import { test } from 'node:test';
import { Amqp } from './lib/amqp.mjs';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';

const persistent = { persistent: 'true' };

test('what is persistent waits while the store is opened, and nothing else does', async (t) => {
  const { gateway, checkpoint, queue } = await beside(t);
  const peers = await Promise.all(Array.from({ length: 4 }, () => Peer.open(gateway)));
  const topics = await Promise.all(peers.map((peer) => peer.subscribe(`/topic/${unique()}`)));
  const committing = await Peer.open(gateway);
  const subscriber = await Peer.open(gateway, { connectHeaders: { 'client-id': unique() } });
  const amqp = await Amqp.open(gateway, { container_id: unique() });
  t.after(() => amqp.connection.close());
  const sender = await amqp.sender({ address: unique('q'), capabilities: ['queue'] });
  const topic = unique();
  const release = await hold(t, checkpoint);
  committing.client.begin('t');
  committing.publish(queue, 'committed', { ...persistent, transaction: 't' });
  const waiting = {
    SEND: peers[0].send(queue, 'sent', persistent),
    COMMIT: committing.receipt((receipt) => committing.frame('COMMIT', { transaction: 't', receipt })),
    SUBSCRIBE: subscriber.subscribe(`/topic/${topic}`, { 'durable-subscription-name': 'd' }),
    POST: request(gateway, `/queues/${unique()}`, { method: 'POST', headers: persistent, body: 'x' }),
    transfer: sender.send({ durable: true, body: 'x' }),
    attach: amqp.receiver({ address: topic, capabilities: ['topic'], durable: 2, expiry_policy: 'never' }, { name: 'e' }),
  };
  const done = [];
  for (const [name, one] of Object.entries(waiting)) {
    one.then(
      () => done.push(name),
      (error) => done.push(`${name}: ${error}`),
    );
  }
  for (let round = 0; round < 20; round += 1) {
    for (const topic of topics) {
      peers[3].publish(topic.destination, `${round}`);
      assert.equal((await within(1000, 'a message to a topic', topic.next())).body, `${round}`);
    }
    await peers[3].send(`/queue/${unique()}`, 'not persistent');
    await pause(20);
  }
  assert.deepEqual(done, []);
  release();
  await Promise.all(Object.values(waiting));
  assert.equal((await waiting.POST).status, 204);
  assert.equal(await waiting.transfer, 'accepted');
  const subscription = await peers[1].subscribe(queue);
  // What waited at the queue comes before what waited for its transaction.
  assert.deepEqual(await subscription.bodies(3), ['of the first', 'sent', 'committed']);
  await peers[2].send(`/topic/${topic}`, 'news', persistent);
  assert.equal((await (await waiting.SUBSCRIBE).next()).body, 'news');
  assert.deepEqual(await (await waiting.attach).bodies(1), ['news']);
});

test('a store that cannot be opened is not tried for each message, and the log says so once', async (t) => {
  const { gateway, checkpoint, queue } = await beside(t);
  let said = '';
  gateway.process.stderr.on('data', (data) => (said += data));
  await truncate(checkpoint, 100);
  for (const until = Date.now() + 4500; Date.now() < until; await pause(50)) {
    const tcp = await Tcp.open(gateway);
    await tcp.connect();
    tcp.frame('SEND', `destination:${queue}`, 'persistent:true', 'receipt:1', '', 'x');
    const error = await tcp.next();
    assert.deepEqual([error.command, error.headers.message], ['ERROR', 'not stored']);
    tcp.destroy();
  }
  const lines = said.split('\n').filter((line) => line.includes('persistent messages are refused'));
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(lines[0], /damaged at byte/);
});

/** A gateway without [store] that began beside another one, which has ended; and the store. */
async function beside(t) {
  const first = await start();
  t.after(() => first.stop());
  const queue = `/queue/${unique()}`;
  await (await Peer.open(first)).send(queue, 'of the first', persistent);
  const gateway = await start('', { folder: first.folder });
  t.after(() => gateway.stop());
  first.process.kill('SIGKILL');
  await first.exited;
  await pause(1100);
  return { gateway, checkpoint: `${first.folder}/passerelle-state/store/checkpoint`, queue };
}

/** Lets who opens a file wait, by a lease, until what is returned is called. */
async function hold(t, path) {
  const lease = [
    'import fcntl, os, signal, sys',
    'signal.signal(signal.SIGIO, signal.SIG_IGN)',
    'fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)',
    'print("held", flush=True)',
    'sys.stdin.read()',
  ];
  const holder = spawn('python3', ['-c', lease.join('\n'), path], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => holder.kill());
  await within(5000, 'a lease', once(holder.stdout, 'data'));
  return () => holder.stdin.end();
}
