// @stomp/stompjs in a page: its own WebSocket, its own TextDecoder.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, open } from './lib/browser.mjs';
import { Demo } from './lib/demo.mjs';

const bundle = fileURLToPath(new URL('./node_modules/@stomp/stompjs/bundles/stomp.umd.min.js', import.meta.url));

let demo;
let browser;
let view;
before(async () => {
  demo = await Demo.start();
  browser = await launch();
  view = await open(browser, `${demo.url}/echo.html`, { bypassCSP: true });
  await view.page.addScriptTag({ path: bundle });
  await view.page.evaluate(helpers);
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** What the features need; runs in the page. */
function helpers() {
  const within = (what, promise) =>
    Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`no ${what}`)), 8000))]);
  let names = 0;
  const unique = (prefix) => `${prefix}browser-${(names += 1)}`;

  class Peer {
    static async open(options = {}) {
      const peer = new Peer();
      const brokerURL = `${location.origin.replace('http', 'ws')}/messaging`;
      peer.client = new StompJs.Client({ brokerURL, reconnectDelay: 0, heartbeatIncoming: 0, heartbeatOutgoing: 0, ...options });
      peer.error = new Promise((resolve) => (peer.client.onStompError = resolve));
      peer.closed = new Promise((resolve) => (peer.client.onWebSocketClose = resolve));
      const connected = new Promise((resolve) => (peer.client.onConnect = resolve));
      peer.client.activate();
      peer.frame = await within('CONNECTED', connected);
      return peer;
    }
    receipt(work) {
      const id = unique('r-');
      const received = new Promise((resolve) => this.client.watchForReceipt(id, resolve));
      work(id);
      return within('RECEIPT', received);
    }
    send(destination, body, headers = {}) {
      const content = typeof body === 'string' ? { body } : { binaryBody: body };
      return this.receipt((receipt) => this.client.publish({ destination, ...content, headers: { ...headers, receipt } }));
    }
    async subscribe(destination, headers = {}) {
      const [got, waiting] = [[], []];
      const take = (message) => (waiting.length ? waiting.shift()(message) : got.push(message));
      let handle;
      await this.receipt((receipt) => (handle = this.client.subscribe(destination, take, { ...headers, receipt })));
      const next = () => within('message', got.length ? Promise.resolve(got.shift()) : new Promise((resolve) => waiting.push(resolve)));
      return { next, got, end: () => this.receipt((receipt) => handle.unsubscribe({ receipt })) };
    }
    close() {
      return this.client.deactivate();
    }
  }
  Object.assign(globalThis, { Peer, unique, within });
}

// Each runs in the page; what it returns is compared here.
const features = [
  [
    'versions',
    async () => {
      const results = [];
      for (const version of ['1.0', '1.1', '1.2']) {
        const peer = await Peer.open({ stompVersions: new StompJs.Versions([version]) });
        results.push([peer.client.connectedVersion, peer.client.webSocket.protocol]);
        await peer.close();
      }
      return results;
    },
    [['1.0', 'v10.stomp'], ['1.1', 'v11.stomp'], ['1.2', 'v12.stomp']],
  ],
  [
    'topics, with what the headers and bodies hold',
    async () => {
      const [a, b] = [await Peer.open(), await Peer.open()];
      const topic = unique('/topic/');
      const [one, two] = [await a.subscribe(topic), await b.subscribe(topic)];
      await a.send(topic, 'Grüße 😀', { odd: 'colon: back\\slash\nline' });
      await a.send(topic, new Uint8Array([0, 255, 0, 1]));
      const results = [];
      for (const subscription of [one, two]) {
        const text = await subscription.next();
        results.push(text.body, text.headers.odd, [...(await subscription.next()).binaryBody]);
      }
      await Promise.all([a.close(), b.close()]);
      return results;
    },
    ['Grüße 😀', 'colon: back\\slash\nline', [0, 255, 0, 1], 'Grüße 😀', 'colon: back\\slash\nline', [0, 255, 0, 1]],
  ],
  [
    'wildcards, and the end of a subscription',
    async () => {
      const peer = await Peer.open();
      const topic = unique('/topic/');
      const [level, rest] = [await peer.subscribe(`${topic}.*`), await peer.subscribe(`${topic}.>`)];
      await peer.send(`${topic}.a`, '1');
      await peer.send(`${topic}.a.b`, '2');
      const results = [(await level.next()).body, (await rest.next()).body, (await rest.next()).body];
      await rest.end();
      await peer.send(`${topic}.a`, '3');
      results.push((await level.next()).body, rest.got.length);
      await peer.close();
      return results;
    },
    ['1', '1', '2', '3', 0],
  ],
  [
    'acknowledgement: cumulative, single, NACK, a consumer that is gone',
    async () => {
      const [first, second, sender] = [await Peer.open(), await Peer.open(), await Peer.open()];
      const queue = unique('/queue/');
      for (const body of ['1', '2', '3', '4']) await sender.send(queue, body);
      let taken = await first.subscribe(queue, { ack: 'client', prefetch: '4' });
      await taken.next();
      (await taken.next()).ack(); // 1 and 2
      const third = await taken.next();
      await taken.next();
      third.nack(); // 3 comes again
      const again = await taken.next();
      const results = [again.body, again.headers.redelivered];
      await first.client.deactivate({ force: true });
      taken = await second.subscribe(queue, { ack: 'client-individual' });
      const rest = [await taken.next(), await taken.next()];
      rest.forEach((message) => message.ack());
      results.push(rest.map((message) => message.body).sort());
      await Promise.all([second.close(), sender.close()]);
      return results;
    },
    ['3', 'true', ['3', '4']],
  ],
  [
    'six deliveries, then the dead-letter queue',
    async () => {
      const peer = await Peer.open();
      const name = unique('');
      await peer.send(`/queue/${name}`, 'poison');
      const taken = await peer.subscribe(`/queue/${name}`, { ack: 'client-individual' });
      for (let i = 0; i < 6; i += 1) (await taken.next()).nack();
      const dead = await (await peer.subscribe(`/queue/DLQ.${name}`)).next();
      await peer.close();
      return dead.body;
    },
    'poison',
  ],
  [
    'transactions',
    async () => {
      const peer = await Peer.open();
      const queue = unique('/queue/');
      const taken = await peer.subscribe(queue);
      const gone = peer.client.begin();
      peer.client.publish({ destination: queue, body: 'never', headers: { transaction: gone.id } });
      gone.abort();
      const kept = peer.client.begin();
      peer.client.publish({ destination: queue, body: 'in it', headers: { transaction: kept.id } });
      await peer.send(queue, 'before it');
      kept.commit();
      const results = [(await taken.next()).body, (await taken.next()).body];
      await peer.close();
      return results;
    },
    ['before it', 'in it'],
  ],
  [
    'request and reply on a temporary queue',
    async () => {
      const [client, worker] = [await Peer.open(), await Peer.open()];
      const queue = unique('/queue/');
      const [jobs, replies] = [await worker.subscribe(queue), await client.subscribe('/temp-queue/mine')];
      await client.send(queue, 'question', { 'reply-to': '/temp-queue/mine' });
      const job = await jobs.next();
      await worker.send(job.headers['reply-to'], 'reply');
      const results = [/^\/temp-queue\/[0-9a-f]{32}$/.test(job.headers['reply-to']), (await replies.next()).body];
      await Promise.all([client.close(), worker.close()]);
      return results;
    },
    [true, 'reply'],
  ],
  [
    'priority, expiry, persistence, prefetch',
    async () => {
      const peer = await Peer.open();
      const queue = unique('/queue/');
      await peer.send(queue, 'gone', { expires: `${Date.now() - 1000}` });
      await peer.send(queue, 'low', { priority: '1', persistent: 'true' });
      await peer.send(queue, 'high', { priority: '8' });
      const taken = await peer.subscribe(queue, { ack: 'client-individual', prefetch: '1' });
      const first = await taken.next();
      await peer.send(unique('/topic/'), 'a round trip');
      const results = [first.body, taken.got.length];
      first.ack();
      results.push((await taken.next()).body);
      await peer.close();
      return results;
    },
    ['high', 0, 'low'],
  ],
  [
    'heart-beats',
    async () => {
      let beats = 0;
      const peer = await Peer.open({ heartbeatIncoming: 1000, heartbeatOutgoing: 1000 });
      peer.client.webSocket.addEventListener('message', ({ data }) => (beats += data === '\n' ? 1 : 0));
      await within('heart-beats', new Promise((resolve) => setInterval(() => beats >= 2 && resolve(), 50)));
      const connected = peer.client.connected;
      await peer.close();
      return connected;
    },
    true,
  ],
  [
    'an ERROR that says what was wrong',
    async () => {
      const peer = await Peer.open();
      peer.client.publish({ destination: '/nowhere', body: '', headers: { receipt: 'r' } });
      const error = await within('ERROR', peer.error);
      await within('close', peer.closed);
      return [error.headers.message, error.headers['receipt-id'], error.body.includes('/topic/')];
    },
    ['bad destination', 'r', true],
  ],
];
for (const [name, feature, expected] of features) {
  test(name, async () => assert.deepEqual(await view.page.evaluate(feature), expected));
}
