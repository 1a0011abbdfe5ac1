// What an operator sees: checks of a configuration, health, metrics, logs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { Inbox } from './lib/wait.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

const passerelle = process.env.PASSERELLE;
const operations = fileURLToPath(new URL('../../../docs/operations', import.meta.url));
const run = (...args) => spawnSync(passerelle, args, { encoding: 'utf8', timeout: 10_000 });

let gateway;
const lines = new Inbox('a line of the log');
const logged = [];
before(async () => {
  gateway = await start('[log]\nformat = "json"\nlevel = "info"\n');
  let rest = '';
  gateway.process.stderr.on('data', (data) => {
    const parts = (rest + data).split('\n');
    rest = parts.pop();
    for (const part of parts) {
      logged.push(part);
      lines.push(part);
    }
  });
});
after(() => gateway?.stop());

/** A metric's samples: `[labels, value]`. */
async function samples(name) {
  const { text } = await request(gateway, '/metrics');
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => [line.slice(name.length, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]);
}

const sum = (all, ...words) =>
  all.filter(([labels]) => words.every((word) => labels.includes(word))).reduce((total, [, value]) => total + value, 0);

/** Reads a metric until it is what it should be; counts are told a moment after the fact. */
async function eventually(what, read, good) {
  const begin = performance.now();
  for (;;) {
    const value = await read();
    if (good(value)) return;
    assert.ok(performance.now() - begin < 5000, `${what}: ${value}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('healthz and readyz', async () => {
  assert.equal((await request(gateway, '/healthz')).status, 200);
  assert.equal((await request(gateway, '/readyz')).status, 200);
});

test('check says what a configuration will do, or what is wrong with it and where', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'passerelle-check-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const check = (text) => {
    const file = join(folder, 'passerelle.toml');
    writeFileSync(file, text);
    const { status, stdout, stderr } = run('check', '--config', file);
    return { status, text: stdout + stderr, file };
  };
  const good = check('[[service]]\npath = "/e"\ntype = "echo"\n');
  assert.equal(good.status, 0, good.text);
  assert.match(good.text, /\/e\b/);
  assert.match(good.text, /echo/);

  const bad = [
    ['an unknown key', 'treads = 2\n', /:1:1: .*treads.*did you mean `threads`/],
    ['a wrong type', 'threads = "two"\n', /:1:11: /],
    ['bad TOML', '[[service\n', /:1:/],
    ['a service without a path', '\n[[service]]\ntype = "echo"\n', /:2:.*path/],
    ['an unknown type', '[[service]]\npath = "/"\ntype = "ecco"\n', /:3:8: .*echo/],
  ];
  for (const [rule, text, pattern] of bad) {
    const result = check(text);
    assert.notEqual(result.status, 0, rule);
    assert.ok(result.text.includes(result.file), `${rule}: ${result.text}`);
    assert.match(result.text, pattern, rule);
  }
  const missing = run('serve', '--config', join(folder, 'nothing.toml'));
  assert.notEqual(missing.status, 0);
  assert.match(missing.stderr, /nothing\.toml/);
});

test('a port that is in use is said to be', () => {
  const folder = mkdtempSync(join(tmpdir(), 'passerelle-port-'));
  const file = join(folder, 'passerelle.toml');
  writeFileSync(file, `[[listen]]\naddress = "${gateway.authority}"\n`);
  const { status, stderr } = run('serve', '--config', file);
  rmSync(folder, { recursive: true });
  assert.notEqual(status, 0);
  assert.ok(stderr.includes(gateway.authority), stderr);
  assert.match(stderr, /another program uses port/);
});

test('metrics count connections, messages and bytes by protocol and service', async (t) => {
  const peer = await peers(t, () => gateway)();
  const topic = `/topic/${unique()}`;
  const subscription = await peer.subscribe(topic);
  const socket = await Socket.open(gateway.ws('/echo'));
  const value = async (name, ...words) => sum(await samples(name), ...words);
  await eventually('open STOMP connections', () => value('passerelle_connections_open', '"stomp"', '"/messaging"'), (n) => n >= 1);
  await eventually('open echo connections', () => value('passerelle_connections_open', '"websocket"', '"/echo"'), (n) => n === 1);

  const before = await value('passerelle_messages_received_total', '"stomp"');
  for (let i = 0; i < 10; i += 1) await peer.send(topic, 'x');
  await subscription.bodies(10);
  await eventually('messages in', () => value('passerelle_messages_received_total', '"stomp"'), (n) => n - before >= 10);
  await eventually('bytes out', () => value('passerelle_bytes_sent_total', '"stomp"'), (n) => n > 0);

  socket.send('x');
  await socket.next();
  socket.ws.close();
  await socket.end();
  await eventually('no echo connection', () => value('passerelle_connections_open', '"websocket"', '"/echo"'), (n) => n === 0);
});

test('metrics tell the depth of queues and count refusals', async (t) => {
  const peer = await peers(t, () => gateway)();
  const name = unique('depth');
  for (let i = 0; i < 7; i += 1) await peer.send(`/queue/${name}`, 'x');
  await eventually('the depth', async () => sum(await samples('passerelle_queue_ready'), name), (n) => n === 7);
  const before = sum(await samples('passerelle_refusals_total'), '"origin"');
  await refusal(gateway.ws('/echo'), [], { origin: 'https://evil.example.com' });
  await eventually('refusals', async () => sum(await samples('passerelle_refusals_total'), '"origin"'), (n) => n === before + 1);
});

test('metrics are in the format of Prometheus', async () => {
  const { headers, text } = await request(gateway, '/metrics');
  assert.match(headers['content-type'], /^(text\/plain; version=0\.0\.4|application\/openmetrics-text)/);
  for (const line of text.split('\n')) {
    assert.match(line, /^($|# (HELP|TYPE|UNIT|EOF)|[a-z_:][a-z0-9_:]*(\{[^}]*\})? -?[0-9.e+]+(nan|inf)?$)/i, line);
  }
});

test('promtool has no complaint about the metrics, the alerts and their tests', async () => {
  const promtool = (args, options) => {
    const { error, status, stdout, stderr } = spawnSync('promtool', args, { encoding: 'utf8', timeout: 20_000, ...options });
    assert(!error, `promtool is needed (apt-get install prometheus): ${error}`);
    assert.equal(status, 0, `promtool ${args.join(' ')}:\n${stdout}${stderr}`);
    return stdout + stderr;
  };
  const { text } = await request(gateway, '/metrics');
  assert.equal(promtool(['check', 'metrics'], { input: text }), '');
  promtool(['check', 'rules', 'alerts.yml'], { cwd: operations });
  promtool(['test', 'rules', 'alerts.test.yml'], { cwd: operations });
});

test('the alerts and the dashboard name metrics that there are', async (t) => {
  const gateway = await start(`
    [[listen]]\naddress = "127.0.0.1:0"\noperations = true
    [[service]]\npath = "/messaging"\ntype = "broker"
    [[service]]\npath = "/queues"\ntype = "queues"
    [[service]]\npath = "/proxy"\ntype = "proxy"\nconnect = "tcp://127.0.0.1:1"
    [store]\npath = "store"\n`);
  t.after(() => gateway.stop());
  await request(gateway, '/queues/kept', { method: 'POST', headers: { persistent: 'true' }, body: 'x' });
  const { text } = await request(gateway, '/metrics');
  const there = new Set(Array.from(text.matchAll(/^# TYPE (\S+)/gm), ([, name]) => name));
  for (const file of ['alerts.yml', 'dashboard.json']) {
    const named = new Set(readFileSync(join(operations, file), 'utf8').match(/\b(?:passerelle|process)_[a-z_]+/g));
    assert(named.size > 10, `${file} names ${[...named]}`);
    assert.deepEqual([...named].filter((name) => !there.has(name)), [], file);
  }
});

test('a line of the log when a connection opens and one when it closes, with the reason', async (t) => {
  const peer = await peers(t, () => gateway)();
  await peer.sync();
  const socket = await Socket.open(gateway.ws('/echo'));
  socket.send('x');
  await socket.next();
  socket.ws.close();
  await socket.end();
  await peer.close();
  const wanted = [/"\/echo"/, /"\/messaging"/];
  const begin = performance.now();
  while (wanted.some((path) => !logged.some((line) => path.test(line) && /normal/.test(line)))) {
    assert.ok(performance.now() - begin < 5000, logged.join('\n'));
    await lines.next();
  }
  const closed = logged.find((line) => /"\/messaging"/.test(line) && /normal/.test(line));
  assert.match(closed, /anonymous/);
  assert.match(closed, /stomp/);
  for (const line of logged) JSON.parse(line);
});

test('the line at the end counts each message once', async () => {
  for (const messages of [5, 9]) {
    const peer = await Peer.open(gateway);
    // With CONNECT and DISCONNECT; each is answered.
    for (let i = 0; i < messages - 2; i += 1) await peer.sync();
    await peer.close();
    const counted = new RegExp(`"closed".*"messages_in":${messages},"messages_out":${messages},`);
    const begin = performance.now();
    while (!logged.some((line) => counted.test(line))) {
      assert.ok(performance.now() - begin < 5000, logged.join('\n'));
      await lines.next();
    }
  }
});
