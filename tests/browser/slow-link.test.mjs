// The Trader on a link of 50 kB/s, behind something with large buffers: prices stay new, since no more
// of them are on their way than the page acknowledges.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { eventually, launch, open } from './lib/browser.mjs';
import { Demo } from './lib/demo.mjs';

const BYTES_PER_SECOND = 50_000;
const STEP_MS = 20;
/** How old what is shown may be. */
const AGE_MAX_MS = 2000;
/** What of the market may be on its way: 40 quotes, and some replies. */
const HELD_MAX = 32_768;

let demo;
let browser;
let link;
before(async () => {
  demo = await Demo.start();
  link = await Link.start(demo.port);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  link?.stop();
  await demo?.stop();
});

/** Passes on what comes at once, and what goes to the browser as the link allows. */
class Link {
  static async start(port) {
    const link = new Link();
    link.connections = new Set();
    link.server = createServer((down) => link.#join(down, connect(port, '127.0.0.1')));
    link.server.listen(0, '127.0.0.1');
    await once(link.server, 'listening');
    link.timer = setInterval(() => link.#pass(), STEP_MS);
    return link;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  /** Bytes for the browser that have not been passed on. */
  get held() {
    return [...this.connections].reduce((sum, one) => sum + one.held.reduce((all, piece) => all + piece.length, 0), 0);
  }

  #join(down, up) {
    const one = { down, held: [], ended: false };
    this.connections.add(one);
    down.on('data', (data) => up.write(data));
    up.on('data', (data) => one.held.push(data));
    up.on('end', () => (one.ended = true));
    const close = () => {
      this.connections.delete(one);
      down.destroy();
      up.destroy();
    };
    for (const socket of [down, up]) socket.on('error', close);
    down.on('close', close);
  }

  /** All connections share the link. */
  #pass() {
    let left = (BYTES_PER_SECOND * STEP_MS) / 1000;
    for (const one of this.connections) {
      while (left > 0 && one.held.length > 0) {
        const piece = one.held.shift();
        const sent = piece.subarray(0, left);
        if (sent.length < piece.length) one.held.unshift(piece.subarray(sent.length));
        one.down.write(sent);
        left -= sent.length;
      }
      if (one.ended && one.held.length === 0) one.down.end();
    }
  }

  stop() {
    clearInterval(this.timer);
    for (const { down } of this.connections) down.destroy();
    this.server.close();
  }
}

const conflated = async () => {
  const metrics = await (await fetch(`${demo.url}/metrics`)).text();
  return Number(/^passerelle_broker_topic_conflated_total (\d+)$/m.exec(metrics)[1]);
};

test('prices stay new on a slow link', async () => {
  const trader = await open(browser, `${link.url}/`);
  trader.page.setDefaultTimeout(60_000);
  await trader.has('status', 'data-state', 'live');
  // The link is too slow for all quotes, so that some are replaced by newer ones.
  const before = await conflated();
  await eventually('replaced quotes', conflated, (count) => count > before + 500, 60_000);
  const [ages, held] = [[], []];
  for (let n = 0; n < 20; n += 1) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    held.push(link.held);
    ages.push(Number(await trader.id('age').getAttribute('data-ms')));
  }
  console.log(`ages in ms: ${ages.join(' ')}; bytes on their way: ${held.join(' ')}`);
  assert.ok(Math.max(...held) <= HELD_MAX, `${Math.max(...held)} bytes are on their way`);
  assert.ok(Math.max(...ages) < AGE_MAX_MS, `what is shown is ${Math.max(...ages)} ms old`);
  trader.healthy();
});
