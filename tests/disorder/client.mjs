// A client that writes down what it does and what it sees. Each line of its ledger is an event with
// a number `n` that counts over all clients: what is written first was done, or seen, first.
//
//   open         a connection, with its number `conn`; all that follows is of that connection
//   sent         SEND of `id` to `queue`, before it is written; of a transaction where there is a `tx`
//   part         as `sent`, but only a part of the frame is written
//   subscribed, unsubscribed, delivered, ack, nack, begin, commit, abort, disconnect
//                as the frames; `ack` and `nack` name all messages that they settle
//   late         a delivery after the UNSUBSCRIBE of a subscription that acknowledges: not looked at
//   receipt      a RECEIPT, by the `receipt` of the event that asked for it
//   reset        the client is about to end the connection by RST
//   finish       ... in order, but without DISCONNECT
//   error        an ERROR frame
//   ended        the connection has ended, whatever the cause
//   unanswered   what did not come in time
import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { random } from '../interop/node/lib/wait.mjs';
import { TcpConnection, WebSocketConnection } from './connection.mjs';

/** No answer takes as long, however busy the machine is. */
export const ANSWER_TIMEOUT = 90_000;

let events = 0;

export class Client {
  #ledger;
  #sent = 0;
  #receipts = 0;
  /** Receipts to come, and what they are for where that matters. */
  #pending = new Map();
  #progress = () => {};
  /** What open transactions have sent. */
  #inTx = new Map();
  conn = 0;
  transactions = 0;

  constructor(run, name) {
    this.run = run;
    this.name = name;
    /** Numbers that depend on the seed and the name alone. */
    this.draw = random(crc32(`${run.seed} ${name}`));
    this.#ledger = createWriteStream(join(run.folder, `${name}.jsonl`));
  }

  /** A whole number from `low` to `high`. */
  between(low, high) {
    return low + Math.floor(this.draw() * (high - low + 1));
  }

  pick(items) {
    return items[Math.floor(this.draw() * items.length)];
  }

  chance(probability) {
    return this.draw() < probability;
  }

  write(event, fields = {}) {
    events += 1;
    this.#ledger.write(
      `${JSON.stringify({ n: events, ms: Math.round(performance.now()), client: this.name, conn: this.conn, event, ...fields })}\n`,
    );
  }

  /** Opens a connection; `message` sees the MESSAGE frames. */
  async open({ versions = ['1.0', '1.1', '1.2', '1.2'], message = () => {} } = {}) {
    this.conn += 1;
    this.version = this.pick(versions);
    const kind = this.chance(0.6) ? TcpConnection : WebSocketConnection;
    this.#pending = new Map();
    this.isReset = false;
    this.write('open', { kind: kind.name, version: this.version });
    this.connection = await kind.open(this.run.gateway, this.version, {
      frame: (command, headers, body) => {
        if (this.isReset) return;
        if (command === 'MESSAGE') message(headers, body);
        else if (command === 'RECEIPT') this.#receipt(headers['receipt-id']);
        else this.write('error', { message: headers.message, body: body.toString() });
      },
      end: () => {
        this.write('ended');
        for (const tx of this.#inTx.keys()) this.#forget(tx);
        this.#progress();
      },
    });
  }

  get isOpen() {
    return this.connection.isOpen && !this.isReset;
  }

  /** A fresh value of the header `receipt`. */
  receipt() {
    const receipt = `${this.name}.${(this.#receipts += 1)}`;
    this.#pending.set(receipt, '');
    return receipt;
  }

  #receipt(receipt) {
    this.write('receipt', { receipt });
    this.#pending.delete(receipt);
    this.#progress();
  }

  /** Waits until at most `most` receipts are missing, or the connection has ended. */
  async answered(most = 0) {
    const last = Date.now() + ANSWER_TIMEOUT;
    while (this.isOpen && this.#pending.size > most) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 1000);
        this.#progress = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      if (Date.now() > last) {
        this.write('unanswered', { receipts: [...this.#pending.keys()] });
        this.reset();
      }
    }
  }

  /** What a message of these is: its headers, its body, and its line in the ledger. */
  #message(queue, body, { tx, receipt, priority }) {
    this.#sent += 1;
    const id = `${this.name}.${this.#sent}`;
    const headers = { destination: queue, id };
    if (tx) headers.transaction = tx;
    if (receipt) headers.receipt = receipt;
    if (priority !== undefined) headers.priority = `${priority}`;
    return { headers, line: { id, queue, size: body.length, crc: crc32(body), tx, receipt, priority } };
  }

  send(queue, body, options = {}) {
    const { headers, line } = this.#message(queue, body, options);
    this.write('sent', line);
    this.connection.write('SEND', headers, body);
    this.run.backlog.sent(queue, line.id, body.length);
    this.#inTx.get(options.tx)?.push(line.id);
  }

  /** Writes a part of a SEND and resets the connection, at once or a little later. */
  async sendPart(queue, body) {
    const { headers, line } = this.#message(queue, body, {});
    this.write('part', line);
    await this.connection.writePart(this.draw(), 'SEND', headers, body);
    await this.run.pause(this.between(0, 30));
    this.reset();
  }

  begin() {
    const tx = `tx${(this.transactions += 1)}`;
    this.write('begin', { tx });
    this.#inTx.set(tx, []);
    this.connection.write('BEGIN', { transaction: tx });
    return tx;
  }

  /** Whether a COMMIT with a receipt is not answered yet. */
  get isCommitting() {
    return [...this.#pending.values()].includes('COMMIT');
  }

  commit(tx, receipt) {
    if (receipt) this.#pending.set(receipt, 'COMMIT');
    this.write('commit', { tx, receipt });
    this.#inTx.delete(tx);
    this.connection.write('COMMIT', { transaction: tx, ...(receipt && { receipt }) });
  }

  abort(tx, receipt) {
    this.write('abort', { tx, receipt });
    this.#forget(tx);
    this.connection.write('ABORT', { transaction: tx, ...(receipt && { receipt }) });
  }

  /** What is not sent after all waits in no queue. */
  #forget(tx) {
    for (const id of this.#inTx.get(tx)) this.run.backlog.delivered(id);
    this.#inTx.delete(tx);
  }

  /** DISCONNECT; resolves once the gateway has closed the connection. */
  async disconnect(receipt) {
    this.write('disconnect', { receipt });
    this.connection.write('DISCONNECT', receipt ? { receipt } : {});
    await this.#ended();
  }

  /** Ends the connection in order, but without DISCONNECT. */
  async finish() {
    this.write('finish');
    this.connection.finish();
    await this.#ended();
  }

  /** Ends the connection by RST. */
  reset() {
    if (!this.isOpen) return;
    this.write('reset');
    this.isReset = true;
    this.connection.reset();
    this.#progress();
  }

  async #ended() {
    const timer = setTimeout(() => {
      this.write('unanswered', { what: 'the end of the connection' });
      this.reset();
    }, ANSWER_TIMEOUT);
    await this.connection.ended;
    clearTimeout(timer);
  }

  /** Ends the ledger. */
  async close() {
    await new Promise((resolve) => this.#ledger.end(resolve));
  }
}
