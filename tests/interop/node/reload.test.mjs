// Users and rules that change while connections last: SIGHUP, and accounts that end by themselves.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

/** What `passerelle password` prints for a password. */
function hashed(password) {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: `${password}\n`, encoding: 'utf8' });
  return /\{.*\}/s.exec(printed)[0];
}

const secret = hashed('secret');
const user = (name, more = '') => `\n[[user]]\nname = "${name}"\npassword = ${secret}\n${more}`;
const rule = (destination, subscribe, send = '["*"]') =>
  `\n[[access]]\ndestination = "${destination}"\nsubscribe = ${subscribe}\nsend = ${send}\n`;
const login = (name, passcode = 'secret') => ({ connectHeaders: { login: name, passcode } });
const basic = (name) => ({ authorization: `Basic ${Buffer.from(`${name}:secret`).toString('base64')}` });

/** A gateway whose configuration a test changes. */
async function gatewayWith(t, config) {
  const gateway = await start(`[[listen]]\naddress = "127.0.0.1:0"\n${config}`);
  t.after(() => gateway.stop());
  let said = '';
  gateway.process.stderr.on('data', (data) => (said += data));
  /** What the log says from now on, up to and with what this matches. */
  gateway.logged = (pattern) => {
    const from = said.length;
    return within(5000, `a line like ${pattern}`, (async () => {
      for (;;) {
        const lines = said.slice(from);
        if (pattern.test(lines)) return lines;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })());
  };
  /** Writes the file anew and sends SIGHUP; what the log says to that. */
  gateway.change = async (change) => {
    const file = join(gateway.folder, 'passerelle.toml');
    await writeFile(file, change(await readFile(file, 'utf8')));
    const lines = gateway.logged(/reload ended/);
    gateway.process.kill('SIGHUP');
    return lines;
  };
  return gateway;
}

/** How a session ends: its ERROR, and the code of the WebSocket. */
async function ended(peer) {
  const [error, event] = await Promise.all([peer.errors.next(), within(5000, 'the end', peer.closed)]);
  return { message: error.headers.message, body: error.body, code: event.code };
}

test('a user who is removed, or has another password, loses its connections', async (t) => {
  const gateway = await gatewayWith(t, user('ann') + user('bob') + user('cid'));
  const [ann, again, bob, cid] = await Promise.all(
    ['ann', 'ann', 'bob', 'cid'].map((name) => Peer.open(gateway, login(name))),
  );
  const echo = await Socket.open(gateway.ws('/echo'), [], { headers: basic('ann') });
  const anonymous = await Peer.open(gateway);
  t.after(() => Promise.all([cid, anonymous].map((peer) => peer.close())));

  await gateway.change((text) => text.replace(user('ann'), '').replace(user('bob'), user('bob').replace(secret, hashed('new'))));
  for (const peer of [ann, again, bob]) {
    const end = await ended(peer);
    assert.deepEqual([end.message, end.code], ['login ended', 3000]);
    assert.match(end.body, /user was removed or its password was changed/);
  }
  const [code, reason] = await echo.end();
  assert.equal(code, 3000);
  assert.match(reason, /user was removed/);
  await Promise.all([cid.sync(), anonymous.sync()]);

  await assert.rejects(Peer.open(gateway, login('ann')), /login refused/);
  await assert.rejects(Peer.open(gateway, login('bob')), /login refused/);
  await (await Peer.open(gateway, login('bob', 'new'))).close();
  assert.equal((await refusal(gateway.ws('/echo'), [], { headers: basic('ann') })).status, 401);
});

test('rules that change end what they do not allow any more, and nothing else', async (t) => {
  const before = rule('/topic/secret', '["role:reader"]') + rule('>', '["*"]');
  const gateway = await gatewayWith(t, user('ann', 'roles = ["reader"]\n') + user('bob', 'roles = ["reader"]\n') + before);
  const [ann, bob, anonymous] = await Promise.all([Peer.open(gateway, login('ann')), Peer.open(gateway, login('bob')), Peer.open(gateway)]);
  await anonymous.subscribe('/topic/open');
  await anonymous.subscribe('/queue/open');
  await ann.subscribe('/topic/secret');
  const heard = await bob.subscribe('/topic/secret');

  // The role of one, and nothing of the rules.
  const denied = gateway.logged(/access denied.*\n/);
  await gateway.change((text) => text.replace('roles = ["reader"]\n', 'roles = ["other"]\n'));
  const end = await ended(ann);
  assert.equal(end.message, 'not allowed');
  assert.match(end.body, /subscription .* was ended: not allowed for this user/);
  assert.match(await denied, /principal="ann" action="subscribe" destination="\/topic\/secret" rule="\/topic\/secret"/);
  await bob.send('/topic/secret', 'for readers');
  assert.deepEqual(await heard.bodies(1), ['for readers']);

  // The rules of all: what is sent later is checked by them.
  await gateway.change((text) => text.replace(before, rule('/topic/secret', '["role:reader"]', '[]') + rule('/topic/open', '["*"]') + rule('>', '["user:*"]')));
  assert.match((await ended(anonymous)).body, /was ended: not allowed/);
  await assert.rejects(bob.send('/topic/secret', 'x'), /closed before/);
  assert.equal((await request(gateway, '/topics/secret', { method: 'POST', body: 'x', headers: basic('bob') })).status, 403);
});

test('a configuration that is wrong changes nothing, and the log says why', async (t) => {
  const gateway = await gatewayWith(t, user('ann') + rule('>', '["*"]'));
  const ann = await Peer.open(gateway, login('ann'));
  t.after(() => ann.close());
  const kept = /users and access rules not reloaded: the old ones stay/;
  const broken = [
    [(text) => text.replace('name = "ann"', 'title = "ann"'), /unknown key `title` in \[\[user\]\]/],
    [(text) => `${text}\n[[access]]\ndestination = "/topic/a"\nsend = ["user:eve"]\n`, /this rule never decides/],
    [() => 'threads = ', /passerelle\.toml:1:/],
  ];
  const file = join(gateway.folder, 'passerelle.toml');
  const good = await readFile(file, 'utf8');
  for (const [change, why] of broken) {
    const lines = await gateway.change(() => change(good));
    assert.match(lines, kept);
    assert.match(lines, why);
    await ann.sync();
    await (await Peer.open(gateway, login('ann'))).close();
  }
  await gateway.change(() => good);
  await ann.sync();
});

test('what is for the next start only is named', async (t) => {
  const gateway = await gatewayWith(t, user('ann'));
  const more = '\n[limits]\nsubscriptions-max = 7\n\n[shutdown]\ngrace = "3s"\n';
  assert.match(await gateway.change((text) => text + more), /not applied: restart to apply.*\[limits\].*\[shutdown\]/);
  // Lines that only move are no change.
  const lines = await gateway.change((text) => `\n# moved\n${text.replace(more, '')}`);
  assert.match(lines, /users and access rules reloaded/);
  assert.doesNotMatch(lines, /not applied/);
});

test('an account ends by itself, unless it is prolonged', async (t) => {
  const soon = new Date(Date.now() + 3000).toISOString();
  const gateway = await gatewayWith(t, user('guest', `expires = ${soon}\n`) + user('longer', `expires = ${soon}\n`) + user('over', 'expires = 2020-01-01T00:00:00Z\n'));
  const [guest, longer] = await Promise.all(['guest', 'longer'].map((name) => Peer.open(gateway, login(name))));
  t.after(() => longer.close());
  const echo = await Socket.open(gateway.ws('/echo'), [], { headers: basic('guest') });
  await assert.rejects(Peer.open(gateway, login('over')), /login refused: .*the login has expired/);
  await gateway.change((text) => text.replace(user('longer', `expires = ${soon}\n`), user('longer', 'expires = 2100-01-01T00:00:00Z\n')));

  const end = await ended(guest);
  assert.deepEqual([end.message, end.body, end.code], ['login ended', 'the login has expired', 3000]);
  assert.deepEqual(await echo.end(), [3000, 'the login has expired']);
  assert.ok(Date.now() >= Date.parse(soon), 'not before its time');
  await longer.sync();
  const post = await request(gateway, '/topics/a', { method: 'POST', body: 'x', headers: basic('guest') });
  assert.deepEqual([post.status, post.text.trim()], [401, 'the login has expired']);
});
