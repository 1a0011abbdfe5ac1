import WebSocket from 'ws';
import { Inbox, within } from './wait.mjs';

/** A WebSocket of npm's ws, with what a test wants to know of it as promises and an inbox. */
export class Socket {
  /** Messages: strings, or Buffers where they are binary. */
  messages = new Inbox('a message');

  static async open(url, protocols = [], options = {}) {
    const socket = new Socket(url, protocols, options);
    await within(5000, `a WebSocket to ${url}`, socket.opened);
    return socket;
  }

  constructor(url, protocols, options) {
    this.ws = new WebSocket(url, protocols, options);
    this.opened = new Promise((resolve, reject) => {
      this.ws.once('open', resolve);
      this.ws.once('error', reject);
    });
    this.ws.on('error', () => {});
    /** Resolves with `[code, reason]`. */
    this.closed = new Promise((resolve) => {
      this.ws.once('close', (code, reason) => resolve([code, reason.toString()]));
    });
    this.ws.on('message', (data, isBinary) => this.messages.push(isBinary ? data : data.toString()));
  }

  send(data, options = {}) {
    this.ws.send(data, options);
  }

  next(ms) {
    return this.messages.next(ms);
  }

  /** How the connection ends. */
  end(ms = 5000) {
    return within(ms, 'the end of the WebSocket', this.closed);
  }

  terminate() {
    this.ws.terminate();
  }
}

/** Tries to open a WebSocket; gives the status and the body of the refusal. */
export async function refusal(url, protocols = [], options = {}) {
  const ws = new WebSocket(url, protocols, options);
  ws.on('error', () => {});
  const response = new Promise((resolve, reject) => {
    ws.once('open', () => reject(new Error(`${url} was not refused`)));
    ws.once('unexpected-response', (request, response) => {
      let body = '';
      response.on('data', (data) => (body += data));
      response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
    });
    ws.once('error', reject);
  });
  try {
    return await within(5000, 'a refusal', response);
  } finally {
    ws.terminate();
  }
}
