// For whom a request is: one Host, well formed, and on a loopback address this machine or a name of
// the listener. That is so at every path, where a service is and where none is.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { secure, start } from './lib/gateway.mjs';
import { Raw } from './lib/raw.mjs';

const services = `
[[service]]
path = "/files"
type = "directory"
root = "."
[[service]]
path = "/echo"
type = "echo"
[[service]]
path = "/broadcast"
type = "broadcast"
[[service]]
path = "/proxy"
type = "proxy"
connect = "tcp://127.0.0.1:9"
[[service]]
path = "/messaging"
type = "broker"
[[service]]
path = "/topics"
type = "topics"
[[service]]
path = "/queues"
type = "queues"
[[service]]
path = "/pages"
type = "pages"
`;
const paths = ['/files/a', '/echo', '/broadcast', '/proxy', '/messaging', '/topics/a', '/queues/a', '/pages', '/metrics', '/nothing', '*'];

let loopback;
let any;
before(async () => {
  const files = { a: 'secret' };
  loopback = await start(
    `[[listen]]\naddress = "127.0.0.1:0"\nnames = ["gw.example.com:8443"]\noperations = true\n${services}`,
    { files },
  );
  any = await start(`[[listen]]\naddress = "0.0.0.0:0"\nanonymous = true\n${services}`, { files });
});
after(() => Promise.all([loopback?.stop(), any?.stop()]));

/** The status and the whole response to the lines of a head. */
async function request(gateway, lines) {
  const raw = await Raw.open(gateway);
  const close = lines[0].endsWith('1.1') ? ['Connection: close'] : [];
  raw.write(Buffer.from([lines[0], ...close, ...lines.slice(1), '', ''].join('\r\n'), 'latin1'));
  const response = (await raw.rest()).toString();
  raw.destroy();
  return { status: Number(response.split(' ')[1]), response };
}
const upgrade = [
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
];

test('a page whose name leads here gets nothing, at no path and by no method', async () => {
  for (const path of paths) {
    const method = path === '*' ? 'OPTIONS' : 'GET';
    const { status, response } = await request(loopback, [`${method} ${path} HTTP/1.1`, 'Host: evil.example']);
    assert.equal(status, 421, path);
    assert.match(response, /evil\.example.*`names`/, path);
  }
  for (const line of ['POST /topics/a HTTP/1.1', 'OPTIONS /queues/a HTTP/1.1', 'DELETE /files/a HTTP/1.1', 'HEAD / HTTP/1.1']) {
    assert.equal((await request(loopback, [line, 'Host: evil.example'])).status, 421, line);
  }
  for (const path of ['/echo', '/broadcast', '/proxy', '/messaging']) {
    const { status } = await request(loopback, [`GET ${path} HTTP/1.1`, 'Host: evil.example', ...upgrade]);
    assert.equal(status, 421, path);
  }
});

test('this machine and the names of the listener are accepted, with any port', async () => {
  const hosts = ['localhost', 'LOCALHOST:1', 'localhost.', '127.0.0.1:8080', '127.1.2.3', '[::1]', '[::ffff:127.0.0.1]:80', 'gw.example.com', 'GW.example.com.:80'];
  for (const host of hosts) {
    assert.match((await request(loopback, ['GET /files/a HTTP/1.1', `Host: ${host}`])).response, /200 OK[^]*secret$/, host);
  }
  assert.equal((await request(any, ['GET /files/a HTTP/1.1', 'Host: whatever.example:99'])).status, 200);
});

test('what is malformed is told so, on every address and at every path', async () => {
  const bad = [
    [/none/, []],
    [/several/, ['Host: localhost', 'Host: localhost']],
    [/several/, ['Host: localhost', 'hOST: evil.example']],
    [/no host/, ['Host:']],
    [/no host/, ['Host: :80']],
    [/more than one/, ['Host: localhost, localhost']],
    [/@/, ['Host: ann@localhost']],
    [/malformed/, ['Host: local host']],
    [/malformed/, ['Host: localhost/']],
    [/malformed/, ['Host: http://localhost']],
    [/65535/, ['Host: localhost:65536']],
    [/65535/, ['Host: localhost:x']],
    [/brackets/, ['Host: ::1']],
    [/brackets/, ['Host: [::1']],
    [/brackets/, ['Host: [::1%25lo]']],
    [/malformed/, ['Host: localh\xf6st']],
    [/malformed/, ['Host: local%68ost']],
  ];
  for (const [word, lines] of bad) {
    for (const [gateway, path] of [[loopback, '/files/a'], [loopback, '/nothing'], [any, '/files/a'], [any, '/nothing']]) {
      const { status, response } = await request(gateway, [`GET ${path} HTTP/1.1`, ...lines]);
      assert.equal(status, 400, `${lines}`);
      assert.match(response, word, `${lines}`);
    }
    assert.equal((await request(any, ['GET /echo HTTP/1.1', ...lines, ...upgrade])).status, 400, `${lines}`);
  }
});

test('the target goes before Host, which must still be there', async () => {
  const target = (host) => `GET http://${host}/files/a HTTP/1.1`;
  assert.equal((await request(loopback, [target('localhost'), 'Host: evil.example'])).status, 200);
  assert.equal((await request(loopback, [target('evil.example'), 'Host: localhost'])).status, 421);
  assert.equal((await request(loopback, [target('localhost')])).status, 400);
  assert.equal((await request(loopback, [target('localhost'), 'Host: a b'])).status, 400);
  assert.equal((await request(loopback, [target('ann:x@localhost'), 'Host: localhost'])).status, 400);
  assert.equal((await request(loopback, ['GET ftp://localhost/files/a HTTP/1.1', 'Host: localhost'])).status, 400);
  const https = await request(loopback, ['GET https://localhost/files/a HTTP/1.1', 'Host: localhost']);
  assert.equal(https.status, secure ? 200 : 421);
});

test('HTTP/1.0 need not say it', async () => {
  assert.equal((await request(loopback, ['GET /files/a HTTP/1.0'])).status, 200);
  assert.equal((await request(loopback, ['GET /files/a HTTP/1.0', 'Host: evil.example'])).status, 421);
  assert.equal((await request(loopback, ['GET /files/a HTTP/1.0', 'Host: a', 'Host: a'])).status, 400);
});

test('probes have any Host', async () => {
  for (const lines of [[], ['Host: evil.example'], ['Host: a b'], ['Host: a', 'Host: b']]) {
    for (const path of ['/healthz', '/readyz']) {
      assert.equal((await request(loopback, [`GET ${path} HTTP/1.1`, ...lines])).status, 200, `${lines}`);
    }
  }
});

test('refusals are counted', async () => {
  const { response } = await request(loopback, ['GET /metrics HTTP/1.1', 'Host: localhost']);
  assert.match(response, /^passerelle_refusals_total\{[^}]*"host"[^}]*\} [1-9]/m);
});

test('a flood of refusals does not fill the log, which says how many are missing', async () => {
  let log = '';
  loopback.process.stderr.on('data', (data) => (log += data));
  const logged = () => {
    const lines = [...log.matchAll(/missed=(\d+) .*Host refused|Host refused.* missed=(\d+)/g)];
    const missed = lines.reduce((sum, [, a, b]) => sum + Number(a ?? b), 0);
    return { lines: lines.length, missed };
  };
  // Let the seconds of the tests before pass.
  const second = () => new Promise((resolve) => setTimeout(resolve, 1100));
  await second();
  const flood = 1500;
  const raw = await Raw.open(loopback);
  raw.write(Buffer.from('GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n'.repeat(flood - 1)));
  raw.write(Buffer.from('GET /a HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n'));
  const responses = (await raw.rest()).toString().match(/HTTP\/1.1 421/g);
  assert.equal(responses.length, flood);
  await second();
  assert.equal((await request(loopback, ['GET /a HTTP/1.1', 'Host: evil.example'])).status, 421);
  const end = Date.now() + 5000;
  while (logged().lines + logged().missed < flood + 1 && Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { lines, missed } = logged();
  assert.ok(lines < flood && missed > 0, `${lines} lines, ${missed} missed`);
});
