// Who may in, and what they may: STOMP's CONNECT, HTTP Basic, access rules.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Tcp } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

/** What `passerelle password` prints for a password. */
function hashed(password) {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: `${password}\n`, encoding: 'utf8' });
  const table = /\{.*\}/s.exec(printed);
  assert(table, printed);
  return table[0];
}

const users = `
[[user]]
name = "ann"
password = ${hashed('secret of ann')}
roles = ["feeder"]

[[user]]
name = "bob"
password = ${hashed('pässwörd: of bob')}
`;
const rules = `
[[access]]
destination = "/topic/private.>"
subscribe = ["user:ann"]
send = ["user:ann"]

[[access]]
destination = "/topic/prices.>"
subscribe = ["*"]
send = ["role:feeder"]

[[access]]
destination = ">"
subscribe = ["user:*"]
send = ["user:*"]
`;

let closed;
let open;
let bare;
before(async () => {
  closed = await start(`[[listen]]\naddress = "127.0.0.1:0"\nanonymous = false\n${users}`);
  open = await start(`[[listen]]\naddress = "127.0.0.1:0"\n${users}${rules}`);
  bare = await start();
});
after(() => Promise.all([closed, open, bare].map((gateway) => gateway?.stop())));

const ann = { login: 'ann', passcode: 'secret of ann' };
const bob = { login: 'bob', passcode: 'pässwörd: of bob' };
const basic = ({ login, passcode }) => `Basic ${Buffer.from(`${login}:${passcode}`).toString('base64')}`;

test('STOMP: a good login is accepted, and named', async (t) => {
  for (const connectHeaders of [ann, bob]) {
    const peer = await peers(t, () => closed)({ connectHeaders });
    assert.equal((await peer.connected).headers['user-name'], connectHeaders.login);
    await peer.sync();
  }
});

const bad = [
  ['a wrong password', { login: 'ann', passcode: 'xyzzy' }],
  ['another’s password', { login: 'ann', passcode: bob.passcode }],
  ['an unknown user', { login: 'eve', passcode: 'xyzzy' }],
  ['no password', { login: 'ann' }],
  ['an empty name', { login: '', passcode: '' }],
  ['nothing', {}],
];
for (const [rule, connectHeaders] of bad) {
  test(`STOMP: ${rule} is refused with an ERROR`, async () => {
    await assert.rejects(Peer.open(closed, { connectHeaders }), /ERROR login refused/);
    const tcp = await Tcp.open(closed);
    const headers = Object.entries(connectHeaders).map(([name, value]) => `${name}:${value}`);
    const error = await tcp.connect(...headers);
    assert.equal(error.command, 'ERROR');
    assert.ok(!error.body.includes(connectHeaders.passcode || 'never'), error.body);
    await tcp.rest();
  });
}

test('where anonymous logins are accepted, wrong credentials fail all the same', async (t) => {
  await (await peers(t, () => open)()).close();
  await assert.rejects(Peer.open(open, { connectHeaders: { login: 'ann', passcode: 'xyzzy' } }), /login refused/);
});

test('without users credentials are ignored', async (t) => {
  await (await peers(t, () => bare)({ connectHeaders: { login: 'any', passcode: 'thing' } })).sync();
  const response = await request(bare, '/topics/a', { method: 'POST', body: 'x', headers: { authorization: basic(ann) } });
  assert.ok(response.status < 300, response.text);
});

test('HTTP Basic on the upgrade counts for the session', async (t) => {
  const peer = await peers(t, () => closed)({ headers: { authorization: basic(ann) } });
  assert.equal((await peer.connected).headers['user-name'], 'ann');
  const wrong = await refusal(closed.ws('/messaging'), ['v12.stomp'], {
    headers: { authorization: basic({ login: 'ann', passcode: 'xyzzy' }) },
  });
  assert.equal(wrong.status, 401);
  assert.match(wrong.headers['www-authenticate'], /^Basic realm=/i);
});

test('HTTP Basic on services without a log-in of their own', async (t) => {
  const none = await refusal(closed.ws('/echo'));
  assert.equal(none.status, 401);
  const socket = await Socket.open(closed.ws('/echo'), [], { headers: { authorization: basic(bob) } });
  t.after(() => socket.terminate());
  socket.send('x');
  assert.equal(await socket.next(), 'x');
});

const challenge = /^Basic realm="[^"]+", charset="UTF-8"$/;
/** Values of Authorization that are no name and password. */
const strange = [
  'Bearer abc',
  'Digest username="ann", realm="x"',
  'Negotiate YII=',
  'NTLM TlRMTVNTUAAB',
  'garbage',
  '',
  'Basic',
  'Basic !!!',
  'Basic YWJj',
  'Basically YTpi',
  ['Bearer abc', basic({ login: 'ann', passcode: 'no' })],
];

test('HTTP Basic on a POST', async () => {
  const post = (headers) => request(closed, '/topics/a', { method: 'POST', body: 'x', headers });
  assert.ok((await post({ authorization: basic(ann) })).status < 300);
  assert.ok((await post({ authorization: basic(ann).replace('Basic', 'bASIC') })).status < 300);
  const wrong = await post({ authorization: basic({ login: 'ann', passcode: 'no' }) });
  assert.equal(wrong.status, 401);
  assert.match(wrong.headers['www-authenticate'], challenge);
  assert.match(wrong.text, /login or password is wrong/);
  for (const authorization of [undefined, ...strange]) {
    const response = await post(authorization === undefined ? {} : { authorization });
    assert.equal(response.status, 401, `${authorization}`);
    assert.match(response.headers['www-authenticate'], challenge);
    assert.match(response.text, /^log in /);
    assert.doesNotMatch(response.text, /wrong/);
  }
});

test('what is no HTTP Basic is ignored where it is not needed', async (t) => {
  for (const authorization of strange) {
    const headers = { authorization };
    for (const gateway of [open, bare]) {
      const response = await request(gateway, '/', { headers });
      assert.ok(![400, 401].includes(response.status), `${authorization}: ${response.status} ${response.text}`);
    }
    assert.equal((await request(closed, '/healthz', { headers })).status, 200);
    assert.equal((await request(closed, '/readyz', { headers })).status, 200);
  }
  // STOMP's CONNECT decides, whatever a proxy adds to the handshake.
  for (const authorization of ['Bearer abc', 'Basic !!!']) {
    const peer = await peers(t, () => closed)({ headers: { authorization }, connectHeaders: ann });
    assert.equal((await peer.connected).headers['user-name'], 'ann');
    await assert.rejects(Peer.open(closed, { headers: { authorization } }), /login refused: log in: CONNECT needs/);
  }
});

test('many reconnects of one user do not wait for many hashes', async (t) => {
  const peer = await peers(t, () => closed)({ connectHeaders: ann });
  const begin = performance.now();
  for (let round = 0; round < 4; round += 1) {
    const tcps = await Promise.all(Array.from({ length: 50 }, () => Tcp.open(closed)));
    const replies = await Promise.all(tcps.map((tcp) => tcp.connect('login:ann', `passcode:${ann.passcode}`)));
    assert.ok(replies.every(({ command }) => command === 'CONNECTED'));
    for (const tcp of tcps) tcp.destroy();
  }
  t.diagnostic(`200 logins in ${Math.round(performance.now() - begin)} ms`);
  await peer.sync();
});

test('access rules: sending', async (t) => {
  const peersOf = peers(t, () => open);
  await (await peersOf({ connectHeaders: ann })).send('/topic/prices.a', 'x');
  await (await peersOf({ connectHeaders: bob })).send('/topic/other', 'x');
  for (const [options, destination] of [
    [{ connectHeaders: bob }, '/topic/prices.a'],
    [{}, '/topic/prices.a'],
    [{}, '/topic/other'],
    [{ connectHeaders: bob }, '/topic/private.a'],
  ]) {
    const peer = await Peer.open(open, options);
    peer.publish(destination, 'x');
    const error = await peer.errors.next();
    assert.equal(error.headers.message, 'not allowed', destination);
    await within(5000, 'the end', peer.closed);
  }
  const forbidden = await request(open, '/topics/prices.a', { method: 'POST', body: 'x', headers: { authorization: basic(bob) } });
  assert.equal(forbidden.status, 403);
});

test('access rules: subscribing, wildcards included', async (t) => {
  const peersOf = peers(t, () => open);
  const feeder = await peersOf({ connectHeaders: ann });
  const reader = await (await peersOf()).subscribe('/topic/prices.*');
  const topic = `/topic/prices.${unique()}`;
  await feeder.send(topic, 'x');
  assert.deepEqual(await reader.bodies(1), ['x']);
  await feeder.subscribe('/topic/private.>');
  for (const [options, destination] of [
    [{}, '/topic/private.a'],
    [{ connectHeaders: bob }, '/topic/private.*'],
    [{ connectHeaders: bob }, '/topic/>'],
    [{}, '/topic/other'],
  ]) {
    const peer = await Peer.open(open, options);
    peer.client.subscribe(destination, () => {});
    assert.equal((await peer.errors.next()).headers.message, 'not allowed', destination);
  }
});

test('access rules do not stand between a request and its reply', async (t) => {
  const peersOf = peers(t, () => open);
  const [client, server] = [await peersOf({ connectHeaders: ann }), await peersOf({ connectHeaders: bob })];
  const queue = `/queue/${unique()}`;
  const requests = await server.subscribe(queue);
  const replies = await client.subscribe('/temp-queue/r');
  await client.send(queue, 'ping', { 'reply-to': '/temp-queue/r' });
  await server.send((await requests.next()).headers['reply-to'], 'pong');
  assert.deepEqual(await replies.bodies(1), ['pong']);
});

/** A line of the gateway's log, once it is there. */
async function logged(gateway, pattern) {
  let said = '';
  gateway.process.stderr.on('data', (data) => (said += data));
  return () => within(5000, `a line like ${pattern}`, (async () => {
    for (;;) {
      const found = said.split('\n').find((line) => pattern.test(line));
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })());
}

test('what is denied is in the log, and counted by rule', async () => {
  const gateway = await start(
    `[[listen]]\naddress = "127.0.0.1:0"\noperations = true\n${users}${rules.replace('destination = ">"', 'destination = "/topic/all.>"')}`,
  );
  try {
    const line = await logged(gateway, /access denied.*subscribe/);
    const closedLine = await logged(gateway, / closed .*forbidden/);
    const tcp = await Tcp.open(gateway);
    await tcp.connect('login:bob', `passcode:${bob.passcode}`);
    tcp.write('SUBSCRIBE\nid:1\ndestination:/topic/private.a"b\n\n\0');
    await tcp.rest();
    const denied = await line();
    assert.match(denied, /protocol="stomp" principal="bob" action="subscribe" destination="\/topic\/private\.a\\"b" rule="\/topic\/private\.>"/);
    assert.match(await closedLine(), /detail="SUBSCRIBE to .*not allowed for this user/);

    const posted = await logged(gateway, /access denied.*http/);
    const headers = { authorization: basic(ann) };
    assert.equal((await request(gateway, '/queues/other', { method: 'POST', body: 'x', headers })).status, 403);
    assert.match(await posted(), /principal="ann" action="send" destination="\/queue\/other" rule="none"/);
    const refused = await logged(gateway, /publication refused/);
    assert.equal((await request(gateway, '/queues/a..b', { method: 'POST', body: 'x', headers })).status, 400);
    assert.match(await refused(), /path="\/queues\/a\.\.b" principal="ann" status=400 detail="a destination/);

    const malformed = await logged(gateway, / closed .*malformed/);
    const broken = await Tcp.open(gateway);
    await broken.connect('login:ann', `passcode:${ann.passcode}`);
    broken.write('SEND\nno colon\n\n\0');
    await broken.rest();
    assert.match(await malformed(), /principal="ann" reason="malformed" detail=".*colon/);

    const { text } = await request(gateway, '/metrics');
    assert.match(text, /passerelle_access_denied_total\{rule="\/topic\/private\.>",action="subscribe"\} 1\n/);
    assert.match(text, /passerelle_access_denied_total\{rule="none",action="send"\} 1\n/);
  } finally {
    await gateway.stop();
  }
});
