// The small pages: echo, broadcast, and the console for topics and queues.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { eventually, launch, open } from './lib/browser.mjs';
import { Demo } from './lib/demo.mjs';
import { start } from './lib/serve.mjs';

let demo;
let browser;
before(async () => {
  demo = await Demo.start();
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Connects, unless the page does so by itself. */
async function connect(page, prefix) {
  const state = () => page.id(`${prefix}-status`).getAttribute('data-state');
  if ((await eventually('the first attempt', state, (now) => now !== 'connecting')) !== 'open') {
    await page.id(`${prefix}-connect`).click();
  }
  await page.has(`${prefix}-status`, 'data-state', 'open');
}

test('the demo begins with the Trader, and leads to all pages', async () => {
  const page = await open(browser, `${demo.url}/`);
  await page.id('selected-symbol').waitFor();
  const shown = () => page.page.locator('.nav-link:visible').allTextContents();
  await eventually('all pages', shown, (names) => names.join() === 'Start,Trader,Console,Echo,Broadcast');
  await page.page.getByRole('link', { name: 'Start' }).click();
  await page.id('start-address').waitFor();
  await page.has('start-status', 'data-state', 'open');
  assert.match(await page.id('start-services').innerText(), /Trader/);
  page.healthy();
  await page.context.close();
});

test('a gateway without a market begins with what it offers, to whom, and how to use it', async () => {
  const gateway = await start();
  const page = await open(browser, `${gateway.url}/`);
  await page.has('start-status', 'data-state', 'open');
  assert.equal(await page.id('start-address').textContent(), gateway.url);
  assert.match(await page.id('start-who').textContent(), /^Everybody on this machine may connect/);
  assert.match(await page.id('start-configuration').textContent(), /passerelle init/);
  const shown = await page.page.locator('.nav-link:visible').allTextContents();
  assert.deepEqual(shown, ['Start', 'Console', 'Echo', 'Broadcast']);

  // What is to be copied works as it stands.
  const curl = (await page.id('start-curl').textContent()).replace(/^Copy/, '');
  assert.match(curl, new RegExp(`^curl .* ${gateway.url}/topics/news$`));
  execFileSync('sh', ['-c', curl]);
  const line = () => page.id('start-line').allTextContents();
  await eventually('the message of curl', line, ([newest]) => newest?.includes('hello'));
  const pub = (await page.id('start-pub').textContent()).replace(/^Copy/, '');
  execFileSync('sh', ['-c', pub.replace('passerelle', process.env.PASSERELLE).replace('"hello"', '"by pub"')], { stdio: 'pipe' });
  await eventually('the message of pub', line, ([newest]) => newest?.includes('by pub'));
  await page.id('start-text').fill('by the page');
  await page.id('start-send').click();
  await eventually('the message of the page', line, ([newest]) => newest?.includes('by the page'));
  await page.picture('start');
  await page.page.setViewportSize({ width: 390, height: 800 });
  await page.picture('start-narrow');
  page.healthy();
  await page.context.close();
  await gateway.stop();
});

test('a gateway that wants a login says so, and hides what is not there', async () => {
  const gateway = await start(`[[listen]]
address = "127.0.0.1:0"
anonymous = false
[[service]]
path = "/"
type = "pages"
[[service]]
path = "/messaging"
type = "broker"
[[user]]
name = "ann"
password = "$argon2id$v=19$m=19456,t=2,p=1$fEAW/Qc08zRBgd6k2Pj3Mg$GEG7XPW1cghr1bKOTz7KctawNrvlysEb8tiDizlIciQ"
`);
  // The pages are for users, too.
  const page = await open(browser, `${gateway.url}/`, { httpCredentials: { username: 'ann', password: 'secret' } });
  await eventually('who may connect', () => page.id('start-who').textContent(), (text) => text === 'Users log in, from this machine alone.');
  assert.match(await page.id('start-problem').textContent(), /A login is required/);
  assert.match(await page.id('start-configuration').textContent(), /^Operators see it here/);
  assert.deepEqual(await page.page.locator('.nav-link:visible').allTextContents(), ['Start', 'Console']);
  assert.equal(await page.id('start-curl').isVisible(), false);
  assert.match(await page.id('start-shell').textContent(), /\/messaging --user NAME$/);
  assert.match(await page.id('start-page').textContent(), /messaging", connectHeaders: \{ login: "NAME", passcode: "…" \} \}\);/);
  await page.picture('start-login');
  await page.context.close();
  await gateway.stop();
});

test('echo: what is sent comes back', async () => {
  const page = await open(browser, `${demo.url}/echo.html`);
  await connect(page, 'echo');
  await page.id('echo-text').fill('hello Grüße 😀');
  await page.id('echo-send').click();
  await eventually('the echo', () => page.id('log-line').allTextContents(), (lines) => lines.filter((line) => line.includes('hello Grüße 😀')).length >= 2);
  await page.picture('echo');
  page.healthy();
  await page.context.close();
});

test('broadcast: what one page sends the other gets', async () => {
  const [a, b] = [await open(browser, `${demo.url}/broadcast.html`), await open(browser, `${demo.url}/broadcast.html`)];
  await connect(a, 'broadcast');
  await connect(b, 'broadcast');
  await a.id('broadcast-text').fill('hello everybody');
  await a.id('broadcast-send').click();
  await eventually('the message', () => b.id('log-line').allTextContents(), (lines) => lines.some((line) => line.includes('hello everybody')));
  await b.picture('broadcast');
  for (const page of [a, b]) {
    page.healthy();
    await page.context.close();
  }
});

test('console: subscribe, publish, see the frames, acknowledge', async () => {
  const page = await open(browser, `${demo.url}/console.html`);
  await connect(page, 'console');
  await page.id('subscribe-destination').fill('/topic/console');
  await page.id('subscribe').click();
  await page.id('subscription-row').first().waitFor();
  await page.id('send-destination').fill('/topic/console');
  await page.id('send-body').fill('{"from":"the page"}');
  await page.id('send').click();
  await eventually('the message', () => page.id('message-row').allTextContents(), (rows) => rows.some((row) => row.includes('the page')));

  const response = await fetch(`${demo.url}/topics/console`, { method: 'POST', body: 'from a shell' });
  assert.ok(response.ok);
  await eventually('the message of HTTP', () => page.id('message-row').allTextContents(), (rows) => rows.some((row) => row.includes('from a shell')));
  const commands = await page.id('frame').evaluateAll((rows) => rows.map((row) => `${row.dataset.direction} ${row.dataset.command}`));
  for (const wanted of ['in CONNECTED', 'out SUBSCRIBE', 'out SEND', 'in MESSAGE']) {
    assert.ok(commands.includes(wanted), `${wanted} among ${commands}`);
  }

  await page.id('subscribe-destination').fill('/queue/console');
  await page.id('subscribe-ack').selectOption('client-individual');
  await page.id('subscribe').click();
  await page.id('send-destination').fill('/queue/console');
  await page.id('send-body').fill('a job');
  await page.id('send').click();
  const job = page.id('message-row').filter({ hasText: 'a job' }).first();
  await job.getByTestId('nack').click();
  const again = page.id('message-row').filter({ hasText: 'a job' });
  await eventually('the job again', () => again.count(), (count) => count >= 2);
  await page.picture('console');
  page.healthy();
  await page.context.close();
});
