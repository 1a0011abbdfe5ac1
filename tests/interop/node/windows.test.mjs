// AMQP at the ends of its numbers, and peers that make the gateway work or keep as much as they can: what passes passes
// whole, memory is bounded, and others have their turn.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { Frames, attach, begin, binary, bool, compound, composite, condition, data, described, disposition, flow, frame, nil, uint } from './lib/frames.mjs';
import { start } from './lib/gateway.mjs';
import { Honest } from './lib/honest.mjs';
import { unique } from './lib/peer.mjs';
import { within } from './lib/wait.mjs';

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

const MOST = 0xffffffff;
const megabytes = async () => Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${gateway.process.pid}/status`, 'utf8'))[1]) / 1024;
async function opened(t, bodies, options) {
  const frames = await Frames.open(gateway, options);
  t.after(() => frames.destroy());
  frames.send(...bodies);
  return frames;
}
/** The transfers of a message in pieces. */
const pieces = (payload, size, { handle = 0, id = 0 } = {}) =>
  Array.from({ length: Math.ceil(payload.length / size) }, (_, index) => {
    const piece = payload.subarray(index * size, (index + 1) * size);
    const more = (index + 1) * size < payload.length;
    return Buffer.concat([composite(0x14, uint(handle), index === 0 ? uint(id) : nil, binary([1]), nil, nil, bool(more)), piece]);
  });

for (const websocket of [false, true]) {
  test(`a megabyte passes in frames of 512 bytes, one in a window, over ${websocket ? 'WebSocket' : 'TCP'}`, async (t) => {
    const q = unique('q');
    const payload = data(Buffer.from({ length: 1_000_000 }, 0).map((_, index) => (index * 7) & 255));
    const sender = await opened(t, [begin(), attach(q)], { max: 512, websocket });
    await sender.next('flow');
    sender.send(...pieces(payload, 400));
    const accepted = await sender.next('disposition');
    assert.deepEqual([accepted.fields[1], accepted.fields[4].code], [0, 0x24]);
    const receiver = await opened(t, [begin({ window: 1 }), attach(q, { receives: true }), flow({ window: 1, credit: 1 })], { max: 512, websocket });
    const received = [];
    for (let next = 1; ; next += 1) {
      const { fields, payload, size } = await receiver.next('transfer');
      assert.ok(size <= 512);
      received.push(payload);
      if (!fields[5]) break;
      receiver.send(flow({ next, window: 1, credit: 1 }));
    }
    assert.ok(Buffer.concat(received).subarray(-payload.length).equals(payload));
    receiver.send(disposition(0, 0));
  });
}

test('the largest window and credit are meant as such, and a drain answers with a count that goes on', async (t) => {
  const q = unique('q');
  const sender = await honest.amqp.sender(q);
  const frames = await opened(t, [begin({ window: MOST }), attach(q, { receives: true }), flow({ window: MOST, credit: MOST })]);
  for (let number = 0; number < 10; number += 1) {
    await sender.send({ body: number });
    assert.equal((await frames.next('transfer')).fields[1], number);
    // Nothing is counted, and all is wanted.
    frames.send(flow({ window: MOST, credit: MOST }), disposition(0, MOST >>> 1));
  }
  frames.send(flow({ next: 10, window: MOST, count: 10, credit: MOST - 10, drain: true }));
  const drained = await frames.next('flow');
  assert.deepEqual(drained.fields.slice(5, 7), [MOST, 0]);
  frames.send(flow({ next: 10, window: MOST, count: MOST, credit: 2 }));
  for (const id of [10, 11]) {
    await sender.send({ body: id });
    assert.equal((await frames.next('transfer')).fields[1], id);
  }
  frames.send(flow({ next: 12, window: 5, count: 1, credit: 0, echo: true }));
  assert.deepEqual((await frames.next('flow')).fields.slice(5, 7), [1, 0]);
});

test('credit that is taken back leaves messages to others', async (t) => {
  const q = unique('q');
  const frames = await opened(t, [begin({ window: 0 }), attach(q, { receives: true }), flow({ window: 0, credit: 100 })]);
  await frames.next('attach');
  const sender = await honest.amqp.sender(q);
  for (const body of ['a', 'b', 'c']) await sender.send({ body });
  frames.send(flow({ window: 100, credit: 0, echo: true }));
  await frames.next('flow');
  assert.deepEqual((await (await honest.amqp.receiver(q)).bodies(3)).sort(), ['a', 'b', 'c']);
});

test('a storm of echoes has one answer each, which wants none', async (t) => {
  const frames = await opened(t, [begin()]);
  frames.write(Buffer.concat(Array(5000).fill(frame(flow({ link: false, echo: true })))));
  for (let count = 0; count < 5000; count += 1) assert.ok(!(await frames.next('flow')).fields[9]);
  await assert.rejects(frames.next(undefined, 200));
});

test('messages that never end are kept up to a bound', async (t) => {
  const before = await megabytes();
  const links = 64;
  const frames = await opened(t, [begin(), ...Array.from({ length: links }, (_, handle) => attach(unique('q'), { handle }))]);
  const half = Buffer.alloc(60_000, 7);
  for (let round = 0; round < 16; round += 1) {
    for (let handle = 0; handle < links; handle += 1) {
      frames.send(Buffer.concat([composite(0x14, uint(handle), uint(handle), binary([1]), nil, nil, bool(true)), half]));
    }
  }
  const told = await frames.next('detach', 20_000);
  assert.equal(condition(told.fields[2]), 'amqp:resource-limit-exceeded');
  await honest.hasItsTurn();
  const grown = (await megabytes()) - before;
  assert.ok(grown < 48, `${grown} MiB more`);
});

test('values that say more than they are cost what they are', async (t) => {
  // Arrays in an array, each of 255 nulls: a quarter of a thousand million in a message.
  const inner = Buffer.from([2, 255, 0x40]);
  const count = 300_000;
  const bomb = described(0x77, compound(0xf0, count, Buffer.from([0xe0]), Buffer.concat(Array(count).fill(inner))));
  const frames = await opened(t, [begin(), attach(unique('q'))]);
  await frames.next('flow');
  for (let id = 0; id < 8; id += 1) frames.send(...pieces(bomb, 60_000, { id }));
  await within(5000, 'others', honest.hasItsTurn());
  for (let id = 0; id < 8; id += 1) assert.equal((await frames.next('disposition', 20_000)).fields[1], id);
});

test('settlements cost what is there, whatever they name', async (t) => {
  const q = unique('q');
  const frames = await opened(t, [begin(), attach(q, { receives: true }), flow({ credit: 100 })]);
  await frames.next('attach');
  const sender = await honest.amqp.sender(q);
  for (let body = 0; body < 50; body += 1) await sender.send({ body });
  for (let count = 0; count < 50; count += 1) await frames.next('transfer');
  const never = [disposition(50, MOST >>> 1), disposition(7, 3), disposition(MOST, MOST), disposition(50, 50)].map((body) => frame(body));
  frames.write(Buffer.concat(Array(20_000).fill(Buffer.concat(never))));
  await within(5000, 'others', honest.hasItsTurn());
  frames.send(disposition(0, MOST >>> 1, { settled: false }));
  const settled = await frames.next('disposition', 20_000);
  assert.deepEqual(settled.fields.slice(0, 4), [false, 0, 49, true]);
});

test('as many sessions and links as there may be take little, and one more is refused', async (t) => {
  const before = await megabytes();
  const frames = await Frames.open(gateway);
  t.after(() => frames.destroy());
  frames.write(Buffer.concat(Array.from({ length: 1024 }, (_, channel) => frame(begin(), { channel }))));
  for (let channel = 0; channel < 1024; channel += 1) await frames.next('begin');
  const links = 3000;
  frames.write(Buffer.concat(Array.from({ length: links }, (_, number) => frame(attach(unique('t'), { handle: number % 60, name: `l-${number}` }), { channel: number % 1024 }))));
  let told;
  do told = await frames.next(undefined, 20_000);
  while (told.name !== 'detach' && told.name !== 'end');
  assert.equal(condition(told.name === 'end' ? told.fields[0] : told.fields[2]), 'amqp:resource-limit-exceeded');
  await honest.hasItsTurn();
  const grown = (await megabytes()) - before;
  assert.ok(grown < 32, `${grown} MiB more`);
});
