// What the README tells a newcomer to type does what it says.
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { start } from './lib/gateway.mjs';
import { within } from './lib/wait.mjs';

let gateway;
let readme;
before(async () => {
  gateway = await start();
  const text = await readFile(new URL('../../../README.md', import.meta.url), 'utf8');
  readme = text.replaceAll('127.0.0.1:8080', new URL(gateway.http('/')).host);
});
after(() => gateway?.stop());

test('the code for a page runs, and the line for a shell reaches it', async (t) => {
  const code = readme.match(/```js\n(.*?)```/s)[1];
  const file = new URL('./readme-example.mjs', import.meta.url);
  // Node.js 20 has no WebSocket of its own.
  const prelude = `import { WebSocket } from 'ws';\nglobalThis.WebSocket ??= WebSocket;\n`;
  await writeFile(file, prelude + code);
  t.after(() => rm(file));
  const page = spawn(process.execPath, [file.pathname], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => page.kill());
  const lines = createInterface({ input: page.stdout })[Symbol.asyncIterator]();
  const next = async (what) => (await within(10_000, what, lines.next())).value;
  assert.equal(await next("the page's own message"), 'hello from a page');

  const line = readme.match(/^ {4}(curl .*)$/m)[1];
  await promisify(execFile)('sh', ['-c', line]);
  assert.equal(await next("the shell's message"), '{"hello":1}');
});
