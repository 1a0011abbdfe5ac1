// What is for operators is served where a listener says so, and to users with a role; to all others
// its path is like any other that does not exist.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';

const hashed = (password) => {
  const printed = execFileSync(process.env.PASSERELLE, ['password'], { input: `${password}\n`, encoding: 'utf8' });
  return /\{.*\}/s.exec(printed)[0];
};
const basic = (text) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });

const services = `
[[service]]
path = "/files"
type = "directory"
root = "."
[[service]]
path = "/echo"
type = "echo"
`;
const users = `
[operations]
roles = ["ops", "monitor"]
[[user]]
name = "otto"
roles = ["ops"]
password = ${hashed('secret of otto')}
[[user]]
name = "olga"
roles = ["monitor"]
password = ${hashed('secret: of olga')}
[[user]]
name = "ann"
roles = ["trader"]
password = ${hashed('secret of ann')}
`;
const plain = '[[listen]]\naddress = "127.0.0.1:0"\n';

let gateways;
before(async () => {
  gateways = {
    // Nobody is an operator; no service is at `/`.
    none: await start(`${plain}${services}`),
    // Nobody is, and unknown paths are those of the pages.
    pages: await start(`${plain}`),
    // Nobody is, and unknown paths are those of files, one of which has that name.
    files: await start(`${plain}[[service]]\npath = "/"\ntype = "directory"\nroot = "web"\n`, {
      files: { 'web/metrics': 'a file', 'web/index.html': 'the start' },
    }),
    // Who comes by this listener is.
    listener: await start(`${plain}operations = true\n${services}`),
    // Who has a role is.
    roles: await start(`${plain}${services}${users}`),
    rolesAndPages: await start(`${plain}${users}`),
    off: await start(`${plain}operations = true\n[metrics]\nenabled = false\n${services}`),
  };
});
after(() => Promise.all(Object.values(gateways ?? {}).map((gateway) => gateway.stop())));

/** What of a response can tell one path from another. */
async function response(gateway, path, options) {
  const { status, headers, text } = await request(gateway, path, options);
  const { date, ...rest } = headers;
  return { status, headers: rest, text };
}
const isMetrics = ({ status, text }) => status === 200 && /^# TYPE passerelle_/m.test(text);

const variants = [
  {},
  { method: 'HEAD' },
  { method: 'POST', body: 'x' },
  { method: 'OPTIONS' },
  { method: 'DELETE' },
  { headers: basic('olga:wrong') },
  { headers: basic('nobody:secret: of olga') },
  { headers: basic('ann:secret of ann') },
  { headers: { 'x-real-ip': '127.0.0.1' } },
  { headers: { 'x-forwarded-for': '127.0.0.1' } },
  { headers: { upgrade: 'websocket', connection: 'upgrade' } },
];
for (const which of ['none', 'pages', 'roles', 'rolesAndPages']) {
  test(`${which}: /metrics is like any other path`, async () => {
    for (const options of variants) {
      for (const suffix of ['', '?x=1', '/', '/x']) {
        const [actual, expected] = [
          await response(gateways[which], `/metrics${suffix}`, options),
          await response(gateways[which], `/nothing${suffix}`, options),
        ];
        assert.deepEqual(actual, expected, `${JSON.stringify(options)} ${suffix}`);
        assert.ok(!isMetrics(actual));
      }
    }
  });
}

test('a request of a plain nginx from the same machine is no operator’s', async () => {
  const { status } = await request(gateways.none, '/metrics', { headers: { host: `127.0.0.1:${gateways.none.port}` } });
  assert.equal(status, 404);
});

test('a file of that name is served where the metrics are not', async () => {
  assert.equal((await request(gateways.files, '/metrics')).text, 'a file');
});

test('a listener for operators serves metrics to all that reach it', async () => {
  const gateway = gateways.listener;
  assert.ok(isMetrics(await request(gateway, '/metrics')));
  assert.ok(isMetrics(await request(gateway, '/metrics?name=x')));
  assert.equal((await request(gateway, '/metrics', { method: 'HEAD' })).status, 200);
  const post = await request(gateway, '/metrics', { method: 'POST' });
  assert.equal(post.status, 405);
  assert.equal(post.headers.allow, 'GET, HEAD');
  // Only that path: what a proxy in front refuses by its name is not to be had by another.
  for (const path of ['/metrics/', '/metrics/x', '//metrics', '/%6detrics', '/METRICS', '/files/../metrics', '/x/metrics']) {
    assert.equal((await request(gateway, path)).status, 404, path);
  }
});

test('a user with a role sees metrics everywhere, others nothing', async () => {
  for (const which of ['roles', 'rolesAndPages']) {
    const gateway = gateways[which];
    const olga = { headers: basic('olga:secret: of olga') };
    assert.ok(isMetrics(await request(gateway, '/metrics', olga)), which);
    assert.equal((await request(gateway, '/metrics', { ...olga, method: 'POST' })).status, 405);
  }
  for (const headers of [{}, basic('olga:wrong'), basic('ann:secret of ann'), { authorization: 'Bearer x' }]) {
    const { status, headers: sent } = await request(gateways.roles, '/metrics', { headers });
    assert.equal(status, 404);
    assert.equal(sent['www-authenticate'], undefined, 'nothing tells that there is something');
  }
});

test('metrics that are off are nowhere', async () => {
  assert.equal((await request(gateways.off, '/metrics')).status, 404);
});

test('healthz and readyz are everywhere', async () => {
  for (const gateway of Object.values(gateways)) {
    assert.equal((await request(gateway, '/healthz')).status, 200);
    assert.equal((await request(gateway, '/readyz')).status, 200);
  }
});
