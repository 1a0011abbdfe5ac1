// Connections that carry STOMP frames and know nothing of what these mean: @stomp/stompjs over
// WebSocket, and TCP with a codec of its own, which can stop in the middle of a frame.
import { Raw } from '../interop/node/lib/raw.mjs';
import { Peer } from '../interop/node/lib/peer.mjs';
import { within } from '../interop/node/lib/wait.mjs';

const CONNECT_TIMEOUT = 30_000;
const EMPTY = Buffer.alloc(0);

/** What both have: `frame(command, headers, body)` and `end()` are set by their owner. */
class Connection {
  frame = () => {};
  end = () => {};
  /** Resolves when the connection has ended. */
  ended = new Promise((resolve) => (this.resolveEnded = resolve));
  isOpen = true;

  closed() {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.end();
    this.resolveEnded();
  }
}

export class WebSocketConnection extends Connection {
  #peer;

  static async open(gateway, version, owner) {
    const connection = new WebSocketConnection();
    const peer = new Peer(gateway, { versions: [version], connectionTimeout: 0 });
    connection.#peer = peer;
    const arrived = ({ command, headers, binaryBody }) => connection.frame(command, headers, Buffer.from(binaryBody));
    peer.client.onUnhandledMessage = arrived;
    peer.client.onUnhandledReceipt = arrived;
    peer.client.onUnhandledFrame = arrived;
    peer.closed.then(() => connection.closed());
    await within(CONNECT_TIMEOUT, 'CONNECTED over WebSocket', peer.connected);
    peer.client.onStompError = arrived;
    return Object.assign(connection, owner);
  }

  write(command, headers, body = EMPTY) {
    if (this.isOpen && this.#peer.socket.readyState === 1)
      this.#peer.client._stompHandler._transmit({ command, headers, binaryBody: body });
  }

  pause() {
    this.#peer.socket.pause();
  }

  resume() {
    this.#peer.socket.resume();
  }

  /** Ends it without DISCONNECT, with all that was written before. */
  finish() {
    this.#peer.socket.close();
  }

  /** Ends it by RST. */
  reset() {
    if (!this.isOpen) return;
    this.#peer.socket._socket.resetAndDestroy();
    // Else ws waits for ever to be read to its end.
    this.resume();
  }
}

export class TcpConnection extends Connection {
  #socket;
  #version;
  #chunks = [];
  #length = 0;
  /** How many bytes must have come before it is worth reading on. */
  #required = 1;

  static async open(gateway, version, owner) {
    const { socket } = await Raw.open(gateway);
    socket.removeAllListeners('data');
    socket.setNoDelay();
    const connection = new TcpConnection();
    connection.#socket = socket;
    connection.#version = version;
    socket.on('data', (data) => connection.#receive(data));
    socket.on('error', () => {});
    socket.on('close', () => connection.closed());
    const connected = new Promise((resolve, reject) => {
      connection.frame = (command, headers) =>
        command === 'CONNECTED' ? resolve() : reject(new Error(`${command} ${JSON.stringify(headers)}`));
      connection.end = () => reject(new Error('closed before CONNECTED'));
    });
    connection.write('CONNECT', { 'accept-version': version, host: 'disorder' });
    await within(CONNECT_TIMEOUT, 'CONNECTED over TCP', connected);
    return Object.assign(connection, owner);
  }

  write(command, headers, body) {
    if (this.isOpen) this.#socket.write(this.#encode(command, headers, body));
  }

  /** Writes a frame up to a point before its end, a `share` of it; resolves once the kernel has that. */
  async writePart(share, command, headers, body) {
    const bytes = this.#encode(command, headers, body);
    const part = bytes.subarray(0, 1 + Math.floor(share * (bytes.length - 2)));
    await new Promise((resolve) => {
      this.ended.then(resolve);
      this.#socket.write(part, resolve);
    });
  }

  pause() {
    this.#socket.pause();
  }

  resume() {
    this.#socket.resume();
  }

  finish() {
    this.#socket.end();
  }

  reset() {
    this.#socket.resetAndDestroy();
  }

  #encode(command, headers, body = EMPTY) {
    const escape = command === 'CONNECT' || this.#version === '1.0' ? (text) => text : escaped;
    const lines = Object.entries(headers).map(([name, value]) => `${escape(name)}:${escape(value)}\n`);
    const length = command === 'SEND' ? `content-length:${body.length}\n` : '';
    return Buffer.concat([Buffer.from(`${command}\n${lines.join('')}${length}\n`), body, Buffer.of(0)]);
  }

  #receive(data) {
    this.#chunks.push(data);
    this.#length += data.length;
    if (this.#length < this.#required) return;
    let unread = Buffer.concat(this.#chunks);
    for (;;) {
      const read = this.#read(unread);
      if (typeof read === 'number') {
        this.#required = read;
        break;
      }
      unread = unread.subarray(read.length);
      if (read.command) this.frame(read.command, read.headers, read.body);
      if (!this.isOpen) return;
    }
    this.#chunks = [unread];
    this.#length = unread.length;
  }

  /** The first frame, or how many bytes it takes to see more of it. */
  #read(bytes) {
    if (bytes.length === 0) return 1;
    if (bytes[0] === 0x0a || bytes[0] === 0x0d) return { length: 1 };
    const end = bytes.indexOf('\n\n');
    if (end < 0) return bytes.length + 1;
    const [command, ...lines] = bytes.subarray(0, end).toString().split('\n');
    const unescape = command === 'CONNECTED' || this.#version === '1.0' ? (text) => text : unescaped;
    const headers = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      headers[unescape(line.slice(0, colon))] ??= unescape(line.slice(colon + 1));
    }
    const start = end + 2;
    const stop = 'content-length' in headers ? start + Number(headers['content-length']) : bytes.indexOf(0, start);
    if (stop < 0) return bytes.length + 1;
    if (bytes.length <= stop) return stop + 1;
    if (bytes[stop] !== 0) throw new Error(`no NUL after the body of ${command} ${JSON.stringify(headers)}`);
    return { command, headers, body: bytes.subarray(start, stop), length: stop + 1 };
  }
}

const ESCAPES = { '\\': '\\\\', '\n': '\\n', ':': '\\c' };
const escaped = (text) => `${text}`.replace(/[\\\n:]/g, (character) => ESCAPES[character]);
const unescaped = (text) =>
  text.replace(/\\[\\nc]/g, (escape) => Object.keys(ESCAPES).find((character) => ESCAPES[character] === escape));
