// Echo, broadcast and its feeds, proxy, and what permessage-deflate is agreed on.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Inbox, within } from './lib/wait.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

let gateway;
let upstream;
let feed;
let udpPort;

before(async () => {
  // What stands behind the proxies: echoes; `quit` ends the connection; `flood N` sends N bytes.
  upstream = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (data) => {
      const text = data.toString('latin1');
      const flood = /^flood (\d+)/.exec(text);
      if (text.startsWith('quit')) socket.end('bye');
      else if (flood) socket.write(Buffer.alloc(Number(flood[1]), 'x'));
      else if (text.startsWith('count ')) count(socket, data);
      else socket.write(data);
    });
  });
  const count = (socket, first) => {
    let bytes = first.length;
    socket.removeAllListeners('data');
    socket.on('data', (data) => {
      bytes += data.length;
      if (data.includes('.')) socket.write(`${bytes}`);
    });
  };
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');

  // A feed: one message a line, for all that connect.
  const feeders = new Inbox('a connection to the feed');
  const feedServer = net.createServer((socket) => {
    socket.on('error', () => {});
    feeders.push(socket);
  });
  feedServer.listen(0, '127.0.0.1');
  await once(feedServer, 'listening');
  feed = { server: feedServer, connections: feeders };

  // A free UDP port; the gateway binds it.
  const probe = dgram.createSocket('udp4');
  probe.bind(0, '127.0.0.1');
  await once(probe, 'listening');
  udpPort = probe.address().port;
  probe.close();

  gateway = await start(`
[[service]]
path = "/echo"
type = "echo"

[[service]]
path = "/plain"
type = "echo"
compression = false

[[service]]
path = "/small"
type = "echo"
limits = { message-bytes-max = 1024, fragments-max = 4 }

[[service]]
path = "/broadcast"
type = "broadcast"

[[service]]
path = "/lines"
type = "broadcast"
feed = "tcp://127.0.0.1:${feedServer.address().port}"

[[service]]
path = "/datagrams"
type = "broadcast"
feed = "udp://127.0.0.1:${udpPort}"

[[service]]
path = "/proxy"
type = "proxy"
connect = "tcp://127.0.0.1:${upstream.address().port}"

[[service]]
path = "/text"
type = "proxy"
connect = "tcp://127.0.0.1:${upstream.address().port}"
text = true

[[service]]
path = "/down"
type = "proxy"
connect = "tcp://127.0.0.1:1"
`);
});
after(async () => {
  await gateway?.stop();
  upstream?.close();
  feed?.server.close();
});

const open = async (t, path, protocols, options) => {
  const socket = await Socket.open(gateway.ws(path), protocols, options);
  t.after(() => socket.terminate());
  return socket;
};

test('echo: text stays text, bytes stay bytes, pieces become whole', async (t) => {
  const socket = await open(t, '/echo');
  for (const message of ['', 'hello', 'Grüße 😀', Buffer.from([0, 255, 1]), Buffer.alloc(100_000, 7)]) {
    socket.send(message);
    assert.deepEqual(await socket.next(), message);
  }
  socket.send('one ', { fin: false });
  socket.send('two ', { fin: false });
  socket.send('three', { fin: true });
  assert.equal(await socket.next(), 'one two three');
});

test('echo: 16 MiB pass, a byte more is refused with 1009', async (t) => {
  const socket = await open(t, '/echo', [], { perMessageDeflate: false, maxPayload: 32 << 20 });
  const message = Buffer.alloc(16 << 20, 'ab');
  socket.send(message);
  const back = await socket.next(20_000);
  assert.equal(Buffer.compare(back, message), 0);
  socket.send(Buffer.alloc((16 << 20) + 1));
  assert.equal((await socket.end())[0], 1009);
});

test('limits are per service: size, fragments, and what inflates hugely', async (t) => {
  const large = await open(t, '/small', [], { perMessageDeflate: false });
  large.send(Buffer.alloc(1024));
  assert.equal((await large.next()).length, 1024);
  large.send(Buffer.alloc(1025));
  assert.equal((await large.end())[0], 1009);

  const bomb = await open(t, '/small');
  bomb.send(Buffer.alloc(10 << 20)); // 10 KB on the wire
  assert.equal((await bomb.end())[0], 1009);

  const pieces = await open(t, '/small', [], { perMessageDeflate: false });
  for (let i = 0; i < 6; i += 1) pieces.send('x', { fin: i === 5 });
  assert.deepEqual(await pieces.end(), [1009, 'the message has more than 4 fragments (limits.fragments-max)']);
});

test('ping is answered by pong, close by close', async (t) => {
  const socket = await open(t, '/echo');
  const pong = once(socket.ws, 'pong');
  socket.ws.ping('are you there');
  assert.equal((await within(5000, 'a pong', pong))[0].toString(), 'are you there');
});

test('a close is answered with its code and its reason', async (t) => {
  const cases = [
    [4321, 'my own reason'],
    [1000, 'Grüße 😀'],
    [1001, ''],
    [4999, 'r'.repeat(123)],
  ];
  for (const path of ['/echo', '/proxy']) {
    for (const [code, reason] of cases) {
      const socket = await open(t, path);
      socket.ws.close(code, reason);
      assert.deepEqual(await socket.end(), [code, reason], path);
    }
    const silent = await open(t, path);
    silent.ws.close();
    assert.deepEqual(await silent.end(), [1005, '']);
  }
});

test('permessage-deflate: agreed on where both want it', async (t) => {
  const cases = [
    ['/echo', true, 'permessage-deflate'],
    ['/echo', false, ''],
    ['/plain', true, ''],
  ];
  for (const [path, offered, agreed] of cases) {
    const socket = await open(t, path, [], { perMessageDeflate: offered });
    assert.equal(socket.ws.extensions, agreed, `${path} ${offered}`);
    const text = 'compress me '.repeat(1000);
    socket.send(text);
    assert.equal(await socket.next(), text);
  }
});

test('permessage-deflate: parameters are kept', async (t) => {
  const variants = [
    { serverNoContextTakeover: true },
    { clientNoContextTakeover: true },
    { serverMaxWindowBits: 10 },
    { clientMaxWindowBits: 10 },
    { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 9 },
  ];
  for (const perMessageDeflate of variants) {
    const socket = await open(t, '/echo', [], { perMessageDeflate: { threshold: 0, ...perMessageDeflate } });
    for (let i = 0; i < 3; i += 1) {
      const text = `message ${i} `.repeat(500);
      socket.send(text);
      assert.equal(await socket.next(), text, JSON.stringify(perMessageDeflate));
    }
  }
});

test('a compressible message is smaller on the wire', async (t) => {
  const socket = await open(t, '/echo');
  const before = socket.ws._socket.bytesRead;
  const text = 'the same again '.repeat(5000);
  socket.send(text);
  assert.equal(await socket.next(), text);
  const bytes = socket.ws._socket.bytesRead - before;
  assert.ok(bytes < text.length / 20, `${bytes} of ${text.length}`);
});

test('broadcast: what one sends all get, the sender too', async (t) => {
  const sockets = [];
  for (let i = 0; i < 10; i += 1) {
    // with and without deflate: each gets it in its own way
    sockets.push(await open(t, '/broadcast', [], { perMessageDeflate: i % 2 === 0 }));
  }
  const text = 'hello everybody '.repeat(100);
  sockets[3].send(text);
  sockets[4].send(Buffer.from([1, 2, 3]));
  for (const socket of sockets) {
    const got = await socket.messages.take(2);
    got.sort((a, b) => b.length - a.length);
    assert.deepEqual(got, [text, Buffer.from([1, 2, 3])]);
  }
});

test('broadcast: each sender’s messages stay in order', async (t) => {
  const receiver = await open(t, '/broadcast');
  const senders = [await open(t, '/broadcast'), await open(t, '/broadcast')];
  for (let i = 0; i < 100; i += 1) senders.forEach((sender, s) => sender.send(`order ${s} ${i}`));
  const got = [];
  while (got.length < 200) {
    const message = await receiver.next();
    if (typeof message === 'string' && message.startsWith('order ')) got.push(message.split(' ').map(Number));
  }
  for (const s of [0, 1]) {
    assert.deepEqual(got.filter(([, from]) => from === s).map(([, , i]) => i), [...Array(100).keys()]);
  }
});

test('broadcast: a TCP feed’s lines are messages; the gateway connects again when it ends', async (t) => {
  const socket = await open(t, '/lines');
  const first = await feed.connections.next();
  first.write('one\ntwo\r\nhal');
  first.write('f\n');
  assert.deepEqual(await socket.messages.take(3), ['one', 'two', 'half']);
  first.end();
  const second = await feed.connections.next(10_000);
  second.write('again\n');
  assert.equal(await socket.next(), 'again');
  second.destroy();
});

test('broadcast: a UDP feed’s datagrams are messages', async (t) => {
  const socket = await open(t, '/datagrams');
  const sender = dgram.createSocket('udp4');
  t.after(() => sender.close());
  for (const text of ['tick', 'tock\nwith a line']) {
    sender.send(text, udpPort, '127.0.0.1');
    assert.equal((await socket.next()).toString(), text);
  }
});

test('proxy: bytes go through and back as binary messages', async (t) => {
  const socket = await open(t, '/proxy');
  socket.send(Buffer.from('ping'));
  assert.deepEqual(await socket.next(), Buffer.from('ping'));
  socket.send('text goes through too');
  assert.deepEqual(await socket.next(), Buffer.from('text goes through too'));
});

test('proxy: with text = true replies are text, split between characters', async (t) => {
  const socket = await open(t, '/text');
  const text = 'ä長😀'.repeat(20_000);
  socket.send(text);
  let back = '';
  while (back.length < text.length) {
    const message = await socket.next();
    assert.equal(typeof message, 'string');
    back += message;
  }
  assert.equal(back, text);
});

test('proxy: the upstream’s end closes the WebSocket, after what it said', async (t) => {
  const socket = await open(t, '/proxy');
  socket.send('quit');
  assert.equal((await socket.next()).toString(), 'bye');
  assert.deepEqual(await socket.end(), [1000, 'the upstream closed the connection']);
});

test('proxy: an upstream that resets its connection is 1014, after what it said', async (t) => {
  const reset = [1014, 'the upstream reset the connection'];
  const cases = {
    'before a byte': async (socket, connection) => connection.resetAndDestroy(),
    'after data': async (socket, connection) => {
      connection.write('said before');
      assert.equal((await socket.next()).toString(), 'said before');
      connection.resetAndDestroy();
    },
    'while the peer sends much': async (socket, connection) => {
      connection.pause();
      for (let i = 0; i < 8; i += 1) socket.send(Buffer.alloc(1 << 20));
      await new Promise((resolve) => setTimeout(resolve, 200));
      connection.resetAndDestroy();
    },
    'while the peer sends again and again': async (socket, connection) => {
      const timer = setInterval(() => socket.ws.readyState === 1 && socket.send(Buffer.alloc(10_000)), 1);
      t.after(() => clearInterval(timer));
      await new Promise((resolve) => setTimeout(resolve, 50));
      connection.resetAndDestroy();
    },
  };
  for (const [name, act] of Object.entries(cases)) {
    const accepted = once(upstream, 'connection');
    const socket = await open(t, '/proxy', [], { perMessageDeflate: false });
    const [connection] = await within(5000, 'a connection to the upstream', accepted);
    await act(socket, connection);
    assert.deepEqual(await socket.end(), reset, name);
  }
});

test('proxy: the peer’s end closes the connection to the upstream', async (t) => {
  const accepted = once(upstream, 'connection');
  const socket = await open(t, '/proxy');
  const [connection] = await within(5000, 'a connection to the upstream', accepted);
  const ended = once(connection, 'close');
  socket.ws.close();
  await within(5000, 'its end', ended);
});

test('proxy: an upstream that is down is a clear reason to close', async (t) => {
  const socket = await open(t, '/down');
  const [code, reason] = await socket.end(10_000);
  assert.equal(code, 1014);
  assert.match(reason, /upstream/);
});

test('proxy: a peer that does not read stops the upstream, and misses nothing', async (t) => {
  const socket = await open(t, '/proxy', [], { maxPayload: 1 << 30 });
  const size = 32 << 20;
  socket.ws.pause();
  socket.send(`flood ${size}`);
  await new Promise((resolve) => setTimeout(resolve, 300));
  let bytes = 0;
  socket.ws.resume();
  while (bytes < size) bytes += (await socket.next(20_000)).length;
  assert.equal(bytes, size);
});

test('proxy: an upstream that is slow to read stops the peer, and misses nothing', async (t) => {
  const accepted = once(upstream, 'connection');
  const socket = await open(t, '/proxy', [], { perMessageDeflate: false });
  socket.send('count ');
  const [connection] = await within(5000, 'a connection to the upstream', accepted);
  await new Promise((resolve) => setTimeout(resolve, 100));
  connection.pause();
  const block = Buffer.alloc(1 << 20, 'y');
  for (let i = 0; i < 16; i += 1) socket.send(block);
  socket.send('.');
  await new Promise((resolve) => setTimeout(resolve, 300));
  connection.resume();
  assert.equal((await socket.next(20_000)).toString(), `${6 + 16 * (1 << 20) + 1}`);
});

test('a path that is no service is 404, a version that is none 426', async () => {
  assert.equal((await refusal(gateway.ws('/nowhere'))).status, 404);
  const answer = await fetch(gateway.http('/echo'));
  assert.equal(answer.status, 426);
  assert.equal(answer.headers.get('upgrade'), 'websocket');
  assert.equal(answer.headers.get('sec-websocket-version'), '13, 8, 6');
});
