// The checker: ledgers written by hand, and what it must find in each.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const QUEUE = '/queue/q';
const DEAD = '/queue/DLQ.q';

/** Events of a client: `[event, fields]`. */
const p = (event, fields) => ({ client: 'p', conn: 1, event, ...fields });
const a = (event, fields) => ({ client: 'a', conn: 1, event, ...fields });
const b = (event, fields) => ({ client: 'b', conn: 1, event, ...fields });

const sent = (id, fields) => p('sent', { id, queue: QUEUE, size: 1, crc: 1, receipt: id, ...fields });
const receipt = (who, receipt) => who('receipt', { receipt });
const subscribed = (who, queue = QUEUE) => [who('open'), who('subscribed', { sub: '1', queue })];
const delivered = (who, id, count = 1, fields = {}) =>
  who('delivered', {
    sub: '1',
    id,
    queue: QUEUE,
    mode: 'client-individual',
    count,
    redelivered: count > 1,
    size: 1,
    crc: 1,
    ...fields,
  });
const settled = (who, verb, id, tx) => [
  who(verb, { sub: '1', ids: [id], receipt: `${verb}${id}${tx}`, tx }),
  receipt(who, `${verb}${id}${tx}`),
];
const confirmed = (id, fields) => [sent(id, fields), receipt(p, id)];
const left = (who, how) => [who(how), who('ended')];
const dead = (id, fields) => delivered(b, id, 1, { queue: DEAD, from: QUEUE, ...fields });
const begun = [p('open'), ...subscribed(a), ...subscribed(b)];

const CASES = {
  'acknowledged once': [[], ...confirmed('1'), delivered(a, '1'), ...settled(a, 'ack', '1')],
  'acknowledged automatically': [[], ...confirmed('1'), delivered(a, '1', 1, { mode: 'auto' })],
  'never confirmed': [[], sent('1'), ...left(p, 'reset')],
  'confirmed by the RECEIPT of a DISCONNECT': [
    ['lost'],
    sent('1', { receipt: undefined }),
    p('disconnect', { receipt: 'd' }),
    receipt(p, 'd'),
  ],
  'a RECEIPT, and nothing else': [['lost'], ...confirmed('1')],
  'a consumer that had it and left': [['lost'], ...confirmed('1'), delivered(a, '1'), ...left(a, 'reset')],
  'refused and gone': [['lost'], ...confirmed('1'), delivered(a, '1'), ...settled(a, 'nack', '1')],
  'again after its ACK': [
    ['doubled'],
    ...confirmed('1'),
    delivered(a, '1'),
    ...settled(a, 'ack', '1'),
    ...left(a, 'reset'),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
  ],
  'again after an automatic acknowledgement': [
    ['doubled'],
    ...confirmed('1'),
    delivered(a, '1', 1, { mode: 'auto' }),
    ...left(a, 'reset'),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
  ],
  'again after an ACK that may not have come': [
    [],
    ...confirmed('1'),
    delivered(a, '1'),
    a('ack', { sub: '1', ids: ['1'] }),
    ...left(a, 'reset'),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
  ],
  'again while another has it': [
    ['no reason'],
    ...confirmed('1'),
    delivered(a, '1'),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
  ],
  'again before the NACK': [
    ['no reason'],
    ...confirmed('1'),
    delivered(a, '1'),
    delivered(b, '1', 2),
    ...settled(a, 'nack', '1'),
    ...settled(b, 'ack', '1'),
  ],
  'again after the NACK, unmarked': [
    ['not marked'],
    ...confirmed('1'),
    delivered(a, '1'),
    ...settled(a, 'nack', '1'),
    delivered(b, '1'),
    ...settled(b, 'ack', '1'),
  ],
  'counted, but not marked': [
    ['not marked'],
    ...confirmed('1'),
    delivered(a, '1', 2, { redelivered: false }),
    ...settled(a, 'ack', '1'),
  ],
  'again after UNSUBSCRIBE': [
    [],
    ...confirmed('1'),
    delivered(a, '1'),
    a('unsubscribed', { sub: '1' }),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
  ],
  'a part of a SEND': [
    ['phantom'],
    p('part', { id: '1', queue: QUEUE, size: 1, crc: 1 }),
    ...left(p, 'reset'),
    delivered(a, '1'),
    ...settled(a, 'ack', '1'),
  ],
  'not sent at all': [['phantom'], delivered(a, '1')],
  'sent in a transaction that was aborted': [
    ['phantom'],
    p('begin', { tx: 't' }),
    sent('1', { tx: 't' }),
    p('abort', { tx: 't' }),
    delivered(a, '1'),
    ...settled(a, 'ack', '1'),
  ],
  'sent in a transaction that was committed': [
    ['lost'],
    p('begin', { tx: 't' }),
    sent('1', { tx: 't' }),
    p('commit', { tx: 't', receipt: 'c' }),
    receipt(p, 'c'),
  ],
  'acknowledged in a transaction that was aborted': [
    ['lost'],
    ...confirmed('1'),
    delivered(a, '1'),
    a('begin', { tx: 't' }),
    ...settled(a, 'ack', '1', 't'),
    a('abort', { tx: 't' }),
  ],
  'half a transaction': [
    ['torn'],
    p('begin', { tx: 't' }),
    sent('1', { tx: 't' }),
    sent('2', { tx: 't' }),
    p('commit', { tx: 't', receipt: 'c' }),
    ...left(p, 'reset'),
    delivered(a, '2'),
    ...settled(a, 'ack', '2'),
  ],
  'a transaction that sent, and did not acknowledge': [
    ['torn'],
    ...confirmed('1'),
    delivered(a, '1'),
    a('begin', { tx: 't' }),
    ...settled(a, 'ack', '1', 't'),
    { ...sent('2', { tx: 't' }), client: 'a' },
    a('commit', { tx: 't', receipt: 'c' }),
    ...left(a, 'reset'),
    delivered(b, '1', 2),
    ...settled(b, 'ack', '1'),
    delivered(b, '2'),
    ...settled(b, 'ack', '2'),
  ],
  'another body': [['altered'], ...confirmed('1'), delivered(a, '1', 1, { crc: 2 }), ...settled(a, 'ack', '1')],
  'another queue': [
    ['altered'],
    ...confirmed('1'),
    delivered(a, '1', 1, { queue: '/queue/r' }),
    ...settled(a, 'ack', '1'),
  ],
  'a later one first': [
    ['order'],
    ...confirmed('1'),
    ...confirmed('2'),
    delivered(a, '2'),
    delivered(a, '1'),
    ...settled(a, 'ack', '2'),
    ...settled(a, 'ack', '1'),
  ],
  'a later one of a higher priority first': [
    [],
    ...confirmed('1'),
    ...confirmed('2', { priority: 9 }),
    delivered(a, '2'),
    delivered(a, '1'),
    ...settled(a, 'ack', '2'),
    ...settled(a, 'ack', '1'),
  ],
  'a transaction that ended after a SEND': [
    ['order'],
    p('begin', { tx: 't' }),
    sent('1', { tx: 't' }),
    ...confirmed('2'),
    p('commit', { tx: 't', receipt: 'c' }),
    receipt(p, 'c'),
    delivered(a, '1'),
    delivered(a, '2'),
    ...settled(a, 'ack', '1'),
    ...settled(a, 'ack', '2'),
  ],
  'a dead letter at once': [['dead'], ...confirmed('1'), dead('1')],
  'a dead letter after two refusals': [
    [],
    ...confirmed('1'),
    delivered(a, '1'),
    ...settled(a, 'nack', '1'),
    delivered(a, '1', 2),
    ...settled(a, 'nack', '1'),
    dead('1'),
  ],
  'a dead letter of another queue': [
    ['dead'],
    ...confirmed('1'),
    ...left(a, 'reset'),
    { ...a('open'), conn: 2 },
    { ...a('subscribed', { sub: '1', queue: QUEUE }), conn: 2 },
    { ...a('reset'), conn: 2 },
    dead('1', { from: '/queue/r' }),
  ],
  'a dead letter that was acknowledged': [
    ['doubled'],
    ...confirmed('1'),
    delivered(a, '1'),
    ...settled(a, 'nack', '1'),
    delivered(a, '1', 2),
    ...settled(a, 'ack', '1'),
    dead('1'),
  ].map((item, at) => (at === 0 ? ['doubled', 'dead'] : item)),
  'closed by the gateway': [['closed'], ...confirmed('1'), delivered(a, '1'), ...settled(a, 'ack', '1'), a('ended')],
  'no answer': [['unanswered'], sent('1'), p('unanswered', {})],
};

for (const [name, [faults, ...events]] of Object.entries(CASES)) {
  test(name, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'ledger-'));
    t.after(() => rm(folder, { recursive: true }));
    const round = {
      deliveriesMax: 2,
      isRight: { 'orderly-release': true, 'returns-what-comes-late': true },
      careless: [],
      automatic: [],
    };
    await writeFile(join(folder, 'round.json'), JSON.stringify(round));
    const lines = [...begun, ...events].map((event, n) => JSON.stringify({ n: n + 1, ms: n, ...event }));
    await writeFile(join(folder, 'all.jsonl'), lines.join('\n'));
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'check.mjs'), folder], {
      encoding: 'utf8',
    });
    const found = [...stdout.matchAll(/^\d+ ([a-z ]+)$/gm)].map(([, kind]) => kind);
    assert.deepEqual(found.sort(), [...faults].sort(), stdout + stderr);
    assert.equal(status, faults.length > 0 ? 1 : 0, stderr);
  });
}
