// A consumer: one connection after the other, each with subscriptions, settlements and an end at
// random.
import { crc32 } from 'node:zlib';
import { within } from '../interop/node/lib/wait.mjs';
import { ANSWER_TIMEOUT, Client } from './client.mjs';
import { body } from './bodies.mjs';

/**
 * What a consumer subscribes to and how it may leave:
 * - `acknowledging` settles each message itself, and leaves in any way;
 * - `steady` does so too, or acknowledges automatically, and stays to the end;
 * - `orderly` acknowledges some, refuses none, and leaves soon, with UNSUBSCRIBE or DISCONNECT;
 * - `automatic` never leaves before it has read all that was sent to it;
 * - `careless` has automatic acknowledgement and leaves in any way, so it loses messages.
 */
export async function consume(run, name, kind, queues) {
  const client = new Client(run, name);
  while (!run.isOver()) {
    await new Life(run, client, kind, queues).live();
    await client.connection.ended;
    await run.pause(client.between(0, 50));
  }
  await client.close();
}

class Life {
  #subscriptions = new Map();
  #left = 0;
  #deliveries = 0;
  #leaving = false;
  #over;
  /** The transaction that takes acknowledgements, and what is in it: lists of deliveries. */
  #tx;
  #inTx = [];

  constructor(run, client, kind, queues) {
    this.run = run;
    this.client = client;
    this.kind = kind;
    this.queues = queues;
    this.done = new Promise((resolve) => (this.#over = resolve));
  }

  async live() {
    const { client } = this;
    await client.open({ message: (headers, content) => this.#delivered(headers, content) });
    client.connection.ended.then(this.#over);
    this.#left = client.between(1, 300);
    for (let id = client.between(1, 3); id > 0; id -= 1)
      this.#subscribe(`${id}`, client.pick(this.queues), this.#mode());
    const ends = !this.#stays && setTimeout(this.#over, client.between(100, this.kind === 'orderly' ? 1000 : 6000));
    const slow = client.chance(0.25) && setInterval(() => this.#nap(), 400);
    const watch = setInterval(() => this.run.isOver() && this.#over(), 100);
    await this.done;
    for (const timer of [ends, slow, watch]) clearInterval(timer);
    client.connection.resume();
    this.#leaving = true;
    if (client.isOpen) await this.#leave();
  }

  get #stays() {
    return this.kind === 'steady';
  }

  #mode() {
    const individual = this.client.version === '1.0' ? 'client' : 'client-individual';
    const modes = ['client', individual, individual];
    if (this.kind === 'acknowledging' || this.kind === 'orderly') return this.client.pick(modes);
    if (this.#stays) return this.client.pick(this.run.isRight['returns-what-comes-late'] ? [...modes, 'auto'] : modes);
    return 'auto';
  }

  #subscribe(id, queue, mode) {
    const { client } = this;
    const prefetch = client.pick([undefined, 1, 2, 5, 20, 100]);
    this.#subscriptions.set(id, { id, queue, mode, unsettled: [] });
    client.write('subscribed', { sub: id, queue, mode, prefetch });
    client.connection.write('SUBSCRIBE', { id, destination: queue, ack: mode, ...(prefetch && { prefetch }) });
  }

  /** Reads nothing for a while. */
  #nap() {
    this.client.connection.pause();
    setTimeout(() => this.client.connection.resume(), this.client.between(50, 350));
  }

  #delivered(headers, content) {
    const { client } = this;
    const subscription = this.#subscriptions.get(
      headers.subscription ??
        [...this.#subscriptions.keys()].find((id) => this.#subscriptions.get(id).queue === headers.destination),
    );
    const late = subscription.isEnded && subscription.mode !== 'auto';
    client.write(late ? 'late' : 'delivered', {
      ...seen(headers, content),
      sub: subscription.id,
      mode: subscription.mode,
    });
    this.run.backlog.delivered(headers.id);
    if ((this.#left -= 1) <= 0 && !this.#stays) this.#over();
    if (late || subscription.mode === 'auto') return;
    const delivery = {
      number: (this.#deliveries += 1),
      id: headers.id,
      ack: headers.ack,
      messageId: headers['message-id'],
      subscription,
    };
    subscription.unsettled.push(delivery);
    if (!this.#leaving) this.#decide(delivery);
  }

  #decide(delivery) {
    const { client } = this;
    const kind = client.draw();
    if (this.kind === 'orderly') {
      if (kind < 0.3) this.#settle('ack', delivery);
    } else if (isPoison(delivery.id) && client.version !== '1.0') this.#settle('nack', delivery);
    else if (kind < 0.55) this.#settle('ack', delivery);
    else if (kind < 0.75) setTimeout(() => this.#settle('ack', delivery), client.between(1, 300));
    else if (kind < 0.82 && client.version !== '1.0') this.#settle('nack', delivery);
    else if (kind < 0.96) this.#transact(delivery);
    // Else it is kept until the consumer leaves, or until an acknowledgement of a later one.
  }

  /** ACK or NACK of what is unsettled still, in mode `client` of all before it too. */
  #settle(verb, delivery, tx) {
    const { client } = this;
    const { subscription } = delivery;
    const { unsettled, mode } = subscription;
    const at = unsettled.indexOf(delivery);
    if (at < 0 || this.#leaving || !client.isOpen) return [];
    // An acknowledgement of all before it would take what is in the transaction with it.
    if (mode === 'client' && !tx && this.#inTx.some((other) => other.subscription === subscription)) return [];
    const settled = mode === 'client' ? unsettled.splice(0, at + 1) : unsettled.splice(at, 1);
    const receipt = client.chance(0.5) ? client.receipt() : undefined;
    client.write(verb, { sub: subscription.id, ids: settled.map(({ id }) => id), tx, receipt });
    const headers =
      client.version === '1.2'
        ? { id: delivery.ack }
        : { subscription: subscription.id, 'message-id': delivery.messageId };
    client.connection.write(verb.toUpperCase(), {
      ...headers,
      ...(tx && { transaction: tx }),
      ...(receipt && { receipt }),
    });
    return settled;
  }

  /** Acknowledges in a transaction, which may send too, and ends after some of these. */
  #transact(delivery) {
    const { client, run } = this;
    this.#tx ??= client.begin();
    this.#inTx.push(...this.#settle('ack', delivery, this.#tx));
    if (client.chance(0.5)) {
      const queue = run.backlog.pick(client, run.all);
      if (queue) client.send(queue, body(client, 64 * 1024), { tx: this.#tx });
    }
    if (client.chance(0.3)) this.#endTransaction();
  }

  #endTransaction() {
    const { client } = this;
    const receipt = client.chance(0.7) ? client.receipt() : undefined;
    const deliveries = this.#inTx;
    if (client.chance(0.7)) client.commit(this.#tx, receipt);
    else {
      client.abort(this.#tx, receipt);
      // They are where they were: unsettled, with this consumer.
      for (const delivery of deliveries) {
        const { unsettled, mode } = delivery.subscription;
        unsettled.push(delivery);
        unsettled.sort((a, b) => a.number - b.number);
        if (mode !== 'client' && client.chance(0.7))
          setTimeout(() => this.#settle('ack', delivery), client.between(1, 100));
      }
    }
    this.#tx = undefined;
    this.#inTx = [];
  }

  async #leave() {
    const { client } = this;
    // Else it ends with the connection, as if it had not been.
    if (this.#tx && client.chance(0.5)) client.commit(this.#tx, client.receipt());
    const anyhow = this.kind === 'acknowledging' || this.kind === 'careless';
    const kind = client.draw() * (anyhow ? 1 : 0.6);
    if (kind < 0.2) {
      for (const subscription of this.#subscriptions.values()) {
        const receipt = client.receipt();
        client.write('unsubscribed', { sub: subscription.id, receipt });
        subscription.isEnded = true;
        client.connection.write('UNSUBSCRIBE', {
          id: subscription.id,
          ...(client.version === '1.0' && { destination: subscription.queue }),
          receipt,
        });
      }
      await client.answered();
      if (client.isOpen) await client.disconnect(client.receipt());
    } else if (kind < 0.45) {
      this.#endSubscriptions();
      await client.disconnect(client.receipt());
    } else if (kind < 0.6) {
      this.#endSubscriptions();
      await client.disconnect();
    } else if (kind < 0.7) {
      this.#endSubscriptions();
      await client.finish();
    } else {
      // With what it has not read, of which the last may be half a frame.
      if (kind < 0.85) {
        client.connection.pause();
        await this.run.pause(client.between(20, 200));
      }
      client.reset();
    }
  }

  #endSubscriptions() {
    for (const subscription of this.#subscriptions.values()) subscription.isEnded = true;
  }
}

/** Some messages are always refused, so that there are dead letters. */
const isPoison = (id) => crc32(id) % 30 === 0;

/** Takes all that is in these queues until `isOver` and nothing is left. */
export async function drain(run, name, queues, isOver) {
  const client = new Client(run, name);
  let isEmpty = false;
  for (let lives = 0; !isEmpty && lives < DRAIN_LIVES_MAX; lives += 1) {
    isEmpty = await new Drain(run, client, queues).empty(isOver);
    await client.connection.ended;
  }
  await client.close();
}

class Drain {
  /** What was seen, by consuming and by browsing, since this was last set to 0. */
  #seen = 0;
  #browsed = () => {};

  constructor(run, client, queues) {
    this.run = run;
    this.client = client;
    this.queues = queues;
  }

  /** Resolves with whether the queues are empty, which they may not be if the connection ends. */
  async empty(isOver) {
    const { client, run } = this;
    await client.open({ versions: ['1.2'], message: (headers, content) => this.#message(headers, content) });
    for (const [at, queue] of this.queues.entries()) {
      client.write('subscribed', { sub: `${at}`, queue, mode: 'client-individual' });
      client.connection.write('SUBSCRIBE', { id: at, destination: queue, ack: 'client-individual', prefetch: 5 });
    }
    while (!isOver() && client.isOpen) await run.pause(200);
    do {
      this.#seen = 0;
      for (const [at, queue] of this.queues.entries()) await this.#browse(`browse-${at}`, queue);
    } while (this.#seen > 0 && client.isOpen);
    const isEmpty = client.isOpen;
    if (isEmpty) await client.disconnect(client.receipt());
    return isEmpty;
  }

  /** Looks at what is not delivered yet, after all that was. */
  async #browse(id, queue) {
    const { client } = this;
    if (!client.isOpen) return;
    const browsed = new Promise((resolve) => {
      this.#browsed = resolve;
    });
    client.connection.write('SUBSCRIBE', { id, destination: queue, browser: 'true' });
    await within(ANSWER_TIMEOUT, 'the end of what is browsed', Promise.race([browsed, client.connection.ended]));
    client.connection.write('UNSUBSCRIBE', { id });
    await client.answered();
  }

  #message(headers, content) {
    const { client, queues, run } = this;
    if (headers.browser === 'end') return this.#browsed();
    this.#seen += 1;
    if (headers.subscription.startsWith('browse')) return;
    client.write('delivered', {
      ...seen(headers, content),
      queue: queues[headers.subscription],
      mode: 'client-individual',
      reason: headers['dlq-reason'],
      from: headers['dlq-queue'],
    });
    run.backlog.delivered(headers.id);
    const receipt = client.receipt();
    client.write('ack', { sub: headers.subscription, ids: [headers.id], receipt });
    client.connection.write('ACK', { id: headers.ack, receipt });
  }
}

/** How often a drain connects again when the gateway closes its connection. */
const DRAIN_LIVES_MAX = 50;

/** What the ledger says of a MESSAGE. */
const seen = (headers, content) => ({
  sub: headers.subscription,
  id: headers.id,
  queue: headers.destination,
  count: Number(headers['delivery-count'] ?? 1),
  redelivered: headers.redelivered === 'true',
  size: content.length,
  crc: crc32(content),
});
