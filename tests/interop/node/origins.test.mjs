// Whose pages may use a service. A browser says so in Origin; what is no browser says nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { secure, start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { Raw } from './lib/raw.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

let own;
let named;
/** How a gateway is reached, and how it is not: its own pages are of the first. */
const [http, other] = secure ? ['https', 'http'] : ['http', 'https'];
before(async () => {
  own = await start();
  named = await start(`
[[listen]]
address = "127.0.0.1:0"
names = ["gw.example.com:8443"]

[[service]]
path = "/echo"
type = "echo"
allow-origins = ["https://app.example.com", "chrome-extension://abc", "null"]

[[service]]
path = "/open"
type = "echo"
allow-origins = ["*"]

[[service]]
path = "/topics"
type = "topics"

[[service]]
path = "/files"
type = "directory"
root = "."

[[service]]
path = "/shared"
type = "directory"
root = "."
allow-origins = ["https://app.example.com"]

[[service]]
path = "/messaging"
type = "broker"
`);
});
after(() => Promise.all([own?.stop(), named?.stop()]));

const cases = [
  // gateway, path, Origin, whether it is accepted
  ['own', '/echo', undefined, true],
  ['own', '/echo', `${http}://localhost`, true],
  ['own', '/echo', `${http}://127.0.0.1:3000`, true],
  ['own', '/messaging', `${http}://[::1]:8080`, true],
  ['own', '/echo', `${other}://localhost`, false],
  ['own', '/echo', 'ftp://localhost', false],
  ['own', '/echo', 'chrome-extension://localhost', false],
  ['own', '/echo', `${http}://localhost/`, false],
  ['own', '/echo', 'https://evil.example.com', false],
  ['own', '/messaging', 'http://localhost.evil.example.com', false],
  ['own', '/echo', 'http://192.168.1.1', false],
  ['own', '/echo', 'null', false],
  ['named', '/echo', `${http}://gw.example.com:8443`, true],
  ['named', '/echo', `${other}://gw.example.com:8443`, false],
  ['named', '/echo', 'ftp://gw.example.com:8443', false],
  ['named', '/echo', 'chrome-extension://abc', true],
  ['named', '/echo', 'https://app.example.com', true],
  ['named', '/echo', 'null', true],
  ['named', '/echo', `${http}://localhost`, false],
  ['named', '/echo', 'https://app.example.com:444', false],
  ['named', '/open', 'https://anywhere.example.org', true],
  ['named', '/messaging', 'https://app.example.com', false],
];
for (const [which, path, origin, allowed] of cases) {
  test(`${which}${path} from ${origin ?? 'no browser'}: ${allowed ? 'accepted' : '403 with the reason'}`, async () => {
    const gateway = { own, named }[which];
    const options = origin === undefined ? {} : { origin };
    if (allowed) {
      (await Socket.open(gateway.ws(path), [], options)).terminate();
    } else {
      const { status, body } = await refusal(gateway.ws(path), [], options);
      assert.equal(status, 403);
      assert.match(body, /allow-origins|malformed/);
      assert.ok(body.includes(origin), body);
    }
  });
}

test('DNS rebinding: another name in both Host and Origin does not help', async () => {
  const { status } = await refusal(own.ws('/echo'), [], {
    origin: 'http://evil.example.com',
    headers: { host: 'evil.example.com' },
  });
  assert.equal(status, 421);
});

test('a POST is checked as a WebSocket is', async () => {
  const post = (gateway, headers) => request(gateway, '/topics/a', { method: 'POST', body: 'x', headers });
  assert.ok((await post(own, {})).status < 300);
  assert.ok((await post(own, { origin: `${http}://localhost:5173` })).status < 300);
  const refused = await post(own, { origin: 'https://evil.example.com' });
  assert.equal(refused.status, 403);
  assert.match(refused.text, /evil\.example\.com.*allow-origins/s);
  assert.ok((await post(named, { origin: `${http}://gw.example.com:8443` })).status < 300);
  assert.equal((await post(named, { origin: `${http}://localhost` })).status, 403);
});

test('what a browser says of another site is believed, when it names no origin', async () => {
  const post = (gateway, path, headers) => request(gateway, path, { method: 'POST', body: 'x', headers });
  for (const site of ['cross-site', 'same-site']) {
    for (const path of ['/topics/a', '/queues/a', '/']) {
      const refused = await post(own, path, { 'sec-fetch-site': site });
      assert.equal(refused.status, 403, path);
      assert.ok(refused.text.includes(site), refused.text);
    }
    const { status } = await refusal(own.ws('/echo'), [], { headers: { 'sec-fetch-site': site } });
    assert.equal(status, 403);
    const allowed = { 'sec-fetch-site': site, origin: `${http}://localhost:3000` };
    assert.ok((await post(own, '/topics/a', allowed)).status < 300);
  }
  for (const site of ['same-origin', 'none']) {
    assert.ok((await post(own, '/topics/a', { 'sec-fetch-site': site })).status < 300);
  }
  // A link from another site leads to a page, as links do.
  assert.notEqual((await request(own, '/', { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403);
});

test('two origins are none', async (t) => {
  for (const head of [
    'POST /topics/a HTTP/1.1\r\nContent-Length: 0\r\n',
    'GET /open HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
  ]) {
    const raw = await Raw.open(named);
    t.after(() => raw.destroy());
    const origin = `Origin: ${http}://gw.example.com:8443\r\n`;
    raw.write(`${head}Host: localhost\r\n${origin}${origin}\r\n`);
    assert.match((await raw.until('\r\n')).toString(), /^HTTP\/1\.1 403 /);
  }
});

test('browsers keep files from pages of other sites, unless origins are allowed', async () => {
  const policy = async (path) => (await request(named, path)).headers['cross-origin-resource-policy'];
  assert.equal(await policy('/files/passerelle.toml'), 'same-site');
  assert.equal(await policy('/shared/passerelle.toml'), undefined);
});
