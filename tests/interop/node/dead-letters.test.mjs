// Dead-letter queues: who may read them and send there, what the gateway says of a dead letter, and
// how one is handled again.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Life, store } from './lib/life.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { pause, within } from './lib/wait.mjs';

const names = ['keeper', 'worker', 'support', 'admin'];
const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: 'x\n', encoding: 'utf8' });
const users = names.map((name) => `[[user]]\nname = "${name}"\npassword = ${/\{.*\}/s.exec(printed)[0]}\n`).join('\n');
const rules = `
[[access]]
destination = "/queue/secret.>"
subscribe = ["user:keeper"]
send = ["user:keeper"]

[[access]]
destination = "/queue/audited.>"
subscribe = ["user:worker"]
send = ["*"]

[[access]]
destination = ">"
subscribe = ["*"]
send = ["*"]

[[access]]
destination = "/queue/DLQ.audited.>"
subscribe = ["user:support"]

[[access]]
destination = "/queue/DLQ.>"
send = ["user:admin"]
`;

let bare;
let ruled;
before(async () => {
  bare = await start();
  ruled = await start(`${users}\n${rules}`);
});
after(() => Promise.all([bare, ruled].map((gateway) => gateway?.stop())));

const as = (login) => (login ? { connectHeaders: { login, passcode: 'x' } } : {});
const deadLettersOf = (queue) => queue.replace('/queue/', '/queue/DLQ.');

/** Sends a message and refuses it until it is a dead letter. */
async function fail(peer, queue, body, headers) {
  const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
  await peer.send(queue, body, headers);
  for (let count = 0; count < 6; count += 1) (await subscription.next()).nack();
  await subscription.unsubscribe();
}

/** The ERROR that ends a connection which does something. */
async function refused(gateway, options, act) {
  const peer = await Peer.open(gateway, options);
  act(peer);
  const error = await peer.errors.next();
  await within(5000, 'the end', peer.closed);
  return error;
}

test('who may not subscribe to a queue gets none of its dead letters', async (t) => {
  const open = peers(t, () => ruled);
  const keeper = await open(as('keeper'));
  for (const queue of [`/queue/secret.${unique()}`, `/queue/secret.*2E${unique()}.*0`]) {
    await fail(keeper, queue, 'confidential');
    const dead = deadLettersOf(queue);
    for (const login of [undefined, 'worker', 'admin']) {
      for (const destination of [queue, dead, deadLettersOf(dead)]) {
        for (const headers of [{}, { browser: 'true' }, { ack: 'client' }]) {
          const error = await refused(ruled, as(login), (peer) => peer.client.subscribe(destination, () => {}, headers));
          assert.equal(error.headers.message, 'not allowed', `${login} ${destination}`);
        }
      }
    }
    // Whose queue it is browses them, and takes them.
    const browser = await keeper.subscribe(dead, { browser: 'true' });
    assert.deepEqual(await browser.bodies(2), ['confidential', '']);
    assert.deepEqual(await (await keeper.subscribe(dead)).bodies(1), ['confidential']);
  }
});

test('a rule that names dead-letter queues lets others read, and takes nothing from whose queue it is', async (t) => {
  const open = peers(t, () => ruled);
  const worker = await open(as('worker'));
  for (const reader of ['worker', 'support']) {
    const queue = `/queue/audited.${unique()}`;
    await fail(worker, queue, 'x');
    assert.deepEqual(await (await (await open(as(reader))).subscribe(deadLettersOf(queue))).bodies(1), ['x']);
  }
  const error = await refused(ruled, as('support'), (peer) => peer.client.subscribe('/queue/audited.a', () => {}));
  assert.equal(error.headers.message, 'not allowed');
});

test('where all may subscribe to a queue, all read its dead letters', async (t) => {
  for (const gateway of [bare, ruled]) {
    const peer = await peers(t, () => gateway)();
    const queue = `/queue/${unique()}`;
    await fail(peer, queue, 'x');
    assert.deepEqual(await (await peer.subscribe(deadLettersOf(queue))).bodies(1), ['x']);
  }
});

test('only the gateway sends to a dead-letter queue', async (t) => {
  for (const [gateway, login] of [[bare], [ruled], [ruled, 'worker'], [ruled, 'keeper']]) {
    const peer = await peers(t, () => gateway)(as(login));
    const queue = login === 'keeper' ? `/queue/secret.${unique()}` : `/queue/${unique()}`;
    await fail(peer, queue, 'real');
    for (const destination of [deadLettersOf(queue), deadLettersOf(deadLettersOf(queue)), '/queue/DLQ.DLQ', '/queue/DLQ.*0.a']) {
      const error = await refused(gateway, as(login), (sender) => sender.publish(destination, 'forged'));
      assert.equal(error.headers.message, 'not allowed');
      assert.match(error.body, /only the gateway sends to dead-letter queues/);
      const inTransaction = await refused(gateway, as(login), (sender) => {
        const transaction = sender.client.begin();
        sender.publish(destination, 'forged', { transaction: transaction.id });
        transaction.commit();
      });
      assert.match(inTransaction.body, /only the gateway sends to dead-letter queues/);
      const headers = login ? { authorization: `Basic ${Buffer.from(`${login}:x`).toString('base64')}` } : {};
      const path = destination.replace('/queue/', '/queues/');
      for (const spelled of [path, path.replace('DLQ.', '%44LQ%2E')]) {
        const response = await request(gateway, spelled, { method: 'POST', body: 'forged', headers });
        assert.equal(response.status, 403, spelled);
        assert.match(response.text, /only the gateway sends to dead-letter queues/);
      }
    }
    await peer.send(queue, 'another');
    assert.deepEqual(await (await peer.subscribe(deadLettersOf(queue))).bodies(1), ['real']);
  }
});

test('a queue that is merely called alike takes messages of all', async (t) => {
  const peer = await peers(t, () => bare)();
  for (const queue of ['/queue/DLQ', `/queue/dlq.${unique()}`, `/queue/DLQ*2E${unique()}`, `/queue/a.DLQ.${unique()}`]) {
    await peer.send(queue, 'x');
    assert.deepEqual(await (await peer.subscribe(queue)).bodies(1), ['x']);
  }
});

test('whom a rule lets sends to a dead-letter queue, and nobody else', async (t) => {
  const admin = await peers(t, () => ruled)(as('admin'));
  const queue = `/queue/DLQ.${unique()}`;
  await admin.send(queue, 'x');
  assert.deepEqual(await (await admin.subscribe(queue)).bodies(1), ['x']);
  // The first rule that names it decides, and lets nobody.
  const error = await refused(ruled, as('admin'), (peer) => peer.publish('/queue/DLQ.audited.a', 'x'));
  assert.match(error.body, /dead-letter queues/);
});

test('a dead letter is moved back to its queue in a transaction, headers copied', async (t) => {
  for (const [gateway, login] of [[bare], [ruled, 'admin']]) {
    const peer = await peers(t, () => gateway)(as(login));
    const queue = `/queue/${unique()}`;
    await fail(peer, queue, 'again', { own: 'kept' });
    const dead = await peer.subscribe(deadLettersOf(queue), { ack: 'client-individual' });
    const letter = await dead.next();
    const transaction = peer.client.begin();
    const { 'content-length': _, ...copied } = letter.headers;
    peer.publish(letter.headers['dlq-queue'], letter.body, { ...copied, destination: letter.headers['dlq-queue'], transaction: transaction.id });
    letter.ack({ transaction: transaction.id });
    await peer.receipt((receipt) => peer.frame('COMMIT', { transaction: transaction.id, receipt }));
    const message = await (await peer.subscribe(queue)).next();
    assert.equal(message.body, 'again');
    assert.equal(message.headers.own, 'kept');
    assert.equal(message.headers.destination, queue);
    for (const name of ['dlq-queue', 'dlq-reason', 'redelivered', 'delivery-count', 'transaction']) {
      assert.equal(message.headers[name], undefined, name);
    }
    await dead.unsubscribe();
    const browser = await peer.subscribe(deadLettersOf(queue), { browser: 'true' });
    assert.equal((await browser.next()).headers.browser, 'end');
  }
});

const written = [
  'ack', 'browser', 'delivery-count', 'dlq-queue', 'dlq-reason', 'message-id', 'redelivered', 'subscription', 'timestamp',
];
const forms = ['NAME', ' NAME', 'NAME ', '\tNAME', '\\nNAME\\r', '\u{a0}NAME', 'NAME\u{feff}'];
const forged = written.flatMap((name) => forms.map((form) => `${form.replace('NAME', name)}:forged`));

for (const version of ['1.0', '1.1', '1.2']) {
  test(`STOMP ${version}: the headers that the gateway writes are nobody else's`, async (t) => {
    const queue = `/queue/${unique()}`;
    const [sender, receiver] = [await Tcp.open(bare), await Tcp.open(bare)];
    t.after(() => [sender, receiver].forEach((tcp) => tcp.destroy()));
    await sender.connect();
    receiver.frame('CONNECT', ...(version === '1.0' ? [] : [`accept-version:${version}`, 'host:test']), '', '');
    assert.equal((await receiver.next()).headers.version ?? '1.0', version);
    const send = async () => {
      sender.frame('SEND', `destination:${queue}`, ...forged, 'own:kept', 'receipt:r', '', 'x');
      assert.equal((await sender.next()).command, 'RECEIPT');
    };
    /** The next frame as lines, names as the client sees them that trims most. */
    const next = async () => {
      const [, ...lines] = (await receiver.until('\n\n')).toString().trim().split('\n');
      await receiver.until('\0');
      return lines.map((line) => line.split(/:(.*)/s)).map(([name, value]) => [name.replaceAll(/\\[rn]/g, '\n').trim(), value]);
    };
    const check = (headers, expected) => {
      assert(headers.every(([, value]) => value !== 'forged'), JSON.stringify(headers));
      for (const name of [...written, 'own']) {
        const count = headers.filter((header) => header[0] === name).length;
        assert.equal(count, expected.includes(name) ? 1 : 0, `${name} of ${JSON.stringify(headers)}`);
      }
    };

    const ack = version === '1.2' ? ['ack'] : [];
    const each = ['message-id', 'subscription', 'timestamp', 'own'];

    await send();
    receiver.frame('SUBSCRIBE', 'id:1', `destination:${queue}`, '', '');
    check(await next(), each);
    receiver.frame('UNSUBSCRIBE', 'id:1', 'receipt:u', '', '');
    await receiver.until('\0');

    await send();
    const consumer = await Tcp.open(bare);
    await consumer.connect();
    consumer.frame('SUBSCRIBE', 'id:1', `destination:${queue}`, 'ack:client-individual', '', '');
    for (let count = 0; count < 5; count += 1) {
      consumer.frame('NACK', `id:${(await consumer.next()).headers.ack}`, '', '');
    }
    await consumer.next();
    consumer.destroy();
    receiver.frame('SUBSCRIBE', 'id:2', `destination:${queue.replace('/queue/', '/queue/DLQ.')}`, 'ack:client', '', '');
    const dead = await next();
    check(dead, [...each, ...ack, 'dlq-queue', 'dlq-reason']);
    assert.equal(Object.fromEntries(dead)['dlq-queue'], queue);
  });
}

test('a full dead-letter queue keeps what is persistent, and says what it drops', async (t) => {
  const life = await Life.begin(t, `[limits]\nqueue-messages-max = 5\ndeliveries-max = 1\n\n${store}`);
  const queue = `/queue/${unique()}`;
  const bodies = (first, count) => Array.from({ length: count }, (_, index) => `m${first + index}`);
  const die = async (first, count, headers) => {
    const peer = await life.peer();
    const subscription = await peer.subscribe(queue, { ack: 'client-individual' });
    for (const body of bodies(first, count)) {
      await peer.send(queue, body, headers);
      (await subscription.next()).nack();
      await peer.sync();
    }
    await peer.close();
  };
  await die(0, 10, { persistent: 'true' });
  await life.crash();
  const peer = await life.peer();
  assert.deepEqual(await (await peer.subscribe(deadLettersOf(queue))).bodies(10), bodies(0, 10));
  await peer.close();
  // Of what is not, the first go; the log and a metric say so.
  await die(10, 8, {});
  const reader = await life.peer();
  assert.deepEqual(await (await reader.subscribe(deadLettersOf(queue))).bodies(5), bodies(13, 5));
  const { text } = await request(life.gateway, '/metrics');
  assert.match(text, /^passerelle_broker_dead_letters_dropped_total 3$/m);
  while (!/a full dead-letter queue has dropped messages that are not persistent/.test(life.gateway.said)) await pause(20);
});
