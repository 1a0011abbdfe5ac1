// Each limit, at a service where it is below the global one, at one that has the global one, and at
// one where it is above: the one that `check` prints is the one that holds.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { start } from './lib/gateway.mjs';
import { unique } from './lib/peer.mjs';
import { pause, within } from './lib/wait.mjs';
import { Socket } from './lib/websocket.mjs';

/** The limits, and their values below, globally and above. Bytes are numbers, times are strings. */
const LIMITS = {
  'message-bytes-max': [20_000, 100_000, 3_000_000],
  'fragments-max': [4, 16, 20_000],
  'header-bytes-max': [500, 1_000, 40_000],
  'headers-max': [4, 10, 300],
  'login-timeout': ['500ms', '1s', '3s'],
  'assembly-timeout': ['500ms', '1s', '3s'],
  'ping-interval': ['500ms', '1s', '3s'],
  'write-timeout': ['500ms', '1s', '20s'],
  'subscriptions-max': [5, 10, 3_000],
  'pattern-bytes-max': [1_000, 2_000, 400_000],
  'temporary-max': [3, 5, 300],
  'prefetch-max': [3, 5, 2_000],
  'prefetch-default': [2, 4, 1_500],
  'transactions-max': [2, 4, 40],
  'transaction-operations-max': [5, 10, 20_000],
  'transaction-bytes-max': [200_001, 2_000_001, 16_000_001],
  'heartbeat-min': ['2s', '3s', '30s'],
  'heartbeat-offer': ['10s', '20s', '90s'],
};
const PATHS = ['/below', '/global', '/above'];

const at = (index) =>
  Object.entries(LIMITS)
    .map(([key, values]) => `${key} = ${JSON.stringify(values[index])}\n`)
    .join('');
const service = (path, limits) => `[[service]]\npath = "${path}"\ntype = "broker"\n${limits}\n`;
const config = `[limits]\n${at(1)}queue-messages-max = 1000000\n${service('/global', '')}${service('/below', `[service.limits]\n${at(0)}`)}${service('/above', `[service.limits]\n${at(2)}`)}`;

let gateway;
before(async () => (gateway = await start(config)));
after(() => gateway?.stop());

const millis = (time) => (time.endsWith('ms') ? Number.parseInt(time) : Number.parseInt(time) * 1000);

/** A STOMP connection whose frames are sent as they are given; one frame comes with each message. */
async function open(t, path, headers = '') {
  const socket = await Socket.open(gateway.ws(path), ['v12.stomp'], { perMessageDeflate: false });
  t.after(() => socket.terminate());
  socket.send(`CONNECT\naccept-version:1.2\nhost:/\n${headers}\n\0`);
  socket.connected = await next(socket);
  assert.match(socket.connected, /^CONNECTED/);
  return socket;
}

/** The next message that is no heart-beat. */
async function next(socket) {
  for (;;) {
    const message = String(await socket.next(20_000));
    if (message !== '\n') return message;
  }
}

/** Waits until all that was sent has been carried out. */
async function sync(socket) {
  const receipt = unique();
  socket.send(`SEND\ndestination:/topic/sync\nreceipt:${receipt}\n\n\0`);
  assert.match(await next(socket), new RegExp(`^RECEIPT\nreceipt-id:${receipt}\n`));
}

/** What is sent so often as the limit says is taken, once more is refused. */
function counted(frame, named) {
  return async (t, path, max) => {
    const socket = await open(t, path);
    for (let i = 0; i < max; i += 1) socket.send(frame(i));
    await sync(socket);
    socket.send(frame(max));
    const message = await next(socket);
    assert.match(message, /^ERROR/);
    assert.match(message, named ?? new RegExp(`at most ${max} `));
  };
}

/** What has as many bytes as the limit says is taken, what has more is refused. */
function sized(frame, named) {
  return async (t, path, max) => {
    const socket = await open(t, path);
    for (const part of frame(max)) socket.send(part);
    await sync(socket);
    for (const part of frame(max + 1)) socket.send(part);
    const message = await next(socket);
    assert.match(message, /^ERROR/);
    assert.match(message, named(max));
  };
}

/** How long something takes to come: the time of the limit, and not much more. */
function timed(begin) {
  return async (t, path, time) => {
    const start = performance.now();
    await within(20_000, path, await begin(t, path));
    const took = performance.now() - start;
    assert.ok(took > millis(time) - 100 && took < millis(time) + 1900, `${path}: ${took} ms instead of ${time}`);
  };
}

/** How many of many messages come before any is acknowledged. */
function prefetched(headers) {
  return async (t, path, max) => {
    const socket = await open(t, path);
    const queue = `/queue/${unique()}`;
    for (let i = 0; i < max + 10; i += 1) socket.send(`SEND\ndestination:${queue}\n\nx\0`);
    await sync(socket);
    socket.send(`SUBSCRIBE\nid:0\ndestination:${queue}\nack:client-individual\n${headers}\n\0`);
    for (let i = 0; i < max; i += 1) assert.match(await next(socket), /^MESSAGE/);
    await sync(socket);
    await pause(100);
    assert.equal(socket.messages.length, 0);
  };
}

const PROBES = {
  'message-bytes-max': sized(
    // In two messages of the WebSocket, which have the limit too.
    (bytes) => ['SEND\ndestination:/topic/a\n\n', ...'x'.repeat(bytes).match(/.{1,20000}/g), '\0'],
    (max) => new RegExp(`at most ${max} bytes \\(limits.message-bytes-max`),
  ),
  'fragments-max': async (t, path, max) => {
    const socket = await open(t, path);
    const send = (fragments) => {
      const last = `\0${'\n'.repeat(fragments - 1)}`.split('');
      last[0] = 'SEND\ndestination:/topic/a\n\n\0';
      last.forEach((fragment, i) => socket.send(fragment, { fin: i === fragments - 1 }));
    };
    send(max);
    await sync(socket);
    send(max + 1);
    const [, reason] = await socket.end(20_000);
    assert.match(reason, new RegExp(`more than ${max} fragments`));
  },
  'header-bytes-max': sized(
    (bytes) => {
      const header = 'SEND\ndestination:/topic/a\nx:';
      return [`${header}${'x'.repeat(bytes - header.length - 2)}\n\n\0`];
    },
    (max) => new RegExp(`at most ${max} bytes \\(limits.header-bytes-max`),
  ),
  'headers-max': async (t, path, max) => {
    const frame = (headers) => `SEND\ndestination:/topic/a\n${'x:y\n'.repeat(headers - 1)}\n\0`;
    const socket = await open(t, path);
    socket.send(frame(max));
    await sync(socket);
    socket.send(frame(max + 1));
    assert.match(await next(socket), new RegExp(`at most ${max} headers`));
  },
  'login-timeout': timed(async (t, path) => {
    const socket = await Socket.open(gateway.ws(path), ['v12.stomp']);
    t.after(() => socket.terminate());
    return socket.closed;
  }),
  'assembly-timeout': timed(async (t, path) => {
    const socket = await open(t, path);
    socket.send('SEND\ndest');
    return socket.closed;
  }),
  'ping-interval': timed(async (t, path) => {
    const socket = await open(t, path);
    return new Promise((resolve) => socket.ws.once('ping', resolve));
  }),
  'write-timeout': async (t, path, time) => {
    // More than the kernel takes for a peer that reads nothing.
    const [reader, sender] = [await open(t, path), await open(t, '/above')];
    const [topic, body] = [`/topic/${unique()}`, 'x'.repeat(90_000)];
    reader.send(`SUBSCRIBE\nid:0\ndestination:${topic}\n\n\0`);
    await sync(reader);
    reader.ws.pause();
    for (let i = 0; i < 90; i += 1) sender.send(`SEND\ndestination:${topic}\n\n${body}\0`);
    await sync(sender);
    await pause(4000);
    reader.ws.resume();
    let received = 0;
    const all = (async () => {
      for (; received < 90; received += 1) assert.match(await next(reader), /^MESSAGE/);
    })();
    all.catch(() => {});
    await Promise.race([all, reader.closed]);
    assert.equal(received === 90, millis(time) > 4000, `${received} of 90`);
  },
  'subscriptions-max': counted((i) => `SUBSCRIBE\nid:${i}\ndestination:/topic/a\n\n\0`),
  'pattern-bytes-max': async (t, path, max) => {
    // Names of 250 bytes each.
    const frame = (i) => `SUBSCRIBE\nid:${i}\ndestination:/topic/${'x'.repeat(250)}\n\n\0`;
    const socket = await open(t, path);
    for (let i = 0; i < max / 250; i += 1) socket.send(frame(i));
    await sync(socket);
    socket.send(frame(max / 250));
    assert.match(await next(socket), /pattern-bytes-max/);
  },
  'temporary-max': counted((i) => `SEND\ndestination:/topic/a\nreply-to:/temp-queue/${i}\n\n\0`),
  'prefetch-max': prefetched('prefetch:100000\n'),
  'prefetch-default': prefetched(''),
  'transactions-max': counted((i) => `BEGIN\ntransaction:${i}\n\n\0`),
  'transaction-operations-max': async (t, path, max) => {
    const socket = await open(t, path);
    // What the session takes, the broker does too.
    const frames = (count, end) =>
      `BEGIN\ntransaction:t\n\n\0${'SEND\ntransaction:t\ndestination:/queue/none\nexpires:1\n\n\0'.repeat(count)}${end}`;
    const all = frames(max, 'COMMIT\ntransaction:t\n\n\0');
    for (const part of all.match(/[^]{1,20000}/g)) socket.send(part);
    await sync(socket);
    for (const part of frames(max + 1, '').match(/[^]{1,20000}/g)) socket.send(part);
    assert.match(await next(socket), new RegExp(`at most ${max} operations`));
  },
  'transaction-bytes-max': async (t, path, max) => {
    const socket = await open(t, path);
    const body = 'x'.repeat(18_000);
    const send = async (count) => {
      for (let i = 0; i < count; i += 1) socket.send(`SEND\ntransaction:t\ndestination:/topic/a\n\n${body}\0`);
    };
    const operations = LIMITS['transaction-operations-max'][PATHS.indexOf(path)];
    const most = Math.min(Math.floor((max * 0.95) / 18_000), operations);
    socket.send('BEGIN\ntransaction:t\n\n\0');
    await send(most);
    await sync(socket);
    await send(Math.ceil(most * 0.1) + 1);
    assert.match(await next(socket), most === operations ? /operations-max/ : /limits.transaction-bytes-max/);
  },
  'heartbeat-min': async (t, path, time) => {
    assert.match((await open(t, path, 'heart-beat:1,1\n')).connected, new RegExp(`heart-beat:${millis(time)},${millis(time)}\n`));
  },
  'heartbeat-offer': async (t, path, time) => {
    const { connected } = await open(t, path, 'heart-beat:600000,600000\n');
    assert.match(connected, new RegExp(`heart-beat:${millis(time)},${millis(time)}\n`));
  },
};

for (const [key, values] of Object.entries(LIMITS)) {
  for (const [index, path] of PATHS.entries()) {
    test(`${key} of ${values[index]} holds at ${path}`, (t) => PROBES[key](t, path, values[index]));
  }
}

test('check prints what holds', async () => {
  const check = [['check', '--config', 'passerelle.toml'], { cwd: gateway.folder }];
  const { stdout } = await promisify(execFile)(process.env.PASSERELLE, ...check);
  const [, below] = /^ *\/below .*\n +· (.*)$/m.exec(stdout);
  const [, above] = /^ *\/above .*\n +· (.*)$/m.exec(stdout);
  for (const [key, values] of Object.entries(LIMITS)) {
    assert.match(below, new RegExp(`${key} ${values[0]}\\b`));
    assert.match(stdout, new RegExp(`^ *${key} ${values[1]}\\b`, 'm'));
    assert.match(above, new RegExp(`${key} ${values[2]}\\b`));
  }
});

test('a write-timeout of a year is one, and the least names do for a broadcast', async (t) => {
  const own = await start(
    '[limits]\nwrite-timeout = "8760h"\npattern-bytes-max = 1\nsubscriptions-max = 1\n[[service]]\npath = "/all"\ntype = "broadcast"\n',
  );
  t.after(() => own.stop());
  const socket = await Socket.open(own.ws('/all'));
  t.after(() => socket.terminate());
  socket.send('hello');
  assert.equal(await socket.next(), 'hello');
});
