// Many clients at once, spread over the cores: order, hand-over and counts. Seeded: SEED repeats
// a run.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { start } from './lib/gateway.mjs';
import { Peer, peers, unique } from './lib/peer.mjs';
import { random, within } from './lib/wait.mjs';

const seeds = process.env.SEED ? [Number(process.env.SEED)] : [1, 2, 3];

let gateway;
before(async () => (gateway = await start()));
after(() => gateway?.stop());

/** Some of them, at least one. */
function some(items, draw) {
  const chosen = items.filter(() => draw() < 0.5);
  return chosen.length > 0 ? chosen : [items[Math.floor(draw() * items.length)]];
}

const pick = (items, draw) => items[Math.floor(draw() * items.length)];

for (const seed of seeds) {
  test(`seed ${seed}: topics: each subscriber gets each producer’s messages in order, none lost`, async (t) => {
    const draw = random(seed);
    const open = peers(t, () => gateway);
    const base = unique('cores');
    const topics = Array.from({ length: 6 }, (_, i) => `/topic/${base}.${i}`);
    const subscribers = [];
    for (let i = 0; i < 16; i += 1) {
      const peer = await open();
      const wanted = draw() < 0.25 ? [`/topic/${base}.*`] : some(topics, draw);
      for (const destination of wanted) {
        subscribers.push({ destination, subscription: await peer.subscribe(destination) });
      }
    }
    const producers = [];
    for (let i = 0; i < 8; i += 1) producers.push(await open());
    const sent = new Map(topics.map((topic) => [topic, 0]));
    const next = new Map();
    for (let i = 0; i < 1600; i += 1) {
      const producer = Math.floor(draw() * producers.length);
      const topic = pick(topics, draw);
      const key = `${producer} ${topic}`;
      const number = next.get(key) ?? 0;
      next.set(key, number + 1);
      sent.set(topic, sent.get(topic) + 1);
      producers[producer].publish(topic, `${number}`, { producer: `${producer}` });
      if (draw() < 0.02) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const { destination, subscription } of subscribers) {
      const count = destination.endsWith('*') ? 1600 : sent.get(destination);
      const seen = new Map();
      for (const message of await subscription.messages.take(count, 20_000)) {
        const key = `${message.headers.producer} ${message.headers.destination}`;
        assert.equal(Number(message.body), seen.get(key) ?? 0, `seed ${seed}, ${destination}, ${key}`);
        seen.set(key, Number(message.body) + 1);
      }
      assert.equal(subscription.messages.length, 0, `seed ${seed}, ${destination}: more than were sent`);
    }
  });

  test(`seed ${seed}: queues: consumers come, refuse, fail and go; the counts add up`, async (t) => {
    const draw = random(seed + 1000);
    const open = peers(t, () => gateway);
    const queue = `/queue/${unique('cores')}`;
    const total = 1200;
    const dead = await (await open()).subscribe(queue.replace('/queue/', '/queue/DLQ.'), { prefetch: '1000' });

    const taken = new Map(); // body -> how many times it was acknowledged
    let settled = 0;
    let enough;
    const done = new Promise((resolve) => (enough = resolve));
    const settle = (body) => {
      taken.set(body, (taken.get(body) ?? 0) + 1);
      settled += 1;
      if (settled + dead.messages.length >= total) enough();
    };
    const watch = setInterval(() => settled + dead.messages.length >= total && enough(), 20);
    t.after(() => clearInterval(watch));

    let over = false;
    const failures = [];
    const consumers = Array.from({ length: 8 }, async (_, who) => {
      const dice = random(seed * 100 + who);
      while (!over) {
        const peer = await Peer.open(gateway);
        const subscription = await peer.subscribe(queue, {
          ack: 'client-individual',
          prefetch: `${1 + Math.floor(dice() * 20)}`,
        });
        // Each takes some, then goes: without a word, or with its UNSUBSCRIBE.
        const life = 20 + Math.floor(dice() * 150);
        for (let i = 0; i < life && !over; i += 1) {
          let message;
          try {
            message = await subscription.next(300);
          } catch {
            continue;
          }
          if (dice() < 0.35) message.nack();
          else {
            message.ack();
            settle(message.body);
          }
        }
        await peer.sync();
        if (dice() < 0.5) await subscription.unsubscribe();
        await peer.drop();
      }
    }).map((work) => work.catch((error) => failures.push(error)));

    const producers = [];
    for (let i = 0; i < 4; i += 1) producers.push(await open());
    for (let i = 0; i < total; i += 1) {
      pick(producers, draw).publish(queue, `${i}`);
      if (draw() < 0.05) await new Promise((resolve) => setImmediate(resolve));
    }
    await within(60_000, `seed ${seed}: all messages (${settled} taken, ${dead.messages.length} dead)`, done);
    over = true;
    await Promise.all(consumers);
    assert.deepEqual(failures, [], `seed ${seed}`);

    const letters = await dead.messages.take(dead.messages.length);
    for (const letter of letters) {
      assert.ok(!taken.has(letter.body), `seed ${seed}: ${letter.body} was taken and is dead`);
      taken.set(letter.body, 1);
    }
    assert.equal(taken.size, total, `seed ${seed}`);
    for (const [body, times] of taken) assert.equal(times, 1, `seed ${seed}: ${body} was taken ${times} times`);
    // Nothing is left.
    const last = await open();
    const rest = await last.subscribe(queue);
    await last.send(queue, 'end');
    assert.deepEqual(await rest.bodies(1), ['end'], `seed ${seed}`);
    t.diagnostic(`${total - letters.length} taken, ${letters.length} dead`);
  });

  test(`seed ${seed}: after a RECEIPT of SUBSCRIBE every message arrives, from whichever core`, async (t) => {
    const draw = random(seed + 2000);
    const open = peers(t, () => gateway);
    const [ours, theirs] = [[], []];
    for (let i = 0; i < 6; i += 1) {
      ours.push(await open());
      theirs.push(await open());
    }
    for (let round = 0; round < 150; round += 1) {
      const name = unique('receipt');
      const kind = pick(['topic', 'queue', 'wildcard'], draw);
      const destination = kind === 'queue' ? `/queue/${name}` : `/topic/${name}.x`;
      const pattern = kind === 'wildcard' ? `/topic/${name}.>` : destination;
      const subscription = await pick(ours, draw).subscribe(pattern);
      pick(theirs, draw).publish(destination, `${round}`);
      assert.deepEqual(await subscription.bodies(1), [`${round}`], `seed ${seed}, round ${round}, ${kind}`);
      await subscription.unsubscribe();
    }
  });
}

test('a consumer that dies on one core leaves its messages to one on another', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique('hand-over')}`;
  const sender = await open();
  const doomed = [];
  for (let i = 0; i < 4; i += 1) {
    // Connections go to the core with the fewest: four in a row are on as many cores as there are.
    const peer = await open();
    doomed.push({ peer, subscription: await peer.subscribe(queue, { ack: 'client-individual', prefetch: '25' }) });
  }
  for (let i = 0; i < 100; i += 1) sender.publish(queue, `${i}`);
  for (const { subscription } of doomed) await subscription.messages.take(25);
  const heir = await (await open()).subscribe(queue, { ack: 'client-individual', prefetch: '200' });
  for (const { peer } of doomed) await peer.drop();
  const messages = await heir.messages.take(100);
  assert.deepEqual(
    messages.map((message) => Number(message.body)).sort((a, b) => a - b),
    [...Array(100).keys()],
  );
  for (const message of messages) {
    assert.equal(message.headers.redelivered, 'true');
    assert.equal(message.headers['delivery-count'], '2');
    message.ack();
  }
});

test('request and reply between all pairs of many connections', async (t) => {
  const open = peers(t, () => gateway);
  const queue = `/queue/${unique('pairs')}`;
  for (let i = 0; i < 4; i += 1) {
    const server = await open();
    server.client.subscribe(
      queue,
      (request) => {
        server.publish(request.headers['reply-to'], `re: ${request.body}`);
        request.ack();
      },
      { ack: 'client-individual', prefetch: '4' },
    );
    await server.sync();
  }
  const clients = [];
  for (let i = 0; i < 8; i += 1) clients.push(await open());
  await Promise.all(
    clients.map(async (client, c) => {
      const replies = await client.subscribe('/temp-queue/r');
      for (let i = 0; i < 25; i += 1) client.publish(queue, `${c}.${i}`, { 'reply-to': '/temp-queue/r' });
      const bodies = await replies.bodies(25, 20_000);
      assert.deepEqual(new Set(bodies), new Set(Array.from({ length: 25 }, (_, i) => `re: ${c}.${i}`)));
    }),
  );
});
