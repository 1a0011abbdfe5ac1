// AMQP frames that are malformed, out of state or beyond a bound: each has the condition that the standard names, at the
// level that it names, and nobody else notices.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import {
  Frames, PLAIN_HEADER, SASL_HEADER, attach, begin, binary, bool, close, composite, compound, condition, data, described, detach,
  disposition, end, flow, frame, list, map, nil, open, source, string, symbol, target, transfer, ubyte, uint, ulong, ushort,
} from './lib/frames.mjs';
import { start } from './lib/gateway.mjs';
import { Honest } from './lib/honest.mjs';
import { unique } from './lib/peer.mjs';

let gateway;
let honest;
before(async () => {
  gateway = await start();
  honest = await Honest.open(gateway);
});
after(async () => {
  await honest?.close();
  await gateway.stop();
});

const FRAMING = 'amqp:connection:framing-error';
const DECODE = 'amqp:decode-error';
const STATE = 'amqp:illegal-state';
const INVALID = 'amqp:invalid-field';
const ALL = 0xffffffff;
const q = unique('hostile');
const begun = [begin()];
const sending = [begin(), attach(q)];
const receiving = [begin(), attach(q, { receives: true })];
/** Lists in lists, so many. */
const nested = (depth) => (depth === 0 ? nil : list(nested(depth - 1)));
const text = string('x');

// What each performative has, and whether it must: its fields are then left out, and of another type.
const performatives = [
  ['open', 0x10, [], [[string('c'), true], [string('h')], [uint(512)], [ushort(5)], [uint(0)]]],
  ['begin', 0x11, [], [[ushort(0)], [uint(0), true], [uint(1), true], [uint(1), true], [uint(9)]]],
  ['attach', 0x12, begun, [[string('l'), true], [uint(0), true], [bool(true), true], [ubyte(0)], [ubyte(0)]]],
  ['flow', 0x13, begun, [[uint(0)], [uint(1), true], [uint(0), true], [uint(1), true], [uint(0)], [uint(0)], [uint(1)], [nil], [bool(false)], [bool(false)]]],
  ['transfer', 0x14, sending, [[uint(0), true], [uint(0)], [binary([1])], [uint(0)], [bool(false)], [bool(false)], [ubyte(0)]]],
  ['disposition', 0x15, receiving, [[bool(true), true], [uint(0), true], [uint(0)], [bool(true)]]],
  ['detach', 0x16, sending, [[uint(0), true], [bool(true)]]],
];
const wrongFields = performatives.flatMap(([name, code, before, fields]) =>
  fields.flatMap(([value, isMandatory], index) => {
    if (name === 'open' && index === 1) return [];
    const with_ = (other) => composite(code, ...fields.map(([field], at) => (at === index ? other : field)));
    const cases = value === nil ? [] : [[`${name}: field ${index} is a map`, with_(map(text, text))], [`${name}: field ${index} has another width`, with_(ulong(1))]];
    if (isMandatory) cases.push([`${name}: field ${index} is null`, with_(nil)], [`${name} ends before field ${index}`, composite(code, ...fields.slice(0, index).map(([field]) => field))]);
    // The first frame is an open: it is sent instead of one.
    return cases.map(([what, body]) => [what, name === 'open' ? null : before, frame(body), 'close', DECODE]);
  }),
);

// What it is; what is sent before (null: not even an open); the bytes; what the gateway ends, and with which condition.
const cases = [
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((size) => [`a frame of ${size} bytes`, [], frame(Buffer.alloc(0), { size }), 'close', FRAMING]),
  ['a frame larger than agreed', [], frame(Buffer.alloc(0), { size: 65_537 }), 'close', FRAMING],
  ['a frame of 4 GiB', [], frame(Buffer.alloc(0), { size: ALL }), 'close', FRAMING],
  ['a large frame before the open', null, frame(Buffer.alloc(0), { size: 65_536 }), 'close', FRAMING],
  ...[0, 1].map((offset) => [`a data offset of ${offset}`, [], frame(begin(), { offset }), 'close', FRAMING]),
  ['a data offset behind the frame', [], frame(begin(), { offset: 255 }), 'close', FRAMING],
  ...[2, 255].map((type) => [`frames of type ${type}`, [], frame(begin(), { type }), 'close', FRAMING]),
  ...[1024, 65_535].map((channel) => [`channel ${channel}, beyond channel-max`, [], frame(begin(), { channel }), 'close', FRAMING]),
  ...[65_536, ALL].map((handle) => [`handle ${handle}, beyond handle-max`, begun, frame(attach(q, { handle })), 'close', FRAMING]),

  ['a SASL frame behind the login', [], frame(composite(0x41, symbol('PLAIN')), { type: 1 }), 'close', DECODE],
  ['half of a performative', [], frame(begin().subarray(0, 9)), 'close', DECODE],
  ['a body that is not described', [], frame(list(uint(0))), 'close', DECODE],
  ['nothing but the byte of a descriptor', [], frame(Buffer.from([0])), 'close', DECODE],
  ...[0x00, 0x19, 0x24, 0x41, 0xff].map((code) => [`0x${code.toString(16)}, which is no performative`, [], frame(composite(code)), 'close', DECODE]),
  ['a performative of an unknown name', [], frame(Buffer.concat([Buffer.from([0]), symbol('amqp:begin:map'), list()])), 'close', DECODE],
  ['a performative whose name is a string', [], frame(Buffer.concat([Buffer.from([0]), string('amqp:begin:list'), list()])), 'close', DECODE],
  ['a performative that is a map', [], frame(described(0x11, map(text, text))), 'close', DECODE],
  ['a list that says 2^32-1 items', [], frame(described(0x11, compound(0xd0, ALL, nil))), 'close', DECODE],
  ['a list that says more items than it has', [], frame(described(0x11, compound(0xd0, 4, nil, uint(0)))), 'close', DECODE],
  ['a list that says 4 GiB', [], frame(Buffer.concat([described(0x11, Buffer.from([0xd0])), Buffer.alloc(8, 0xff)])), 'close', DECODE],
  ...[0x01, 0x3f, 0x46, 0x57, 0xcf, 0xff].map((code) => [`a field with the constructor 0x${code.toString(16)}`, [], frame(composite(0x11, Buffer.from([code, 0]))), 'close', DECODE]),
  ['a name that is not UTF-8', begun, frame(composite(0x12, Buffer.from([0xa1, 2, 0xc3, 0x28]), uint(0), bool(false))), 'close', DECODE],
  ['a boolean of 2', begun, frame(composite(0x12, text, uint(0), Buffer.from([0x56, 2]))), 'close', DECODE],
  ['descriptors of descriptors of descriptors', [], frame(composite(0x11, Buffer.concat([...Array(100).fill(Buffer.from([0, 0x43])), nil]))), 'close', DECODE],
  ...wrongFields,

  ['a begin before the open', null, frame(begin()), 'close', STATE],
  ['a second open', [], frame(open()), 'close', STATE],
  ['a begin that replies to none', [], frame(composite(0x11, ushort(0), uint(0), uint(1), uint(1))), 'close', STATE],
  ['a begin where there is a session', begun, frame(begin()), 'close', STATE],
  ...[['attach', attach(q)], ['flow', flow()], ['transfer', transfer()], ['disposition', disposition(0, 0)], ['detach', detach()], ['end', end()]].map(
    ([name, body]) => [`${name} without a session`, [], frame(body), 'close', STATE]),
  ['a session that has ended twice', [...begun, end()], frame(end()), 'close', STATE],
  ['frames of 511 bytes', null, frame(open({ max: 511 })), 'close', INVALID],
  ['frames of no bytes', null, frame(open({ max: 0 })), 'close', INVALID],
  ['an idle time that is not kept', null, frame(composite(0x10, text, nil, nil, nil, uint(1))), 'close', 'amqp:not-allowed'],

  ...[['transfer', transfer({ handle: 7 })], ['flow', flow({ handle: 7 })], ['detach', detach(7)]].map(
    ([name, body]) => [`${name} of a handle without a link`, begun, frame(body), 'end', 'amqp:session:unattached-handle']),
  ['a transfer before the attach', begun, frame(transfer()), 'end', 'amqp:session:unattached-handle'],
  ['a handle twice', sending, frame(attach(q, { name: 'other' })), 'end', 'amqp:session:handle-in-use'],
  ['a transfer where the peer receives', receiving, frame(transfer()), 'end', STATE],
  ['a settlement in an unknown transaction', receiving, frame(disposition(0, 0, { state: composite(0x34, binary([9]), composite(0x24)) })), 'end', 'amqp:transaction:unknown-id'],
  ['a name of 1025 bytes', begun, frame(attach(q, { name: 'n'.repeat(1025) })), 'end', INVALID],

  ['a first transfer without a delivery-id', sending, frame(transfer({ id: null })), 'detach', INVALID],
  ['a delivery in another', [...sending, transfer({ id: 0, more: true })], frame(transfer({ id: 1 })), 'detach', INVALID],
  ['a settle mode of 3', begun, frame(attach(q, { modes: [ubyte(3), nil] })), 'detach', INVALID],
  ['a receiver that settles in mode 2', begun, frame(attach(q, { receives: true, modes: [nil, ubyte(2)] })), 'detach', INVALID],
  ['no target', begun, frame(attach(q, { to: nil })), 'detach', INVALID],
  ['an address that is none', begun, frame(attach('queue://')), 'detach', INVALID],
  ['a source of another type', begun, frame(attach(q, { receives: true, from: composite(0x77, text) })), 'detach', 'amqp:not-implemented'],
  ['a target that is text', begun, frame(attach(q, { to: text })), 'detach', DECODE],
  ['an address that is a number', begun, frame(attach(q, { receives: true, from: composite(0x28, uint(1)) })), 'detach', DECODE],
  ['a source that nests 100 levels', begun, frame(attach(q, { from: composite(0x28, text, nil, nil, nil, nil, nested(100)) })), 'detach', DECODE],
  ['a source with a map of 2^32-1', begun, frame(attach(q, { from: composite(0x28, text, nil, nil, nil, nil, compound(0xd1, ALL, nil)) })), 'detach', DECODE],
  ['a filter that ends early', begun, frame(attach(q, { receives: true, from: composite(0x28, string(q), nil, nil, nil, nil, nil, nil, compound(0xd1, 4, symbol('f'), text)) })), 'detach', DECODE],
  ['a filter that is a list', begun, frame(attach(q, { receives: true, from: composite(0x28, string(q), nil, nil, nil, nil, nil, nil, list(text)) })), 'detach', DECODE],

  ...[
    ['a body that nests 40 levels', described(0x77, nested(40))],
    ['maps in lists in arrays, 5000 levels', described(0x77, nested(5000))],
    ['a map of 2^32-1 entries', described(0x74, compound(0xd1, ALL, text, text))],
    ['a list of 2^32-1 nulls', described(0x77, compound(0xd0, ALL, nil))],
    ['an array of 2^32-1 nulls', described(0x77, compound(0xf0, ALL, Buffer.from([0x40])))],
    ['an array of 2^32-1 empty lists', described(0x77, compound(0xf0, ALL, Buffer.from([0x45])))],
    ['an array of 2^32-1 described zeros', described(0x77, compound(0xf0, ALL, Buffer.from([0, 0x53, 1, 0x43])))],
    ['an array that says more than it has', described(0x77, compound(0xf0, 9, Buffer.from([0x50, 1])))],
    ['a map with a key without a value', described(0x74, map(text))],
    ['properties that are a map', described(0x73, map(text, text))],
    ['a header behind the body', Buffer.concat([data('x'), composite(0x70)])],
    ['two values', Buffer.concat([described(0x77, text), described(0x77, text)])],
    ['a section that does not exist', described(0x79, text)],
    ['half of a section', data('hello').subarray(0, 9)],
    ['a section that is not described', text],
    ['a body that is not UTF-8', described(0x77, Buffer.from([0xa1, 2, 0xc3, 0x28]))],
    ['a priority that is text', composite(0x70, nil, text)],
  ].map(([name, payload]) => [`a message: ${name}`, sending, frame(transfer({}, payload)), 'disposition', DECODE]),
  ['a message in an unknown transaction', sending,
    frame(Buffer.concat([composite(0x14, uint(0), uint(0), binary([1]), nil, nil, nil, nil, composite(0x34, binary([9]))), data('x')])), 'disposition', 'amqp:transaction:unknown-id'],
];

/** What is sent of a case, and what the gateway says. */
async function play(t, [, before, bytes, ends, expected], websocket) {
  const frames = await Frames.connect(gateway, { websocket });
  t.after(() => frames.destroy());
  frames.write(PLAIN_HEADER);
  if (before) {
    frames.send(open(), ...before);
    // What it says is not what ended what was sent before.
    for (let awaited = before.length + 1; awaited > 0; awaited -= 1) {
      if (awaited === 1 && before.at(-1)?.[2] === 0x14) break;
      if (awaited === before.length + 1) await frames.header();
      await frames.next();
      if (before === sending && awaited === 1) await frames.next('flow');
    }
  } else {
    await frames.header();
  }
  // In two pieces, where the transport is a stream.
  const half = websocket ? bytes.length : bytes.length >> 1;
  for (const piece of [bytes.subarray(0, half), bytes.subarray(half)]) if (piece.length > 0) frames.write(piece);
  const told = await frames.next(ends);
  if (ends === 'close') {
    assert.equal(condition(told.fields[0]), expected);
    await frames.ended();
    return;
  }
  const error = { end: told.fields[0], detach: told.fields[2], disposition: told.fields[4]?.value[0] }[ends];
  assert.equal(condition(error), expected);
  // The connection goes on.
  frames.write(frame(begin(), { channel: 9 }));
  assert.equal((await frames.next('begin')).channel, 9);
  frames.send(close());
  assert.deepEqual((await frames.next('close')).fields, []);
}

const megabytes = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${gateway.process.pid}/status`, 'utf8'))[1]) / 1024;

for (const websocket of [false, true]) {
  test(`what is wrong has its condition, and nobody else notices, over ${websocket ? 'WebSocket' : 'TCP'}`, async (t) => {
    const before = await megabytes();
    for (const one of cases) {
      await t.test(one[0], (t) => play(t, one, websocket));
      if (cases.indexOf(one) % 20 === 0) {
        await honest.hasItsTurn(one[0]);
      }
    }
    const grown = (await megabytes()) - before;
    assert.ok(grown < 32, `${grown} MiB more than before`);
  });
}

test('what is no AMQP at all is told which is spoken; text in a WebSocket is a framing error', async (t) => {
  const frames = await Frames.open(gateway, { websocket: true });
  t.after(() => frames.destroy());
  frames.text('AMQP');
  assert.equal(condition((await frames.next('close')).fields[0]), FRAMING);
  await frames.ended();
});

test('nothing is answered behind a close', async (t) => {
  const frames = await Frames.open(gateway);
  t.after(() => frames.destroy());
  frames.write(Buffer.concat([close(), begin(), attach(q), close(), open()].map((body) => frame(body)).concat(Buffer.alloc(100, 0xff))));
  assert.deepEqual((await frames.next()).name, 'close');
  await frames.ended();
});

test('before the login only a login is read', async (t) => {
  const sasl = (body) => frame(body, { type: 1 });
  const init = (mechanism, response) => composite(0x41, mechanism, response);
  for (const [rule, bytes, code] of [
    ['a frame of AMQP', frame(open())],
    ['a response to nothing', sasl(composite(0x43, binary([1])))],
    ['a frame of a server', sasl(composite(0x44, ubyte(0)))],
    ['an unknown frame', sasl(composite(0x45))],
    ['a mechanism that is text', sasl(init(text, nil))],
    ['no mechanism', sasl(init(nil, nil))],
    ['a large frame', frame(Buffer.alloc(5000), { type: 1 })],
    ['a frame of 4 GiB', frame(Buffer.alloc(0), { type: 1, size: ALL })],
    ['the header of AMQP before the outcome', PLAIN_HEADER],
    ['an unknown mechanism', sasl(init(symbol('X'), nil)), 1],
    ['half of a PLAIN', sasl(init(symbol('PLAIN'), binary([0]))), 1],
    ['PLAIN without anything', sasl(init(symbol('PLAIN'), nil)), 1],
  ]) {
    const frames = await Frames.connect(gateway);
    t.after(() => frames.destroy());
    frames.write(SASL_HEADER);
    assert.deepEqual(await frames.header(), SASL_HEADER, rule);
    assert.equal((await frames.next()).name, 'mechanisms', rule);
    frames.write(bytes);
    if (code !== undefined) assert.deepEqual((await frames.next('outcome')).fields, [code], rule);
    await assert.doesNotReject(frames.ended(), rule);
  }
});

test('a peer with frames of 512 bytes is sent no larger ones, and told what it cannot have', async (t) => {
  const frames = await Frames.open(gateway, { max: 512 });
  t.after(() => frames.destroy());
  frames.send(begin(), attach('x'.repeat(400), { handle: 1 }), attach(q, { handle: 2, from: source('y'.repeat(4000)) }));
  for (const handle of [1, 2]) {
    const { fields, size } = await frames.next('detach');
    assert.deepEqual([fields[0], condition(fields[2])], [handle, 'amqp:frame-size-too-small']);
    assert.ok(size <= 512);
  }
  // Not even the name has room.
  frames.send(attach(q, { handle: 3, name: 'n'.repeat(500) }));
  const told = await frames.next('end');
  assert.equal(condition(told.fields[0]), 'amqp:frame-size-too-small');
  // An error that quotes what the peer has sent.
  frames.write(frame(begin(), { channel: 1 })).write(frame(attach(q, { from: nil, to: target(`queue://${'*.'.repeat(60)}`) }), { channel: 1 }));
  const refused = await frames.next('detach');
  assert.equal(condition(refused.fields[2]), INVALID);
  assert.ok(refused.size <= 512);
});

test('a peer that has room for few channels or handles is not answered beyond them', async (t) => {
  const narrow = await Frames.open(gateway, { channels: 0 });
  t.after(() => narrow.destroy());
  narrow.write(frame(begin({ handles: 0 })));
  await narrow.next('begin');
  narrow.send(attach(q, { handle: 1 }));
  assert.equal(condition((await narrow.next('end')).fields[0]), 'amqp:not-implemented');
  narrow.write(frame(begin(), { channel: 1 }));
  assert.equal(condition((await narrow.next('close')).fields[0]), 'amqp:not-implemented');
});
