// The drafts of 2011: hybi-06 (version 6) with frames of its own, and version 8 with today's.
// Each conversation is held with the gateway, and with a server by others that speaks draft 6.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { secure, start } from './lib/gateway.mjs';
import { Raw } from './lib/raw.mjs';
import { within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

let gateway;
let oracle;
before(async () => {
  // Clients of 2011 sent the host pmx here, which must be among the names.
  gateway = await start('[[listen]]\naddress = "127.0.0.1:0"\nnames = ["pmx"]\n');
  const ruby = spawn('ruby', [fileURLToPath(new URL('oracle.rb', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const line = once(ruby.stdout, 'data');
  line.catch(() => {});
  ruby.once('error', () => {});
  const [data] = await within(10_000, 'ruby with em-websocket (apt-get install ruby-em-websocket)', line);
  oracle = { port: Number(String(data).split(' ').pop()), process: ruby };
});
after(async () => {
  await gateway?.stop();
  oracle?.process.kill();
});

const CONTINUATION = 0;
const CLOSE = 1;
const PING = 2;
const PONG = 3;
const TEXT = 4;
const BINARY = 5;

/** A client's frame: a key, then the frame, header included, masked with it. */
function frame(opcode, payload, { last = true, key = randomBytes(4) } = {}) {
  const bytes = Buffer.from(payload);
  let head;
  if (bytes.length < 126) head = Buffer.from([bytes.length]);
  else if (bytes.length < 1 << 16) head = Buffer.from([126, bytes.length >> 8, bytes.length & 255]);
  else {
    head = Buffer.alloc(9, 127);
    head.writeBigUInt64BE(BigInt(bytes.length), 1);
  }
  const plain = Buffer.concat([Buffer.from([(last ? 0x80 : 0) | opcode]), head, bytes]);
  return Buffer.concat([key, plain.map((byte, i) => byte ^ key[i % 4])]);
}

/** The next frame of the server, which is not masked. */
async function next(raw) {
  const [first, second] = await raw.bytes(2);
  let length = second & 127;
  if (length === 126) length = (await raw.bytes(2)).readUInt16BE();
  else if (length === 127) length = Number((await raw.bytes(8)).readBigUInt64BE());
  return { last: first >= 0x80, opcode: first & 15, payload: await raw.bytes(length) };
}

/** The next message of the server, put together of its frames. */
async function message(raw) {
  const first = await next(raw);
  let { payload, last } = first;
  while (!last) {
    const more = await next(raw);
    assert.equal(more.opcode, CONTINUATION);
    payload = Buffer.concat([payload, more.payload]);
    last = more.last;
  }
  return { opcode: first.opcode, payload };
}

const request = (path, key = 'x3JJHMbDL1EzLkh9GBhXDw==') =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: pmx',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 6',
    `Sec-WebSocket-Origin: ${secure ? 'https' : 'http'}://pmx`,
    'Sec-WebSocket-Extensions: deflate-stream',
    `Sec-WebSocket-Key: ${key}`,
    '',
    '',
  ].join('\r\n');

async function open(t, server, path = '/echo') {
  const raw = await Raw.open(server);
  t.after(() => raw.destroy());
  raw.write(request(path));
  const head = (await raw.until('\r\n\r\n')).toString();
  return { raw, head };
}

test('the handshake of 2011 is answered as it was', async (t) => {
  for (const path of ['/echo', '/broadcast', '/messaging']) {
    const { head } = await open(t, gateway, path);
    const [status, ...headers] = head.trimEnd().split('\r\n');
    assert.equal(status, 'HTTP/1.1 101 Switching Protocols');
    const values = Object.fromEntries(
      headers.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
    );
    assert.equal(values.upgrade, 'websocket');
    assert.equal(values.connection, 'Upgrade');
    assert.equal(values['sec-websocket-accept'], 'HSmrc0sMlYUkAGmm5OPpG2HaGWk=');
    assert.equal(values['sec-websocket-extensions'], undefined);
  }
});

for (const [name, server] of [['the gateway', () => gateway], ['em-websocket', () => oracle]]) {
  test(`${name}: text of every length`, async (t) => {
    const { raw } = await open(t, server());
    for (const length of [0, 1, 125, 126, 127, 1000, 65_535, 65_536, 200_000]) {
      const text = 'aé'.repeat(length).slice(0, length);
      raw.write(frame(TEXT, text));
      const back = await message(raw);
      assert.equal(back.opcode, TEXT);
      assert.equal(back.payload.toString(), text, `${length}`);
    }
  });

  test(`${name}: a message in pieces, with a ping between`, async (t) => {
    const { raw } = await open(t, server());
    raw.write(frame(TEXT, 'one ', { last: false }));
    raw.write(frame(PING, 'alive'));
    const pong = await next(raw);
    assert.equal(pong.opcode, PONG);
    assert.equal(pong.payload.toString(), 'alive');
    raw.write(frame(CONTINUATION, 'two'));
    assert.equal((await message(raw)).payload.toString(), 'one two');
  });

  test(`${name}: close is answered by close`, async (t) => {
    const { raw } = await open(t, server());
    raw.write(frame(CLOSE, ''));
    assert.equal((await next(raw)).opcode, CLOSE);
    await raw.rest();
  });
}

test('a message may have many pieces', async (t) => {
  const { raw } = await open(t, gateway);
  raw.write(frame(TEXT, '0', { last: false }));
  for (let i = 1; i < 100; i += 1) raw.write(frame(CONTINUATION, ` ${i}`, { last: i === 99 }));
  assert.equal((await message(raw)).payload.toString(), [...Array(100).keys()].join(' '));
});

test('bytes stay bytes', async (t) => {
  const { raw } = await open(t, gateway);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  raw.write(frame(BINARY, bytes));
  const back = await message(raw);
  assert.equal(back.opcode, BINARY);
  assert.deepEqual(back.payload, bytes);
});

test('frames may come byte by byte', async (t) => {
  const { raw } = await open(t, gateway);
  raw.socket.setNoDelay(true);
  for (const byte of frame(TEXT, 'slowly')) {
    raw.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await message(raw)).payload.toString(), 'slowly');
});

test('a client of 2011 and one of today meet on the broadcast', async (t) => {
  const { raw } = await open(t, gateway, '/broadcast');
  const socket = await Socket.open(gateway.ws('/broadcast'));
  t.after(() => socket.terminate());
  raw.write(frame(TEXT, 'from 2011'));
  assert.equal(await socket.next(), 'from 2011');
  assert.equal((await message(raw)).payload.toString(), 'from 2011');
  socket.send('from today');
  assert.equal((await message(raw)).payload.toString(), 'from today');
});

test('text that is not UTF-8, and an unknown opcode, end the connection', async (t) => {
  for (const bad of [frame(TEXT, Buffer.from([0xff, 0xfe])), frame(9, 'x')]) {
    const { raw } = await open(t, gateway);
    raw.write(bad);
    assert.equal((await next(raw)).opcode, CLOSE);
    await raw.rest();
  }
});

test('a host that is not among the names is told so', async (t) => {
  const raw = await Raw.open(gateway);
  t.after(() => raw.destroy());
  raw.write(request('/echo').replace('Host: pmx', 'Host: pmy'));
  const head = (await raw.until('\r\n\r\n')).toString();
  assert.match(head, /^HTTP\/1\.1 421 /);
});

test('Sec-WebSocket-Origin must be the page’s own host', async (t) => {
  const raw = await Raw.open(gateway);
  t.after(() => raw.destroy());
  raw.write(request('/echo').replace(/https?:\/\/pmx/, 'http://evil.example.com'));
  assert.match((await raw.until('\r\n')).toString(), /^HTTP\/1\.1 403 /);
});

test('version 8 speaks today’s framing', async (t) => {
  const socket = await Socket.open(gateway.ws('/echo'), [], { protocolVersion: 8, perMessageDeflate: false });
  t.after(() => socket.terminate());
  for (const message of ['hello', Buffer.from([1, 2, 3])]) {
    socket.send(message);
    assert.deepEqual(await socket.next(), message);
  }
  socket.ws.close(1000);
  assert.equal((await socket.end())[0], 1000);
});

test('other versions are told which are spoken', async (t) => {
  for (const version of ['0', '7', '9', '14', '255']) {
    const raw = await Raw.open(gateway);
    t.after(() => raw.destroy());
    raw.write(request('/echo').replace('Version: 6', `Version: ${version}`));
    const head = (await raw.until('\r\n\r\n')).toString();
    assert.match(head, /^HTTP\/1\.1 426 /, version);
    assert.match(head, /\r\nupgrade: websocket\r\n/i);
    assert.match(head, /\r\nsec-websocket-version: 13, 8, 6\r\n/i);
  }
});
