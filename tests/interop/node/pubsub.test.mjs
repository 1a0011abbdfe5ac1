// `passerelle pub` and `passerelle sub`: with each other, and with a client and a server that are not ours.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { secure, start } from './lib/gateway.mjs';
import { peers, unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

/** Of "secret". */
const HASH = '$argon2id$v=19$m=19456,t=2,p=1$fEAW/Qc08zRBgd6k2Pj3Mg$GEG7XPW1cghr1bKOTz7KctawNrvlysEb8tiDizlIciQ';

let gateway;
before(async () => {
  gateway = await start(`
[[service]]
path = "/messaging"
type = "broker"

[[user]]
name = "ann"
password = "${HASH}"
`);
});
after(() => gateway?.stop());

const ca = secure ? ['--ca', join(process.env.TLS, 'ca.pem')] : [];
/** The gateway's port, as STOMP over TCP. */
const tcp = () => `stomp${secure ? 's' : ''}://${gateway.authority}`;

/** Runs the program; what it prints is in `out` and `said`, and `ended` resolves with its exit code. */
function run(arguments_, { url = tcp(), input, env = {} } = {}) {
  const child = spawn(process.env.PASSERELLE, [...arguments_, '--url', url, ...ca], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const it = { child, out: Buffer.alloc(0), said: '' };
  child.stdout.on('data', (data) => (it.out = Buffer.concat([it.out, data])));
  child.stderr.on('data', (data) => (it.said += data));
  // It may end before it has read all.
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  it.ended = within(30_000, `${arguments_.join(' ')} to end`, new Promise((resolve) => child.once('close', resolve)));
  return it;
}

async function done(arguments_, options) {
  const it = run(arguments_, options);
  const code = await it.ended;
  return { code, out: it.out.toString(), said: it.said };
}

test('what is sent to a queue is confirmed, waits, and is printed', async () => {
  const queue = `/queue/${unique()}`;
  const sent = await done(['pub', queue, 'hello', '-n', '3']);
  assert.match(sent.said, /^3 messages confirmed in \S+ s: \S+\/s, \S+ \S+\/s\nreceipts after: median /);
  assert.deepEqual([sent.code, sent.out], [0, '']);

  const two = await done(['sub', queue, '-n', '2']);
  assert.deepEqual([two.code, two.out], [0, 'hello\nhello\n']);
  assert.match(two.said, /^2 messages received/);
  // The third was left for others, and was not touched.
  const third = await done(['sub', queue, '--json', '-q', '--timeout', '1s']);
  const { destination, headers, body } = JSON.parse(third.out);
  assert.deepEqual([destination, body, headers['content-type'], headers.redelivered], [queue, 'hello', 'text/plain', undefined]);
  assert.deepEqual([third.code, third.said], [0, '']);
});

test('nothing in time is exit code 1, no connection and a refusal 3, a wrong command 2', async () => {
  const queue = `/queue/${unique()}`;
  assert.equal((await done(['sub', queue, '--timeout', '300ms'])).code, 1);
  await done(['pub', queue, 'one']);
  assert.equal((await done(['sub', queue, '-n', '2', '--timeout', '300ms'])).code, 1);

  const nobody = await done(['pub', queue, 'x'], { url: 'stomp://127.0.0.1:1' });
  assert.match(nobody.said, /^passerelle: cannot connect to stomp:\/\/127\.0\.0\.1:1: /);
  assert.equal(nobody.code, 3);
  const refused = await done(['sub', 'nowhere']);
  assert.match(refused.said, /passerelle: the server says: .*destination/);
  assert.equal(refused.code, 3);
  assert.equal((await done(['pub'])).code, 2);
  assert.equal((await done(['sub', queue], { url: 'mqtt://a:1' })).code, 2);
});

test('lines, files, headers and other bytes', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const lines = await done(['pub', topic, '-H', 'kind:a:b', '--content-type', 'text/x', '--stamp'], { input: 'one\r\n\ntw\u00f6' });
  assert.equal(lines.code, 0, lines.said);
  for (const body of ['one', '', 'tw\u00f6']) {
    const message = await subscription.next();
    assert.equal(message.body, body);
    assert.deepEqual([message.headers.kind, message.headers['content-type']], ['a:b', 'text/x']);
    assert.ok(Math.abs(Number(message.headers['sent-us']) / 1000 - Date.now()) < 60_000);
  }
  const file = join(gateway.folder, 'body');
  await writeFile(file, 'two\nlines\n');
  await done(['pub', topic, '--file', file]);
  assert.equal((await subscription.next()).body, 'two\nlines\n');
  await done(['pub', topic, '--file', '-'], { input: 'all\nof it' });
  assert.equal((await subscription.next()).body, 'all\nof it');
  await done(['pub', topic, '--size', '2KiB']);
  assert.equal((await subscription.next()).body.length, 2048);
});

test('what sub prints as JSON pub sends again, bytes and headers too', async () => {
  const [from, to] = [`/queue/${unique()}`, `/queue/${unique()}`];
  await done(['pub', from, '--file', '-', '-H', 'n:1', '--persistent'], { input: Buffer.from([0, 255, 10]) });
  await done(['pub', from, '{"a":1}', '--content-type', 'application/json', '-H', 'priority:9']);
  const dump = await done(['sub', from, '--json', '-n', '2']);
  assert.equal(dump.out.trim().split('\n').length, 2);
  const again = await done(['pub', to, '--json'], { input: dump.out });
  assert.equal(again.code, 0, again.said);
  const copy = await done(['sub', to, '--json', '-n', '2']);
  const bare = (text) =>
    text.trim().split('\n').map((line) => {
      const { headers, body, base64 } = JSON.parse(line);
      for (const name of ['message-id', 'timestamp']) delete headers[name];
      return { headers, body, base64 };
    });
  assert.deepEqual(bare(copy.out), bare(dump.out));
  assert.ok(bare(copy.out).some(({ base64, headers }) => base64 === 'AP8K' && headers.persistent === 'true'));

  // Each line may say where to.
  const line = JSON.stringify({ destination: from, body: 'there' });
  assert.equal((await done(['pub', '-', '--json'], { input: line })).code, 0);
  assert.equal((await done(['sub', from, '-n', '1'])).out, 'there\n');
  const wrong = await done(['pub', to, '--json'], { input: '{}\n{"bdy":1}' });
  assert.match(wrong.said, /passerelle: line 2: unknown member `bdy`/);
  assert.equal(wrong.code, 2);
});

test('by WebSocket, with what another client sends and a selector', async (t) => {
  const peer = await peers(t, () => gateway)();
  const url = gateway.ws('/messaging');
  const topic = `/topic/${unique()}`;
  const it = run(['sub', `${topic}.*`, '-n', '2', '--headers', '--selector', 'n > 1'], { url });
  // It says nothing when it is subscribed: what is sent until then is missed.
  let ended = false;
  it.child.once('close', () => (ended = true));
  while (!ended) {
    for (const n of ['1', '2']) await peer.send(`${topic}.a`, `body ${n}`, { n });
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(await it.ended, 0, it.said);
  const text = it.out.toString();
  assert.match(text, new RegExp(`destination: ${topic}\\.a\\n`));
  assert.match(text, /n: 2\n(.*\n)*\nbody 2\n/);
  assert.doesNotMatch(text, /body 1/);
  assert.match(it.said, /on their way for: median /);

  const queue = `/queue/${unique()}`;
  const large = 'ü'.repeat(100_000);
  await done(['pub', queue, '-n', '20'], { url, input: `${large}\n`.repeat(25) });
  assert.equal((await done(['sub', queue, '-n', '20'], { url })).out, `${large}\n`.repeat(20));
});

test('Ctrl-C ends with the summary, and what was not printed stays', async () => {
  const queue = `/queue/${unique()}`;
  await done(['pub', queue, 'x']);
  const it = run(['sub', queue]);
  await within(10_000, 'a message', new Promise((resolve) => it.child.stdout.once('data', resolve)));
  it.child.kill('SIGINT');
  assert.equal(await it.ended, 0, it.said);
  assert.match(it.said, /^1 message received\n/);
  // Nor is a sender whose input has no end kept.
  const sender = run(['pub', queue]);
  sender.child.stdin.write('first\n');
  await done(['sub', queue, '-n', '1']);
  sender.child.kill('SIGTERM');
  assert.equal(await sender.ended, 1);
  assert.match(sender.said, /^1 message confirmed\n/);
});

test('a reader that has read enough ends it', async () => {
  const queue = `/queue/${unique()}`;
  await done(['pub', queue, 'x', '-n', '500']);
  const it = run(['sub', queue]);
  it.child.stdout.destroy();
  await it.ended;
  assert.doesNotMatch(it.said, /panicked|cannot be written/);
});

test('a rate is kept to', async () => {
  const queue = `/queue/${unique()}`;
  const start = Date.now();
  assert.equal((await done(['pub', queue, 'x', '-n', '11', '--rate', '20'])).code, 0);
  assert.ok(Date.now() - start >= 500);
  const unconfirmed = await done(['pub', queue, 'x', '-n', '100', '--unconfirmed']);
  assert.match(unconfirmed.said, /^100 messages sent, all of which have arrived in /);
  assert.equal((await done(['sub', queue, '-n', '111', '--ack', 'client'])).code, 0);
});

test('credentials come from the environment or a file', async () => {
  const queue = `/queue/${unique()}`;
  const env = { PASSERELLE_USER: 'ann', PASSERELLE_PASSWORD: 'secret' };
  assert.equal((await done(['pub', queue, 'x'], { env })).code, 0);
  const wrong = await done(['pub', queue, 'x'], { env: { ...env, PASSERELLE_PASSWORD: 'wrong' } });
  assert.match(wrong.said, /^0 messages|passerelle: the server says: .*login/);
  assert.equal(wrong.code, 3);
  const file = join(gateway.folder, 'password');
  await writeFile(file, 'secret\nno part of it\n');
  assert.equal((await done(['pub', queue, 'x', '--user', 'ann', '--password-file', file])).code, 0);
  const none = await done(['pub', queue, 'x', '--user', 'ann']);
  assert.match(none.said, /the password of ann is missing: set PASSERELLE_PASSWORD, or name a file/);
  assert.equal(none.code, 2);
  const inAddress = await done(['pub', queue, 'x'], { url: 'stomp://ann:secret@127.0.0.1:1' });
  assert.match(inAddress.said, /a name and a password have no place in an address/);
});

test('a server that breaks off, or says nothing, is not waited for without end', { skip: secure }, async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => {
      socket.write('CONNECTED\nversion:1.2\n\n\0');
      // No receipt ever comes.
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `stomp://127.0.0.1:${server.address().port}`;
  try {
    const it = await done(['pub', '/queue/a', 'x', '-n', '2', '--timeout', '500ms'], { url });
    assert.match(it.said, /^2 messages sent.*, 0 of them confirmed\npasserelle: the connection is lost: no receipt/);
    assert.equal(it.code, 3);
  } finally {
    server.close();
  }
});
