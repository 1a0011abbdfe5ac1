// Static files: welcome file, types, entity tags, ranges, variants, and no way out of the root.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { start } from './lib/gateway.mjs';
import { Raw } from './lib/raw.mjs';

const style = 'body { color: black }\n'.repeat(200);
const digits = '0123456789'.repeat(100);
let gateway;
before(async () => {
  gateway = await start(
    `
[[service]]
path = "/"
type = "directory"
root = "site"

[[service]]
path = "/other"
type = "directory"
root = "site/sub"
welcome = "start.txt"
`,
    {
      files: {
        'site/index.html': '<!doctype html><p>welcome',
        'site/style.css': style,
        'site/style.css.gz': gzipSync(style),
        'site/digits.txt': digits,
        'site/a b+ä.txt': 'strange name',
        'site/script.js': 'export {};',
        'site/picture.svg': '<svg xmlns="http://www.w3.org/2000/svg"/>',
        'site/data.json': '{}',
        'site/module.wasm': 'x',
        'site/sub/index.html': 'the folder’s own',
        'site/sub/start.txt': 'another welcome',
        'secret.txt': 'secret',
      },
    },
  );
});
after(() => gateway?.stop());

const get = (path, headers = {}, method = 'GET') => fetch(gateway.http(path), { headers, method, redirect: 'manual' });

test('a folder is its welcome file', async () => {
  assert.equal(await (await get('/')).text(), '<!doctype html><p>welcome');
  assert.equal(await (await get('/sub/')).text(), 'the folder’s own');
  assert.equal(await (await get('/other/')).text(), 'another welcome');
  const bare = await get('/sub');
  assert.ok([301, 302, 307, 308].includes(bare.status), `${bare.status}`);
  assert.equal(new URL(bare.headers.get('location'), gateway.http('/')).pathname, '/sub/');
});

test('types by name', async () => {
  const types = {
    '/': /^text\/html/,
    '/style.css': /^text\/css/,
    '/script.js': /^(text|application)\/javascript/,
    '/picture.svg': /^image\/svg\+xml/,
    '/data.json': /^application\/json/,
    '/module.wasm': /^application\/wasm/,
    '/digits.txt': /^text\/plain/,
  };
  for (const [path, type] of Object.entries(types)) {
    const response = await get(path);
    assert.match(response.headers.get('content-type'), type, path);
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff', path);
    await response.arrayBuffer();
  }
});

test('names are decoded', async () => {
  assert.equal(await (await get('/a%20b+%C3%A4.txt')).text(), 'strange name');
});

test('HEAD is GET without the body', async () => {
  const response = await get('/digits.txt', {}, 'HEAD');
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-length'), '1000');
  assert.equal(await response.text(), '');
});

test('an entity tag saves the body', async () => {
  const first = await get('/digits.txt');
  await first.text();
  const tag = first.headers.get('etag');
  assert.match(tag, /^(W\/)?"[^"]+"$/);
  for (const header of [tag, '*', `"other", ${tag}`]) {
    const again = await get('/digits.txt', { 'if-none-match': header });
    assert.equal(again.status, 304, header);
    assert.equal(again.headers.get('etag'), tag);
    assert.equal(await again.text(), '');
  }
  assert.equal((await get('/digits.txt', { 'if-none-match': '"other"' })).status, 200);
  const modified = first.headers.get('last-modified');
  if (modified) assert.equal((await get('/digits.txt', { 'if-modified-since': modified })).status, 304);
});

test('ranges', async () => {
  const cases = [
    ['bytes=0-9', 206, digits.slice(0, 10), 'bytes 0-9/1000'],
    ['bytes=990-', 206, digits.slice(990), 'bytes 990-999/1000'],
    ['bytes=-5', 206, digits.slice(-5), 'bytes 995-999/1000'],
    ['bytes=995-2000', 206, digits.slice(995), 'bytes 995-999/1000'],
    ['bytes=1000-', 416, undefined, 'bytes */1000'],
    ['bytes=9-0', 200, digits, null],
    ['lines=1-2', 200, digits, null],
  ];
  for (const [range, status, body, contentRange] of cases) {
    const response = await get('/digits.txt', { range });
    assert.equal(response.status, status, range);
    const text = await response.text();
    if (body !== undefined) assert.equal(text, body, range);
    assert.equal(response.headers.get('content-range'), contentRange, range);
  }
  assert.equal((await get('/digits.txt')).headers.get('accept-ranges'), 'bytes');
  const stale = await get('/digits.txt', { range: 'bytes=0-9', 'if-range': '"other"' });
  assert.equal(stale.status, 200);
});

test('a precompressed variant is sent to whom it suits', async () => {
  const tags = new Set();
  for (const [accept, encoding] of [['gzip', 'gzip'], ['identity', null], ['gzip;q=0', null], ['br, gzip', 'gzip']]) {
    const response = await get('/style.css', { 'accept-encoding': accept });
    assert.equal(response.headers.get('content-encoding'), encoding, accept);
    assert.match(response.headers.get('vary') ?? '', /accept-encoding/i, accept);
    assert.match(response.headers.get('content-type'), /^text\/css/);
    assert.equal(await response.text(), style);
    tags.add(response.headers.get('etag'));
  }
  assert.equal(tags.size, 2, 'a tag for each variant');
});

test('there is no way out of the root', async () => {
  const paths = [
    '/../secret.txt',
    '/sub/../../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/sub/..%2f..%2fsecret.txt',
    '/..%5csecret.txt',
    '//secret.txt',
    '/%2fetc%2fpasswd',
    '/secret.txt%00.html',
    '/.../secret.txt',
  ];
  for (const path of paths) {
    // fetch would tidy the path up
    const raw = await Raw.open(gateway);
    raw.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
    const response = (await raw.rest()).toString();
    assert.match(response, /^HTTP\/1\.1 (400|403|404) /, path);
    assert.ok(!response.endsWith('secret'), path);
  }
});

test('what is not there is 404, what cannot be done 405', async () => {
  assert.equal((await get('/nothing.html')).status, 404);
  const response = await get('/', {}, 'DELETE');
  assert.equal(response.status, 405);
  assert.match(response.headers.get('allow'), /GET/);
});
