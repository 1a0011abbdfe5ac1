// Debian's Chromium, driven by playwright-core; pictures go to ARTEFACTS.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });

/** A page in a browser of its own, and what went wrong in it. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  const faults = [];
  page.on('pageerror', (error) => faults.push(`${error}`));
  page.on('console', (message) => {
    // A connection that fails is what some tests are about.
    if (message.type() === 'error' && !/WebSocket|ERR_CONNECTION/.test(message.text())) faults.push(message.text());
  });
  page.on('response', (response) => {
    if (response.status() >= 400) faults.push(`${response.status()} ${response.url()}`);
  });
  await page.goto(url);
  return {
    page,
    context,
    id: (name) => page.getByTestId(name),
    /** Waits until an element has this attribute. */
    has: (name, attribute, value) => page.locator(`[data-testid="${name}"][${attribute}="${value}"]`).first().waitFor(),
    picture: (name) => page.screenshot({ path: join(process.env.ARTEFACTS ?? '.', `${name}.png`) }),
    healthy: () => assert.deepEqual(faults, []),
  };
}

/** Reads until it is good. */
export async function eventually(what, read, good = Boolean, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    const value = await read();
    if (good(value)) return value;
    assert.ok(Date.now() < end, `${what}: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
