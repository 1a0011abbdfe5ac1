// AMQP 1.0 frame by frame, written and read by hand, so that they can be wrong.
import { Raw } from './raw.mjs';

import { Socket } from './websocket.mjs';

const u32be = (number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(number);
  return bytes;
};
const of = (code, ...parts) => Buffer.concat([Buffer.from([code]), ...parts.map((part) => Buffer.from(part))]);

export const nil = of(0x40);
export const bool = (value) => of(value ? 0x41 : 0x42);
export const ubyte = (number) => of(0x50, [number]);
export const ushort = (number) => of(0x60, [number >> 8, number & 255]);
export const uint = (number) => of(0x70, u32be(number));
export const ulong = (number) => of(0x80, u32be(0), u32be(number));
export const string = (text) => of(0xb1, u32be(Buffer.byteLength(text)), Buffer.from(text));
export const symbol = (text) => of(0xb3, u32be(text.length), Buffer.from(text));
export const binary = (bytes) => of(0xb0, u32be(bytes.length), bytes);
/** A list (0xd0), map (0xd1) or array (0xf0), which may say another number of items than it has. */
export const compound = (code, count, ...items) => {
  const bytes = Buffer.concat(items);
  return of(code, u32be(bytes.length + 4), u32be(count), bytes);
};
export const list = (...items) => compound(0xd0, items.length, ...items);
export const map = (...items) => compound(0xd1, items.length, ...items);
export const described = (code, value) => Buffer.concat([of(0, of(0x53, [code])), value]);
export const composite = (code, ...fields) => described(code, list(...fields));

export const SASL_HEADER = Buffer.from('AMQP\x03\x01\x00\x00', 'latin1');
export const PLAIN_HEADER = Buffer.from('AMQP\x00\x01\x00\x00', 'latin1');
export const frame = (body, { channel = 0, type = 0, offset = 2, size = body.length + 8 } = {}) =>
  Buffer.concat([u32be(size), Buffer.from([offset, type, channel >> 8, channel & 255]), body]);

export const open = ({ name = 'c', max = 0xffffffff, channels = 65_535 } = {}) => composite(0x10, string(name), nil, uint(max), ushort(channels));
export const begin = ({ next = 0, window = 2048, handles = 0xffffffff } = {}) => composite(0x11, nil, uint(next), uint(window), uint(2048), uint(handles));
export const source = (address, ...fields) => composite(0x28, string(address), ...fields);
export const target = (address, ...fields) => composite(0x29, string(address), ...fields);
/** A link: `q` is the peer's to send to, or to receive from. */
export const attach = (q, { receives = false, handle = 0, name = `link-${handle}`, modes = [nil, nil], from = source(q), to = target(q), count = 0 } = {}) =>
  composite(0x12, string(name), uint(handle), bool(receives), ...modes, from, to, nil, nil, receives ? nil : uint(count));
export const flow = ({ next = 0, window = 2048, handle = 0, count = 0, credit = 0, drain = false, echo = false, link = true } = {}) =>
  composite(0x13, uint(next), uint(window), uint(0), uint(2048), ...(link ? [uint(handle), uint(count), uint(credit), nil, bool(drain)] : [nil, nil, nil, nil, nil]), bool(echo));
export const transfer = ({ handle = 0, id = 0, settled = false, more = false } = {}, payload = data('x')) =>
  Buffer.concat([composite(0x14, uint(handle), id === null ? nil : uint(id), binary([1]), nil, bool(settled), bool(more)), payload]);
export const disposition = (first, last, { settled = true, state = composite(0x24) } = {}) => composite(0x15, bool(true), uint(first), uint(last), bool(settled), state);
export const detach = (handle = 0) => composite(0x16, uint(handle), bool(true));
export const end = () => composite(0x17);
export const close = () => composite(0x18);
export const data = (bytes) => described(0x75, binary(Buffer.from(bytes)));

/** A value, and where it ends: numbers, booleans, texts and bytes; lists, maps and arrays as arrays; `{ code, value }` where it is described. */
function read(bytes, at) {
  const code = bytes[at];
  if (code === 0) {
    const [descriptor, after] = read(bytes, at + 1);
    const [value, until] = read(bytes, after);
    return [{ code: Number(descriptor), value }, until];
  }
  return content(bytes, at + 1, code);
}

function content(bytes, start, code) {
  const wide = code & 0x10;
  switch (code >> 4) {
    case 0x4:
      return [{ 0x40: null, 0x41: true, 0x42: false, 0x43: 0, 0x44: 0, 0x45: [] }[code], start];
    case 0x5:
      return [code === 0x56 ? bytes[start] === 1 : bytes[start], start + 1];
    case 0x6:
      return [bytes.readUInt16BE(start), start + 2];
    case 0x7:
      return [bytes.readUInt32BE(start), start + 4];
    case 0x8:
      return [bytes.readBigUInt64BE(start), start + 8];
    case 0xa:
    case 0xb: {
      const [length, at] = wide ? [bytes.readUInt32BE(start), start + 4] : [bytes[start], start + 1];
      const piece = bytes.subarray(at, at + length);
      return [(code & 0xf) === 0 ? piece : piece.toString(), at + length];
    }
    default: {
      const [size, count, at] = wide ? [bytes.readUInt32BE(start) + 4, bytes.readUInt32BE(start + 4), start + 8] : [bytes[start] + 1, bytes[start + 1], start + 2];
      const [items, isArray] = [[], code >= 0xe0];
      for (let index = 0, next = isArray ? at + 1 : at; index < count; index += 1) {
        const [item, after] = isArray ? content(bytes, next, bytes[at]) : read(bytes, next);
        items.push(item);
        next = after;
      }
      return [items, start + size];
    }
  }
}

/** A connection on which a test writes frames, and reads those of the gateway. */
export class Frames {
  #unread = Buffer.alloc(0);

  /** One on which nothing is sent yet. */
  static async connect(gateway, { websocket = false } = {}) {
    const frames = new Frames();
    if (websocket) frames.socket = await Socket.open(gateway.ws('/messaging'), ['amqp']);
    else frames.raw = await Raw.open(gateway);
    return frames;
  }

  /** One that is open, without SASL. */
  static async open(gateway, { websocket, ...options } = {}) {
    const frames = await Frames.connect(gateway, { websocket });
    frames.write(PLAIN_HEADER).send(open(options));
    await frames.header();
    await frames.next('open');
    return frames;
  }

  write(bytes) {
    if (this.socket) this.socket.send(bytes);
    else this.raw.write(bytes);
    return this;
  }

  send(...bodies) {
    for (const body of bodies) this.write(frame(body));
    return this;
  }

  /** Text, which AMQP is not sent as. */
  text(text) {
    this.socket.send(text);
  }

  async #bytes(count, ms) {
    if (this.raw) return this.raw.bytes(count, ms);
    while (this.#unread.length < count) this.#unread = Buffer.concat([this.#unread, await this.socket.next(ms)]);
    const taken = this.#unread.subarray(0, count);
    this.#unread = this.#unread.subarray(count);
    return taken;
  }

  header() {
    return this.#bytes(8);
  }

  /** The next frame that is not empty: what it is, its channel, its fields and the bytes of it; of the named performative, others are passed over. */
  async next(name, ms = 5000) {
    for (;;) {
      const head = await this.#bytes(8, ms);
      const body = await this.#bytes(head.readUInt32BE(0) - 8, ms);
      if (body.length === 0) continue;
      const [{ code, value: fields }, until] = read(body, 0);
      const found = { name: NAMES[code] ?? code, channel: head.readUInt16BE(6), fields, payload: body.subarray(until), size: head.readUInt32BE(0) };
      if (name === undefined || found.name === name) return found;
      if (found.name === 'close') throw new Error(`closed before ${name}: ${JSON.stringify(found.fields)}`);
    }
  }

  /** Resolves when the gateway has ended the connection; nothing may come before that. */
  async ended() {
    if (this.socket) return this.socket.end();
    const rest = await this.raw.rest();
    if (rest.length > 0) throw new Error(`behind the close: ${rest.toString('hex')}`);
  }

  destroy() {
    if (this.socket) this.socket.terminate();
    else this.raw.destroy();
  }
}

const NAMES = {
  0x10: 'open', 0x11: 'begin', 0x12: 'attach', 0x13: 'flow', 0x14: 'transfer', 0x15: 'disposition', 0x16: 'detach', 0x17: 'end', 0x18: 'close',
  0x40: 'mechanisms', 0x42: 'challenge', 0x44: 'outcome',
};

/** The condition of an error. */
export const condition = (error) => error?.value[0];

