// Sessions of rhea, an AMQP 1.0 client, with what a test wants to know of them as promises and inboxes.
import { once } from 'node:events';
import rhea from 'rhea';
import WebSocket from 'ws';
import { secure } from './gateway.mjs';
import { Inbox, within } from './wait.mjs';

/** What the event says, or an error if it does not come. */
export async function event(emitter, name, ms = 5000) {
  const [context] = await within(ms, name, once(emitter, name));
  return context;
}

export class Amqp {
  /** Connects; rejects with the error with which that is refused. */
  static async open(gateway, { websocket = false, subprotocols = ['amqp'], path = '/messaging', ...options } = {}) {
    const amqp = new Amqp();
    amqp.container = rhea.create_container({ id: options.container_id });
    const target = websocket
      ? { connection_details: amqp.container.websocket_connect(WebSocket)(gateway.ws(path), subprotocols, {}) }
      : { host: '127.0.0.1', port: gateway.port, ...(secure && { transport: 'tls', servername: 'localhost', rejectUnauthorized: false }) };
    amqp.connection = amqp.container.connect({ reconnect: false, ...target, ...options });
    amqp.closed = new Promise((resolve) => amqp.connection.once('disconnected', resolve));
    const refused = new Promise((_, reject) => {
      amqp.connection.once('connection_error', ({ connection, error }) => reject(connection.error ?? error ?? new Error('connection_error')));
      amqp.connection.once('disconnected', ({ error }) => reject(error ?? new Error('disconnected')));
    });
    refused.catch(() => {});
    amqp.connection.on('error', () => {});
    amqp.container.on('error', () => {});
    await Promise.race([event(amqp.connection, 'connection_open'), refused]);
    return amqp;
  }

  /** A link to send on; rejects with the error of its detach. */
  async sender(target, options = {}) {
    return attached(this.connection.open_sender({ target: typeof target === 'string' ? { address: target } : target, ...options }), 'sender', (link) => new Sender(link));
  }

  /** A link to receive on, which gives credit for one message after the other as they are taken. */
  async receiver(source, { credit = 100, ...options } = {}) {
    const link = this.connection.open_receiver({
      source: typeof source === 'string' ? { address: source } : source,
      credit_window: 0,
      autoaccept: false,
      ...options,
    });
    const receiver = new Receiver(link);
    await attached(link, 'receiver', () => receiver);
    if (credit > 0) link.add_credit(credit);
    return receiver;
  }

  async close() {
    this.connection.close();
    await event(this.connection, 'connection_close');
  }
}

async function attached(link, kind, wrap) {
  const refused = new Promise((_, reject) => {
    link.once(`${kind}_error`, () => reject(link.error));
    link.once(`${kind}_close`, () => reject(link.error ?? new Error(`${kind}_close`)));
  });
  refused.catch(() => {});
  await Promise.race([event(link, `${kind}_open`), refused]);
  // A refusal follows at once.
  const [terminus, address] = kind === 'sender' ? [link.remote.attach.target, link.target?.address] : [link.remote.attach.source, link.source?.address];
  if (!terminus) await within(5000, 'the detach', refused);
  void address;
  return wrap(link);
}

class Sender {
  constructor(link) {
    this.link = link;
    this.outcomes = new Map();
    for (const outcome of ['accepted', 'rejected', 'released', 'modified']) {
      link.on(outcome, ({ delivery }) => this.outcomes.get(delivery.id)?.(delivery));
    }
  }

  get address() {
    return this.link.remote.attach.target.address;
  }

  /** Sends; resolves with the outcome's name, or rejects with the error of a rejection. */
  async send(message, ...rest) {
    while (!this.link.sendable()) await event(this.link, 'sendable');
    const delivery = this.link.send(message, ...rest);
    const settled = await within(10_000, 'an outcome', new Promise((resolve) => this.outcomes.set(delivery.id, resolve)));
    const state = settled.remote_state;
    const outcome = Object.keys({ accepted: 1, rejected: 1, released: 1, modified: 1 }).find((name) => state?.constructor.composite_type === name);
    if (outcome === 'rejected') throw Object.assign(new Error(state.error?.description), { condition: state.error?.condition });
    return outcome;
  }

  async close() {
    this.link.close();
    await event(this.link, 'sender_close');
  }
}

class Receiver {
  messages = new Inbox('a message');

  constructor(link) {
    this.link = link;
    link.on('message', (context) => this.messages.push(context));
  }

  get address() {
    return this.link.remote.attach.source.address;
  }

  /** The next delivery, with its message. */
  next(ms) {
    return this.messages.next(ms);
  }

  /** The bodies of the next ones, which are accepted. */
  async bodies(count) {
    const all = await this.messages.take(count);
    for (const { delivery } of all) delivery.accept();
    return all.map(({ message }) => message.body);
  }

  /** Uses all credit up; resolves with how many messages have come. */
  async drain() {
    this.link.drain_credit();
    await event(this.link, 'receiver_drained');
    return this.messages.length;
  }

  async close() {
    this.link.close();
    await event(this.link, 'receiver_close');
  }

  async detach() {
    this.link.detach();
    await event(this.link, 'receiver_detach');
  }
}
