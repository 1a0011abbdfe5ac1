import { Client, Versions } from '@stomp/stompjs';
import WebSocket from 'ws';
import { Inbox, within } from './wait.mjs';

let names = 0;
/** A name that no other test uses. */
export const unique = (word = 'n') => `${word}-${process.pid}-${(names += 1)}`;

/** A session of @stomp/stompjs, with what a test wants to know of it as promises and inboxes. */
export class Peer {
  /** ERROR frames. */
  errors = new Inbox('an ERROR frame');
  /** Receipts, messages and errors in the order of their arrival: `RECEIPT id`, `MESSAGE body`. */
  order = [];

  /** Connects; rejects with the ERROR frame if that is refused. */
  static async open(gateway, options = {}) {
    const peer = new Peer(gateway, options);
    await within(5000, 'CONNECTED', peer.connected);
    return peer;
  }

  constructor(gateway, { path = '/messaging', versions = ['1.2', '1.1', '1.0'], headers = {}, localAddress, ...options } = {}) {
    this.client = new Client({
      webSocketFactory: () =>
        new WebSocket(gateway.ws(path), new Versions(versions).protocolVersions(), { headers, localAddress }),
      stompVersions: new Versions(versions),
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      ...options,
    });
    /** Resolves with the close event of the WebSocket. */
    this.closed = new Promise((resolve) => (this.client.onWebSocketClose = resolve));
    this.connected = new Promise((resolve, reject) => {
      this.client.onConnect = (frame) => {
        this.socket = this.client.webSocket;
        resolve(frame);
      };
      this.client.onStompError = (frame) => {
        this.errors.push(frame);
        this.order.push(`ERROR ${frame.headers.message}`);
        reject(Object.assign(new Error(`ERROR ${frame.headers.message}: ${frame.body}`), { frame }));
      };
      this.client.onWebSocketError = (event) => reject(event.error ?? new Error(event.message));
    });
    this.connected.catch(() => {});
    this.client.activate();
  }

  /** Runs `work` with a fresh `receipt` header; resolves once the RECEIPT is there. */
  async receipt(work) {
    const id = unique('receipt');
    const received = new Promise((resolve) => {
      this.client.watchForReceipt(id, (frame) => {
        this.order.push(`RECEIPT ${id}`);
        resolve(frame);
      });
    });
    work(id);
    await Promise.race([
      within(10_000, `RECEIPT ${id}`, received),
      this.closed.then(() => {
        throw new Error('the connection was closed before the RECEIPT');
      }),
    ]);
    return id;
  }

  /** Sends, without waiting. A body of bytes is sent as such. */
  publish(destination, body = '', headers = {}) {
    const content = typeof body === 'string' ? { body } : { binaryBody: body };
    this.client.publish({ destination, headers, ...content });
  }

  /** Sends a frame that the client's own methods do not make, such as a BEGIN with a receipt. */
  frame(command, headers) {
    this.client._stompHandler._transmit({ command, headers });
  }

  /** Sends; resolves once the gateway has it. */
  send(destination, body = '', headers = {}) {
    return this.receipt((receipt) => this.publish(destination, body, { ...headers, receipt }));
  }

  /** Subscribes; resolves once the gateway has it. */
  async subscribe(destination, headers = {}) {
    const subscription = new Subscription(this, destination);
    await this.receipt((receipt) => subscription.start({ ...headers, receipt }));
    return subscription;
  }

  /** Everything sent before has been taken once this resolves. */
  sync() {
    return this.send(`/topic/${unique('sync')}`);
  }

  /** Ends the session as STOMP does. */
  async close() {
    await within(5000, 'DISCONNECT', this.client.deactivate());
  }

  /** Ends the connection without a word. */
  async drop() {
    this.client.webSocket.terminate();
    await within(5000, 'the end of the connection', this.closed);
  }
}

/** A subscription of a {@link Peer}. */
class Subscription {
  messages;
  #handle;

  constructor(peer, destination) {
    this.peer = peer;
    this.destination = destination;
    this.messages = new Inbox(`a message of ${destination}`);
  }

  start(headers) {
    const take = (message) => {
      this.peer.order.push(`MESSAGE ${message.body}`);
      this.messages.push(message);
    };
    this.#handle = this.peer.client.subscribe(this.destination, take, headers);
  }

  get id() {
    return this.#handle.id;
  }

  /** The next message. */
  next(ms) {
    return this.messages.next(ms);
  }

  /** The bodies of the next messages. */
  async bodies(count, ms) {
    return (await this.messages.take(count, ms)).map((message) => message.body);
  }

  /** Ends it; resolves once the gateway has done so. */
  unsubscribe() {
    return this.peer.receipt((receipt) => this.#handle.unsubscribe({ receipt }));
  }
}

/** Opens peers for a test and closes them after it. */
export function peers(t, gateway) {
  return async (options) => {
    const peer = await Peer.open(gateway(), options);
    t.after(() => peer.client.deactivate({ force: true }));
    return peer;
  };
}
