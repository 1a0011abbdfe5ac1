import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { Gateway, secure } from './gateway.mjs';
import { within } from './wait.mjs';

/** A connection, TCP or TLS as the gateway has it, on which a test writes and reads bytes. */
export class Raw {
  #received = Buffer.alloc(0);
  #changed = () => {};
  /** Whether the peer has closed. */
  ended = false;

  static async open(gateway, options = {}) {
    const [connect, connected] =
      secure && gateway instanceof Gateway ? [tls.connect, 'secureConnect'] : [net.connect, 'connect'];
    const socket = connect({ host: '127.0.0.1', port: gateway.port, ...options });
    await within(5000, 'a connection', once(socket, connected));
    return new Raw(socket);
  }

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#changed();
    });
    const end = () => {
      this.ended = true;
      this.#changed();
    };
    socket.on('end', end);
    socket.on('error', end);
    socket.on('close', end);
  }

  write(data) {
    if (!this.socket.destroyed) this.socket.write(data);
    return this;
  }

  /** Everything up to and with `mark`. */
  async until(mark, ms = 5000) {
    const at = await this.#when(ms, JSON.stringify(String(mark)), () => {
      const index = this.#received.indexOf(mark);
      return index < 0 ? undefined : index + Buffer.byteLength(mark);
    });
    return this.#take(at);
  }

  /** Exactly `count` bytes. */
  async bytes(count, ms = 5000) {
    await this.#when(ms, `${count} bytes`, () => (this.#received.length >= count ? count : undefined));
    return this.#take(count);
  }

  /** Everything until the peer closes. */
  async rest(ms = 5000) {
    await this.#when(ms, 'the end of the connection', () => (this.ended ? 0 : undefined), true);
    return this.#take(this.#received.length);
  }

  destroy() {
    this.socket.destroy();
  }

  #take(at) {
    const taken = this.#received.subarray(0, at);
    this.#received = this.#received.subarray(at);
    return taken;
  }

  #when(ms, what, find, untilEnd = false) {
    const found = new Promise((resolve, reject) => {
      this.#changed = () => {
        const found = find();
        if (found !== undefined) resolve(found);
        else if (this.ended && !untilEnd) {
          reject(new Error(`closed before ${what}; received ${JSON.stringify(this.#received.toString('latin1'))}`));
        }
      };
      this.#changed();
    });
    return within(ms, `${what}; received ${JSON.stringify(this.#received.subarray(0, 200).toString('latin1'))}`, found);
  }
}

/** A STOMP connection without WebSocket, spoken by hand. */
export class Tcp extends Raw {
  static async open(gateway) {
    return new Tcp((await Raw.open(gateway)).socket);
  }

  /** Sends a frame given in lines, `^@` standing for NUL. */
  frame(...lines) {
    return this.write(`${lines.join('\n')}\0`);
  }

  async connect(...headers) {
    this.frame('CONNECT', 'accept-version:1.2', 'host:test', ...headers, '', '');
    return this.next();
  }

  /** The next frame: command, headers, body. */
  async next(ms) {
    let head = '';
    do head = (await this.until('\n', ms)).toString().trim();
    while (head === '');
    const headers = {};
    for (;;) {
      const line = (await this.until('\n', ms)).toString().replace(/\r?\n$/, '');
      if (line === '') break;
      const colon = line.indexOf(':');
      headers[line.slice(0, colon)] ??= line.slice(colon + 1);
    }
    const length = headers['content-length'];
    const body =
      length === undefined
        ? (await this.until('\0', ms)).subarray(0, -1)
        : (await this.bytes(Number(length) + 1, ms)).subarray(0, -1);
    return { command: head, headers, body: body.toString() };
  }
}
