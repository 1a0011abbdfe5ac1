// Counting under disorder: producers and consumers that send, settle, leave and fail at random, and
// a ledger of what each did and saw. When all have ended, what the queues still hold is taken out,
// and check.mjs, which has nothing but the ledgers, tells whether each message is accounted for.
//
//   node disorder.mjs [--minutes N] [--seed N] [--right NAME] [--list]
//
// The environment is that of lib/gateway.mjs. A run is rounds of about a minute, each with its seed,
// at one gateway. A seed repeats what the clients want to do; when it happens is the machine's choice.
import { spawn } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { start } from '../interop/node/lib/gateway.mjs';
import { pause, within } from '../interop/node/lib/wait.mjs';
import { consume, drain } from './consumer.mjs';
import { produce } from './producer.mjs';

/**
 * What the gateway does not do right yet. A run tests for what is right where `isRight`, else it
 * makes the exception that stands beside it; `--right NAME` makes none, once.
 */
const FAULTS = {
  'waits-for-readers': {
    isRight: true,
    reason: 'a queue sends on while its reader has not read, which closes readers of large messages as slow consumers',
    instead: 'unsent-bytes-max is 192 MiB',
  },
  'orderly-release': {
    isRight: true,
    reason: 'UNSUBSCRIBE and DISCONNECT count as a failed attempt of what was prefetched',
    instead: 'they may be among the causes of a dead letter',
  },
  'returns-what-comes-late': {
    isRight: true,
    reason: 'what one core sends to an automatic consumer of another while that one sends DISCONNECT is lost',
    instead: 'what is lost so is counted, not a failure, and steady consumers have no automatic acknowledgement',
  },
  'takes-what-follows-a-commit': {
    isRight: true,
    reason:
      'more than 4 MiB that a connection sends while its COMMIT is carried out on other cores are refused with "too busy"',
    instead: 'producers send little then',
  },
};

const THREADS = 4;
const DELIVERIES_MAX = 6;
/** How long clients are at work in a round; what remains of a minute is for taking out and checking. */
const WORK = 40_000;
const BACKLOG_BYTES_MAX = 12 * 1024 * 1024;
const BACKLOG_MESSAGES_MAX = 500;
const PRODUCERS = 6;
/** How many queues and consumers there are of each kind (see consumer.mjs). */
const KINDS = {
  acknowledging: { queues: 8, consumers: 10 },
  steady: { queues: 3, consumers: 5 },
  orderly: { queues: 2, consumers: 3 },
  automatic: { queues: 3, consumers: 4 },
  careless: { queues: 2, consumers: 3 },
};

/** What producers have sent and no consumer has seen, so that no queue becomes full. */
class Backlog {
  #queues = new Map();
  #messages = new Map();

  sent(queue, id, bytes) {
    const waiting = this.#of(queue);
    waiting.bytes += bytes;
    waiting.messages += 1;
    this.#messages.set(id, { queue, bytes });
  }

  delivered(id) {
    const message = this.#messages.get(id);
    if (!message) return;
    this.#messages.delete(id);
    const waiting = this.#of(message.queue);
    waiting.bytes -= message.bytes;
    waiting.messages -= 1;
  }

  /** One of the queues, or none if that one has enough to do. */
  pick(client, queues) {
    const queue = client.pick(queues);
    const { bytes, messages } = this.#of(queue);
    return bytes < BACKLOG_BYTES_MAX && messages < BACKLOG_MESSAGES_MAX ? queue : undefined;
  }

  #of(queue) {
    if (!this.#queues.has(queue)) this.#queues.set(queue, { bytes: 0, messages: 0 });
    return this.#queues.get(queue);
  }
}

/** One round; resolves with whether everything is accounted for. */
async function round(gateway, seed, isRight) {
  const folder = join(process.env.LOGS ?? tmpdir(), `disorder-${seed}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });

  const queues = {};
  for (const [kind, { queues: count }] of Object.entries(KINDS)) {
    queues[kind] = Array.from({ length: count }, (_, i) => `/queue/${kind}.${seed}.${i}`);
  }
  const all = Object.values(queues).flat();
  await writeFile(
    join(folder, 'round.json'),
    JSON.stringify({ deliveriesMax: DELIVERIES_MAX, isRight, careless: queues.careless, automatic: queues.automatic }),
  );

  const last = Date.now() + WORK;
  const run = {
    gateway,
    seed,
    isRight,
    folder,
    all,
    backlog: new Backlog(),
    pause,
    isOver: () => Date.now() > last,
    hasPriorities: (queue) => queue.endsWith('.1'),
  };

  let isDrained = false;
  const dead = drain(
    run,
    'dead-letters',
    all.map((queue) => queue.replace('/queue/', '/queue/DLQ.')),
    () => isDrained,
  );
  const work = Array.from({ length: PRODUCERS }, (_, i) => produce(run, `producer-${i}`));
  for (const [kind, { consumers }] of Object.entries(KINDS)) {
    // What acknowledges itself may share queues with what does not, since neither loses messages.
    const from = kind === 'acknowledging' ? [...queues.acknowledging, ...queues.automatic.slice(1)] : queues[kind];
    for (let i = 0; i < consumers; i += 1) work.push(consume(run, `${kind}-${i}`, kind, from));
  }
  await Promise.all(work);
  await within(60_000, 'the gateway to notice that all have gone', connections(gateway, 1));
  await drain(run, 'drain', all, () => true);
  isDrained = true;
  await dead;
  await within(60_000, 'the gateway to notice that all have gone', connections(gateway, 0));

  const check = spawn(process.execPath, [join(import.meta.dirname, 'check.mjs'), folder], { stdio: 'inherit' });
  const isAccountedFor = (await new Promise((resolve) => check.once('exit', resolve))) === 0;
  if (isAccountedFor) await rm(folder, { recursive: true });
  return isAccountedFor;
}

/** Waits until the gateway knows of at most `count` connections at its broker service. */
async function connections(gateway, count) {
  while ((await metric(gateway, 'connections_open', 'service="/messaging"')) > count) await pause(50);
}

/** The sum of a metric over its rows with these labels. */
async function metric(gateway, name, labels = '') {
  const text = await (await fetch(gateway.http('/metrics'))).text();
  const rows = text
    .split('\n')
    .filter((row) => /^[a-z_]*/.exec(row)[0] === `passerelle_${name}` && row.includes(labels));
  return rows.reduce((sum, row) => sum + Number(row.split(' ').pop()), 0);
}

function config(isRight) {
  const unsent = isRight['waits-for-readers'] ? '' : 'unsent-bytes-max = "192MiB"\n';
  return `[limits]\nmessage-bytes-max = "3MiB"\ntransaction-bytes-max = "32MiB"\ndeliveries-max = ${DELIVERIES_MAX}\n${unsent}`;
}

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    right: { type: 'string', multiple: true, default: [] },
    list: { type: 'boolean' },
  },
});
const isRight = Object.fromEntries(
  Object.entries(FAULTS).map(([name, fault]) => [name, fault.isRight || values.right.includes(name)]),
);
for (const [name, { reason, instead }] of Object.entries(FAULTS)) {
  if (values.list || !isRight[name])
    console.log(`${name}: ${isRight[name] ? 'tested' : `not tested, since ${reason}; ${instead}`}`);
}
if (!values.list) {
  const first = Number(values.seed ?? Math.floor(Math.random() * 1e6));
  const gateway = await start(config(isRight), { threads: THREADS });
  let failed;
  try {
    for (let i = 0; i < Number(values.minutes) && failed === undefined; i += 1) {
      console.log(`seed ${first + i}`);
      if (!(await round(gateway, first + i, isRight))) failed = first + i;
    }
    const errors = await metric(gateway, 'internal_errors_total');
    if (errors > 0) throw new Error(`${errors} internal errors, see the gateway's log`);
    gateway.terminate();
    const code = await within(60_000, 'the gateway to end', gateway.exited);
    if (code !== 0) throw new Error(`the gateway ended with ${code}`);
  } finally {
    await gateway.stop();
  }
  if (failed !== undefined) {
    console.log(`failed; to repeat it: --seed ${failed}`);
    process.exitCode = 1;
  }
}
