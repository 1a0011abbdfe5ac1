// The small pages: echo, broadcast, and the console for topics and queues.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, launch, open } from './lib/browser.mjs';
import { Demo } from './lib/demo.mjs';

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
