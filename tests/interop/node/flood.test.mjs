// Floods of wrong passwords, and who logs in meanwhile.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { after, beforeEach, test } from 'node:test';
import { connect as connectSecure } from 'node:tls';
import WebSocket from 'ws';
import { secure, start } from './lib/gateway.mjs';
import { within } from './lib/wait.mjs';

const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: 'secret\n', encoding: 'utf8' });
const hash = /\{.*\}/s.exec(printed)[0];
const names = ['ann', 'bob', 'cyd', 'dan'];
const users = names.map((name) => `[[user]]\nname = "${name}"\npassword = ${hash}\n`).join('\n');

let gateway;
let said = '';
beforeEach(async () => {
  await gateway?.stop();
  gateway = await start(`[[listen]]\naddress = "127.0.0.1:0"\nanonymous = false\n\n${users}`);
  said = '';
  gateway.process.stderr.on('data', (data) => (said += data));
});
after(() => gateway?.stop());

/** POSTs from a loopback address. Resolves with the status, or 0 when there was no response. */
function post(name, password, localAddress = '127.0.0.1') {
  return new Promise((resolve) => {
    const request = (secure ? https : http).request(
      {
        host: '127.0.0.1',
        port: gateway.port,
        localAddress,
        path: '/topics/a',
        method: 'POST',
        agent: false,
        auth: `${name}:${password}`,
        timeout: 60_000,
      },
      (response) => response.resume().on('end', () => resolve(response.statusCode)),
    );
    request.on('error', () => resolve(0));
    request.on('timeout', () => request.destroy());
    request.end('x');
    posted.push(request);
  });
}
const posted = [];
const hangUp = () => {
  for (const request of posted.splice(0)) request.destroy();
};

const address = (number) => `127.1.${number >> 8}.${(number & 255) || 255}`;

// The rule; the name, password and address of each guess.
const floods = [
  ['one name from one address', (n) => ['ann', `guess ${n}`, '127.0.0.1']],
  ['many names from one address', (n) => [`user ${n}`, 'guess', '127.0.0.1']],
  ['one name from 20 addresses', (n) => ['ann', `guess ${n}`, address(n % 20)]],
  ['many names from 20 addresses', (n) => [`user ${n}`, 'guess', address(n % 20)]],
  ['the same password all the time', () => ['ann', 'guess', '127.0.0.1']],
];
for (const [rule, guess] of floods) {
  test(`a flood of wrong passwords does not lock out others: ${rule}`, async (t) => {
    // Remembered before the flood, at the flood's own address.
    assert.equal(await post('bob', 'secret'), 204);
    const flood = Array.from({ length: 1000 }, (_, n) => post(...guess(n)));
    await new Promise((resolve) => setTimeout(resolve, 500));
    const took = [];
    for (const [name, from] of [
      ['ann', '127.9.9.1'],
      ['cyd', '127.9.9.2'],
      ['bob', '127.0.0.1'],
      ['dan', '127.9.9.1'],
    ]) {
      const begin = performance.now();
      assert.equal(await within(10_000, `${name} from ${from}`, post(name, 'secret', from)), 204);
      took.push(Math.round(performance.now() - begin));
    }
    t.diagnostic(`logged in after ${took.join(', ')} ms`);
    hangUp();
    const statuses = await Promise.all(flood);
    assert.ok(statuses.every((status) => [0, 401, 503].includes(status)), `${[...new Set(statuses)]}`);
  });
}

const frame = (n) => `CONNECT\naccept-version:1.2\nhost:a\nlogin:ann\npasscode:guess ${n}\n\n\0`;
const request = (n) =>
  `POST /topics/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic ${btoa(`ann:guess ${n}`)}\r\nContent-Length: 1\r\n\r\nx`;
/** Connects from a loopback address: over TCP, or over TLS. */
const open = (localAddress) =>
  new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: gateway.port, localAddress, allowHalfOpen: true };
    const socket = secure ? connectSecure(options) : connect(options);
    socket.once('error', reject);
    socket.once(secure ? 'secureConnect' : 'connect', () => resolve(socket));
  });
const openWebSocket = (localAddress) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(gateway.ws('/messaging'), ['v12.stomp'], { localAddress });
    socket.once('error', reject);
    socket.once('open', () => resolve(socket));
  });
const written = (socket, bytes) => new Promise((resolve) => socket.write(bytes, resolve));
/** How peers leave: they are opened, send a login, and go. */
const leavers = [
  ['a WebSocket', openWebSocket, (socket, n) => socket.send(frame(n), () => socket.terminate())],
  ['STOMP over TCP', open, (socket, n) => written(socket, frame(n)).then(() => socket.destroy())],
  ['HTTP', open, (socket, n) => written(socket, request(n)).then(() => socket.destroy())],
];
if (!secure) {
  leavers.push(
    ['STOMP over TCP, by a reset', open, (socket, n) => written(socket, frame(n)).then(() => socket.resetAndDestroy())],
    ['HTTP, by a reset', open, (socket, n) => written(socket, request(n)).then(() => socket.resetAndDestroy())],
  );
}
for (const [way, opened, leave] of leavers) {
  test(`a login of a peer that has gone is not checked: ${way}`, async (t) => {
    // Each from an address of its own, so that none waits for another's delay.
    const sockets = await Promise.all(Array.from({ length: 150 }, (_, n) => opened(address(n))));
    for (const [n, socket] of sockets.entries()) {
      leave(socket, n);
    }
    assert.equal(await within(10_000, 'a login', post('cyd', 'secret')), 204);
    // All that is still checked would be by then.
    assert.equal(await within(10_000, 'a login', post('bob', 'secret')), 204);
    const checked = said.split('login failed').length - 1;
    t.diagnostic(`${checked} of 150 were checked`);
    assert.ok(checked < 100, `${checked} were checked`);
  });
}

test('a peer that closes its side only is told the outcome of its login', async () => {
  for (const [bytes, expected] of [
    [frame(1), /^ERROR/],
    [frame(1).replace('guess 1', 'secret'), /^CONNECTED/],
    [request(1), /^HTTP\/1.1 401/],
    [request(1).replace(btoa('ann:guess 1'), btoa('bob:secret')), /^HTTP\/1.1 204/],
  ]) {
    const socket = await open('127.0.0.1');
    let reply = '';
    socket.on('data', (data) => (reply += data));
    socket.end(bytes);
    await within(10_000, 'the end', new Promise((resolve) => socket.once('end', resolve)));
    socket.destroy();
    assert.match(reply, expected);
  }
});

/** STOMP over TCP, or over TLS: sends CONNECT and resolves with the reply. */
function stomp(login, passcode, localAddress) {
  return new Promise((resolve, reject) => {
    const socket = (secure ? connectSecure : connect)({ host: '127.0.0.1', port: gateway.port, localAddress });
    socket.once('error', reject);
    socket.once('data', (data) => {
      resolve(data.toString());
      socket.destroy();
    });
    socket.write(`CONNECT\naccept-version:1.2\nhost:a\nlogin:${login}\npasscode:${passcode}\n\n\0`);
  });
}

test('STOMP: a flood of wrong passwords does not lock out others', async () => {
  const flood = Array.from({ length: 500 }, (_, n) => stomp('ann', `guess ${n}`, '127.0.0.1').catch(() => ''));
  await new Promise((resolve) => setTimeout(resolve, 300));
  const reply = await within(10_000, 'CONNECTED', stomp('ann', 'secret', '127.9.9.1'));
  assert.match(reply, /^CONNECTED/);
  const replies = await Promise.all(flood);
  assert.ok(replies.every((text) => text === '' || text.startsWith('ERROR')));
});

test('each failed login is a line that the filter in the documentation reads', async () => {
  const docs = await readFile(new URL('../../../docs/security.md', import.meta.url), 'utf8');
  const filter = /^failregex = (.*)$/m.exec(docs)[1].replace('<ADDR>', '(?<address>[0-9a-f.:]+)');
  const failed = new RegExp(filter);
  const tricky = 'x" \n2026-11-28T00:00:00Z  WARN login failed address=9.9.9.9 protocol=http attempts=1 name="\u001b[31m\r\u202e';
  for (const [name, from] of [
    ['ann', '127.0.0.2'],
    ['ünknown', '127.0.0.3'],
    [tricky, '127.0.0.4'],
    ['n'.repeat(5000), '127.0.0.5'],
  ]) {
    said = '';
    assert.equal(await post(name, 'xyzzy', from), 401);
    await within(5000, 'a line', (async () => {
      while (!/login failed.*\n/.test(said)) await new Promise((resolve) => setTimeout(resolve, 10));
    })());
    const lines = said.trimEnd().split('\n').filter((line) => line.includes('login failed'));
    assert.equal(lines.length, 1, said);
    // What fail2ban does with the time.
    const found = failed.exec(lines[0].replace(/^\S+/, ''));
    assert.equal(found?.groups.address, from, lines[0]);
    assert.ok(!said.includes('xyzzy'), said);
    assert.ok(lines[0].length < 600 && !/[\u0000-\u001f\u202e]/.test(lines[0]), lines[0]);
  }
});
