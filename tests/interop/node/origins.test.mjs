// Whose pages may use a service. A browser says so in Origin; what is no browser says nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { refusal, Socket } from './lib/websocket.mjs';

let own;
let named;
before(async () => {
  own = await start();
  named = await start(`
[[listen]]
address = "127.0.0.1:0"
names = ["gw.example.com:8443"]

[[service]]
path = "/echo"
type = "echo"
allow-origins = ["https://app.example.com", "null"]

[[service]]
path = "/open"
type = "echo"
allow-origins = ["*"]

[[service]]
path = "/topics"
type = "topics"

[[service]]
path = "/messaging"
type = "broker"
`);
});
after(() => Promise.all([own?.stop(), named?.stop()]));

const cases = [
  // gateway, path, Origin, whether it is let in
  ['own', '/echo', undefined, true],
  ['own', '/echo', 'http://localhost', true],
  ['own', '/echo', 'http://127.0.0.1:3000', true],
  ['own', '/messaging', 'http://[::1]:8080', true],
  ['own', '/echo', 'https://evil.example.com', false],
  ['own', '/messaging', 'http://localhost.evil.example.com', false],
  ['own', '/echo', 'http://192.168.1.1', false],
  ['own', '/echo', 'null', false],
  ['named', '/echo', 'https://gw.example.com:8443', true],
  ['named', '/echo', 'https://app.example.com', true],
  ['named', '/echo', 'null', true],
  ['named', '/echo', 'http://localhost', false],
  ['named', '/echo', 'https://app.example.com:444', false],
  ['named', '/open', 'https://anywhere.example.org', true],
  ['named', '/messaging', 'https://app.example.com', false],
];
for (const [which, path, origin, allowed] of cases) {
  test(`${which}${path} from ${origin ?? 'no browser'}: ${allowed ? 'let in' : '403 with the reason'}`, async () => {
    const gateway = { own, named }[which];
    const options = origin === undefined ? {} : { origin };
    if (allowed) {
      (await Socket.open(gateway.ws(path), [], options)).terminate();
    } else {
      const { status, body } = await refusal(gateway.ws(path), [], options);
      assert.equal(status, 403);
      assert.match(body, /allow-origins/);
      assert.ok(body.includes(origin), body);
    }
  });
}

test('DNS rebinding: a foreign name in both Host and Origin does not help', async () => {
  const { status } = await refusal(own.ws('/echo'), [], {
    origin: 'http://evil.example.com',
    headers: { host: 'evil.example.com' },
  });
  assert.equal(status, 403);
});

test('a POST is checked as a WebSocket is', async () => {
  const post = (gateway, headers) => request(gateway, '/topics/a', { method: 'POST', body: 'x', headers });
  assert.ok((await post(own, {})).status < 300);
  assert.ok((await post(own, { origin: 'http://localhost:5173' })).status < 300);
  const refused = await post(own, { origin: 'https://evil.example.com' });
  assert.equal(refused.status, 403);
  assert.match(refused.text, /evil\.example\.com.*allow-origins/s);
  assert.ok((await post(named, { origin: 'https://gw.example.com:8443' })).status < 300);
  assert.equal((await post(named, { origin: 'http://localhost' })).status, 403);
});
