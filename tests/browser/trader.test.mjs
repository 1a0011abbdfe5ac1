// The Trader, as a person uses it.
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

const live = (trader) => trader.has('status', 'data-state', 'live');
const number = (text) => Number(text.replaceAll(/[^\d.−-]/g, '').replace('−', '-'));

/** The symbols on the list. */
const symbols = (trader) =>
  trader.page.locator('[data-testid^="instrument-"]').evaluateAll((rows) => rows.map((row) => row.dataset.testid.slice(11)));

/** All last prices. */
const prices = (trader) =>
  trader.page.locator('[data-testid^="last-"]').evaluateAll((cells) => cells.map((cell) => cell.textContent));

async function pricesMove(trader) {
  const first = await prices(trader);
  await eventually('prices that change', () => prices(trader), (now) => now.filter((price, i) => price !== first[i]).length >= 5);
}

async function order(trader, { side, kind, quantity, price }) {
  await trader.id(`side-${side}`).check({ force: true });
  await trader.id(`kind-${kind}`).check({ force: true });
  await trader.id('quantity').fill(`${quantity}`);
  if (price !== undefined) await trader.id('limit-price').fill(`${price}`);
  await trader.id('submit-order').click();
}

const fills = (trader, symbol, side) =>
  trader.page
    .locator(`[data-testid="fill-row"][data-symbol="${symbol}"][data-side="${side}"]`)
    .evaluateAll((rows) => rows.map((row) => Number(row.dataset.quantity)));

const position = (trader, symbol) =>
  eventuallyText(trader.id(`position-quantity-${symbol}`));
const eventuallyText = async (locator) => number(await locator.textContent());

test('prices live, a market buy, limit sells, fills, position and profit; then a gateway that dies', async () => {
  const trader = await open(browser, `${demo.url}/`, { colorScheme: 'light' });
  await live(trader);
  const all = await symbols(trader);
  assert.ok(all.length >= 35 && all.length <= 60, `${all.length} instruments`);
  await pricesMove(trader);
  await eventually('the age of the quotes', () => trader.id('age').getAttribute('data-ms'), (ms) => ms !== null && Number(ms) >= 0 && Number(ms) < 1000);

  const symbol = all[1];
  await trader.id(`instrument-${symbol}`).click();
  await eventually('the chosen instrument', () => trader.id('selected-symbol').textContent(), (text) => text.includes(symbol));
  await eventually('a chart', () => trader.id('chart').getAttribute('data-candles'), (count) => Number(count) > 0);

  // A market buy is filled at once.
  await order(trader, { side: 'buy', kind: 'market', quantity: 100 });
  await eventually('the fill', () => fills(trader, symbol, 'buy'), (all) => all.reduce((a, b) => a + b, 0) === 100);
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 100);
  await trader.id('profit-total').waitFor();

  // A limit sell below the market is filled at once, at no less than its limit.
  const bid = number(await trader.id('selected-bid').textContent());
  const low = (bid * 0.9).toFixed(2);
  await order(trader, { side: 'sell', kind: 'limit', quantity: 40, price: low });
  await eventually('the fill of the sell', () => fills(trader, symbol, 'sell'), (all) => all.reduce((a, b) => a + b, 0) === 40);
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 60);
  const price = Number(await trader.page.locator('[data-testid="fill-row"][data-side="sell"]').first().getAttribute('data-price'));
  assert.ok(price >= Number(low), `${price} >= ${low}`);

  // A limit sell far above works on, until it is cancelled.
  await order(trader, { side: 'sell', kind: 'limit', quantity: 10, price: (bid * 2).toFixed(2) });
  const working = trader.page.locator(`[data-testid="order-row"][data-symbol="${symbol}"][data-status="working"]`);
  await working.waitFor();
  await trader.picture('trader-light');
  await working.getByTestId('cancel-order').click();
  await working.waitFor({ state: 'detached' });
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 60);

  // Another browser: the same market, orders of its own.
  const other = await open(browser, `${demo.url}/`, { colorScheme: 'dark' });
  await live(other);
  await pricesMove(other);
  assert.deepEqual(await fills(other, symbol, 'buy'), []);
  await other.picture('trader-dark');
  other.healthy();
  await other.context.close();

  // The gateway dies: the page says so, and goes on when it is back.
  await demo.killGateway();
  await eventually('a page that notices', () => trader.id('status').getAttribute('data-state'), (state) => state !== 'live');
  await demo.responds();
  await eventually('a page that recovers', () => trader.id('status').getAttribute('data-state'), (state) => state === 'live', 20_000);
  await pricesMove(trader);
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 60);
  await trader.id(`instrument-${symbol}`).click();
  await order(trader, { side: 'sell', kind: 'market', quantity: 60 });
  await eventually('the fill after', () => fills(trader, symbol, 'sell'), (all) => all.reduce((a, b) => a + b, 0) === 100);
  trader.healthy();
  await trader.context.close();
});

test('a reload keeps the trader’s position', async () => {
  const trader = await open(browser, `${demo.url}/`);
  await live(trader);
  const [symbol] = await symbols(trader);
  await trader.id(`instrument-${symbol}`).click();
  await order(trader, { side: 'buy', kind: 'market', quantity: 7 });
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 7);
  await trader.page.reload();
  await live(trader);
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 7);
  trader.healthy();
  await trader.context.close();
});

test('on a phone: one part at a time, nothing wider than the screen', async () => {
  const trader = await open(browser, `${demo.url}/`, {
    viewport: { width: 390, height: 844 },
    deviceScaleFactor: 2,
    hasTouch: true,
    isMobile: true,
  });
  await live(trader);
  await pricesMove(trader);
  await trader.picture('trader-phone-market');
  const [symbol] = await symbols(trader);
  await trader.id(`instrument-${symbol}`).tap();
  await trader.id('tab-trade').tap();
  await trader.id('submit-order').waitFor({ state: 'visible' });
  await order(trader, { side: 'buy', kind: 'market', quantity: 5 });
  await trader.picture('trader-phone-trade');
  await trader.id('tab-portfolio').tap();
  await trader.id(`position-quantity-${symbol}`).waitFor({ state: 'visible' });
  await eventually('the position', () => position(trader, symbol), (quantity) => quantity === 5);
  await trader.picture('trader-phone-portfolio');
  const wider = await trader.page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wider <= 0, `${wider} px wider than the screen`);
  trader.healthy();
  await trader.context.close();
});
