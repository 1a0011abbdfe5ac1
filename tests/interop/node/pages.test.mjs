// The pages that come with the gateway, at whatever path: all that they refer to is there.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { request } from './lib/http.mjs';
import { walk } from './lib/pages.mjs';

const service = (path, type) => `[[service]]\npath = "${path}"\ntype = "${type}"\n`;

let gateway;
before(async () => {
  gateway = await start(
    [
      ['/', 'pages'],
      ['/ui', 'pages'],
      ['/a/b', 'pages'],
      ['/a/messaging', 'broker'],
      ['/messaging', 'broker'],
      ['/ui/echo', 'echo'],
    ].map(([path, type]) => service(path, type)).join(''),
  );
});
after(() => gateway?.stop());

for (const [path, services] of [
  ['/', { broker: './a/messaging', echo: './ui/echo' }],
  ['/ui/', { broker: '../a/messaging', echo: './echo' }],
  ['/a/b/', { broker: '../messaging', echo: '../../ui/echo' }],
]) {
  test(`at ${path} they are whole, and know where the services are`, async () => {
    const base = gateway.http(path);
    const read = await walk(base);
    for (const page of ['echo.html', 'broadcast.html', 'console.html']) assert.ok(read.has(base + page), page);
    const listed = await fetch(`${base}services.json`);
    assert.deepEqual(await listed.json(), services);
    const again = await request(gateway, `${path}services.json`, { headers: { 'if-none-match': listed.headers.get('etag') } });
    assert.equal(again.status, 304);
  });
}

for (const [path, location] of [
  ['/ui', './ui/'],
  ['/a/b', './b/'],
]) {
  test(`${path} leads to its folder by a relative reference`, async () => {
    for (const method of ['GET', 'HEAD']) {
      const response = await request(gateway, path, { method });
      assert.equal(response.status, 308);
      assert.equal(response.headers.location, location);
    }
    const page = await fetch(gateway.http(path));
    assert.equal(page.url, gateway.http(`${path}/`));
    assert.match(await page.text(), /<title>Passerelle/);
  });
}

test('scripts and pages come compressed, with tags that say which, and a policy', async () => {
  const script = [...(await walk(gateway.http('/ui/'))).keys()].find((url) => /\/client-.*\.js$/.test(url));
  const tags = new Set();
  for (const path of [new URL(script).pathname, '/ui/index.html']) {
    for (const coding of ['br', 'gzip', 'identity']) {
      const response = await request(gateway, path, { headers: { 'accept-encoding': coding } });
      assert.equal(response.status, 200);
      assert.equal(response.headers['content-encoding'] ?? 'identity', coding);
      assert.equal(response.headers['cache-control'], path.endsWith('.js') ? 'public, max-age=31536000, immutable' : 'no-cache');
      assert.match(response.headers['content-security-policy'], /^default-src 'self'/);
      assert.equal(response.headers.vary, 'accept-encoding');
      tags.add(response.headers.etag);
    }
  }
  assert.equal(tags.size, 6);
});
