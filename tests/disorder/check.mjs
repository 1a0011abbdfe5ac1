// Reads the ledgers in a folder (client.mjs has their events) and tells what is not accounted for:
//
//   lost         a message whose RECEIPT came, and that no consumer, dead-letter queue or drain has
//   doubled      a message that came again after its acknowledgement, or in two places
//   no reason    a message that came again while a consumer had it that neither refused it nor left
//   not marked   a message that came again after a failed attempt without a higher delivery-count
//   phantom      a message that was never sent in full, or whose transaction was not committed
//   torn         a transaction of which a part was carried out
//   altered      a message whose body or queue is not that which was sent
//   order        a message of a producer that came after a later one, of the same priority, at one
//                subscription, though neither had been delivered and no other consumer had left
//   dead         a dead letter that cannot have had its failed attempts
//   closed       a connection that the gateway ended, and ERROR frames
//   unanswered   what the gateway did not answer
//
//   node check.mjs FOLDER
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.argv[2];
const { deliveriesMax, isRight, careless, automatic } = JSON.parse(readFileSync(join(folder, 'round.json')));
const DEAD = '/queue/DLQ.';
const DEFAULT_PRIORITY = 4;
/** Queues of which consumers may lose messages, and how these have left then. */
const mayLose = (queue) => {
  if (careless.includes(queue)) return ['lost', 'finished'];
  return automatic.includes(queue) && !isRight['returns-what-comes-late'] ? ['orderly'] : [];
};
const SHOWN = 3;
/** How long the gateway may take to notice that a consumer has left, in ms; it may send to it until then. */
const NOTICED = 20_000;

const events = [];
for (const name of readdirSync(folder).filter((name) => name.endsWith('.jsonl'))) {
  for (const line of readFileSync(join(folder, name), 'utf8').split('\n')) if (line) events.push(JSON.parse(line));
}
events.sort((a, b) => a.n - b.n);

const faults = [];
const fault = (kind, text, ...ids) => faults.push({ kind, text, ids });
const counts = {};
const count = (what) => (counts[what] = (counts[what] ?? 0) + 1);

/** Receipts that came. */
const receipts = new Set(events.filter(({ event }) => event === 'receipt').map(({ receipt }) => receipt));
const connections = new Map();
const transactions = new Map();
const messages = new Map();

const connectionOf = ({ client, conn }) => connections.get(`${client} ${conn}`);
const transactionOf = ({ client, conn, tx }) => transactions.get(`${client} ${conn} ${tx}`);

/** Whether the gateway has said that it carried this out. The RECEIPT of a DISCONNECT is for all before it. */
const isConfirmed = (event) => receipts.has(event.receipt) || receipts.has(connectionOf(event).disconnect?.receipt);

// How connections and transactions ended.
for (const event of events) {
  const connection = connectionOf(event);
  switch (event.event) {
    case 'open':
      connections.set(`${event.client} ${event.conn}`, { subscriptions: new Map() });
      break;
    case 'subscribed':
      connection.subscriptions.set(event.sub, { queue: event.queue, deliveries: [] });
      break;
    case 'unsubscribed':
      connection.subscriptions.get(event.sub).end = { how: 'orderly', n: event.n, ms: event.ms };
      break;
    case 'disconnect':
      connection.disconnect = event;
      connection.end ??= { how: 'orderly', n: event.n, ms: event.ms };
      break;
    case 'finish':
    case 'reset':
      connection.end ??= { how: event.event === 'reset' ? 'lost' : 'finished', n: event.n, ms: event.ms };
      break;
    case 'ended':
      // The gateway knew of it before the client did.
      if (!connection.end) fault('closed', `${event.client}, connection ${event.conn}, at ${event.ms} ms`);
      connection.end ??= { how: 'lost', n: 0, ms: event.ms };
      break;
    case 'error':
      fault('closed', `ERROR to ${event.client}: ${event.message}: ${event.body}`);
      break;
    case 'unanswered':
      fault('unanswered', JSON.stringify(event));
      break;
    case 'begin':
      transactions.set(`${event.client} ${event.conn} ${event.tx}`, { sent: [], settled: [], outcome: 'never' });
      break;
    case 'commit':
      Object.assign(transactionOf(event), { commit: event });
      break;
  }
}
for (const transaction of transactions.values()) {
  if (transaction.commit) transaction.outcome = isConfirmed(transaction.commit) ? 'certain' : 'uncertain';
  count(
    `transactions ${{ certain: 'committed', uncertain: 'with an uncertain COMMIT', never: 'without COMMIT' }[transaction.outcome]}`,
  );
}

// What was sent, delivered and settled.
for (const event of events) {
  if (event.event === 'sent' || event.event === 'part') {
    const transaction = event.tx && transactionOf(event);
    const fate =
      event.event === 'part'
        ? 'never'
        : transaction
          ? transaction.outcome
          : isConfirmed(event)
            ? 'certain'
            : 'uncertain';
    const message = { ...event, fate, deliveries: [], dead: [], order: [transaction?.commit?.n ?? event.n, event.n] };
    messages.set(event.id, message);
    transaction?.sent.push(message);
    count(
      {
        certain: 'messages with a RECEIPT',
        uncertain: 'messages without a RECEIPT',
        never: 'messages not sent after all',
      }[fate],
    );
  } else if (event.event === 'delivered') {
    deliver(event);
  } else if (event.event === 'ack' || event.event === 'nack') {
    for (const id of event.ids) settle(event, id);
  }
}

function deliver(event) {
  const message = messages.get(event.id);
  if (!message) return fault('phantom', `${event.id}, which was not sent`, event.id);
  if (message.fate === 'never') fault('phantom', `${event.id} of ${message.queue}`, event.id);
  const isDead = event.queue.startsWith(DEAD);
  const queue = isDead ? event.queue.replace(DEAD, '/queue/') : event.queue;
  if (queue !== message.queue || event.size !== message.size || event.crc !== message.crc) {
    fault(
      'altered',
      `${event.id} of ${message.queue}, ${message.size} bytes: from ${event.queue}, ${event.size} bytes`,
      event.id,
    );
  }
  const subscription = connectionOf(event).subscriptions.get(event.sub);
  const delivery = { ...event, subscription };
  subscription.deliveries.push(delivery);
  (isDead ? message.dead : message.deliveries).push(delivery);
  if (event.redelivered !== event.count > 1)
    fault('not marked', `${event.id}: delivery ${event.count}, redelivered ${event.redelivered}`, event.id);
}

/** An acknowledgement of a transaction that was not committed settles nothing. */
function settle(event, id) {
  const transaction = event.tx && transactionOf(event);
  if (transaction?.outcome === 'never') return;
  const subscription = connectionOf(event).subscriptions.get(event.sub);
  const delivery = subscription.deliveries.findLast((delivery) => delivery.id === id);
  delivery.settlement = {
    verb: event.event,
    isCertain: transaction ? transaction.outcome === 'certain' : isConfirmed(event),
    n: transaction?.commit.n ?? event.n,
  };
  if (event.event === 'ack') transaction?.settled.push(delivery);
}

/** Until when, and by what, a consumer has a delivery that it did not acknowledge. */
function release(delivery) {
  const ends = [delivery.subscription.end, connectionOf(delivery).end];
  if (delivery.settlement?.verb === 'nack') ends.push({ how: 'refused', n: delivery.settlement.n });
  return ends.filter(Boolean).sort((a, b) => a.n - b.n)[0];
}

/** How the subscriptions to a queue ended, by queue. */
const leavers = new Map();
for (const connection of connections.values()) {
  for (const { queue, end } of connection.subscriptions.values()) {
    if (!leavers.has(queue)) leavers.set(queue, []);
    leavers.get(queue).push(end ?? connection.end);
  }
}
/** How many consumers left, in one of these ways, that may have been given the message before `n`. */
const left = ({ queue, ms }, n, ...hows) =>
  (leavers.get(queue) ?? []).filter((end) => end && end.n < n && end.ms > ms - NOTICED && hows.includes(end.how))
    .length;

for (const message of messages.values()) {
  const { id, queue, fate, deliveries, dead } = message;
  const isCareless = careless.includes(queue);
  const all = [...deliveries, ...dead];
  for (const [at, delivery] of all.entries()) {
    const { mode, settlement } = delivery;
    const next = all[at + 1];
    if (!next) break;
    const end = release(delivery);
    const isLost = end?.how === 'lost' || end?.how === 'finished';
    if (delivery.queue.startsWith(DEAD)) fault('doubled', `${id}: two dead letters`, id);
    else if (mode === 'auto' ? !(isCareless && isLost) : settlement?.verb === 'ack' && settlement.isCertain) {
      fault('doubled', `${id} of ${queue} came again`, id);
    } else if (!end || end.n > next.n) fault('no reason', `${id} of ${queue} came again`, id);
    else if (!dead.includes(next)) {
      const isMarked =
        end.how === 'refused' || end.how === 'lost' ? next.count > delivery.count : next.count >= delivery.count;
      if (!isMarked)
        fault('not marked', `${id}: deliveries ${delivery.count} and ${next.count}, ${end.how} between them`, id);
      count(`redeliveries, ${end.how}`);
    }
  }

  for (const delivery of dead) {
    const causes = ['lost', 'finished', ...(isRight['orderly-release'] ? [] : ['orderly'])];
    const refused = deliveries.filter(({ settlement }) => settlement?.verb === 'nack').length;
    const attempts = refused + left(message, delivery.n, ...causes);
    if (attempts < deliveriesMax) fault('dead', `${id} of ${queue}: at most ${attempts} failed attempts`, id);
    if (delivery.from !== queue) fault('dead', `${id} of ${queue}: dlq-queue is ${delivery.from}`, id);
  }

  const acknowledged = deliveries.filter(({ mode, settlement }) => mode === 'auto' || settlement?.verb === 'ack');
  if (acknowledged.length + dead.length > 0) {
    const by = acknowledged.at(-1);
    count(
      dead.length > 0
        ? 'dead letters'
        : by.client === 'drain'
          ? 'still there'
          : by.mode === 'auto'
            ? 'acknowledged automatically'
            : 'acknowledged',
    );
  } else if (fate === 'certain') {
    if (left(message, Infinity, ...mayLose(queue)) > 0)
      count('lost by a consumer with automatic acknowledgement that left');
    else fault('lost', `${id} of ${queue}, ${message.size} bytes`, id);
  }
}

// Transactions whose COMMIT may have come or not: all of it, or nothing.
for (const { outcome, sent, settled } of transactions.values()) {
  if (outcome !== 'uncertain') continue;
  const sure = sent.filter(({ queue }) => mayLose(queue).length === 0);
  const isSeen = ({ deliveries, dead }) => deliveries.length + dead.length > 0;
  const parts = sure.map((message) => [message.id, isSeen(message)]);
  for (const delivery of settled.filter(({ queue }) => mayLose(queue).length === 0)) {
    const { deliveries, dead } = messages.get(delivery.id);
    parts.push([delivery.id, deliveries.at(-1) === delivery && dead.length === 0]);
  }
  if (new Set(parts.map(([, isDone]) => isDone)).size > 1)
    fault('torn', JSON.stringify(parts), ...parts.map(([id]) => id));
}

// Order, of what had not been delivered before.
for (const { subscriptions } of connections.values()) {
  for (const { deliveries } of subscriptions.values()) {
    const latest = new Map();
    for (const delivery of deliveries) {
      const message = messages.get(delivery.id);
      if (!message || delivery.count > 1 || delivery.queue.startsWith(DEAD)) continue;
      const key = `${message.client} ${message.conn} ${message.queue} ${message.priority ?? DEFAULT_PRIORITY}`;
      const before = latest.get(key);
      // What had not been written to a consumer when it left goes back unmarked, while others have later ones.
      const wasReleased = left(message, delivery.n, 'lost', 'finished', 'orderly') > 0;
      const isLater =
        !before ||
        before.order[0] < message.order[0] ||
        (before.order[0] === message.order[0] && before.order[1] < message.order[1]);
      if (isLater) latest.set(key, message);
      else if (!wasReleased)
        fault('order', `${message.id} after ${before.id} of ${message.queue}`, message.id, before.id);
      if (!wasReleased) count('deliveries whose order was checked');
    }
  }
}

for (const [what, number] of Object.entries(counts).sort()) console.log(`${String(number).padStart(9)}  ${what}`);
for (const kind of new Set(faults.map(({ kind }) => kind))) {
  const found = faults.filter((fault) => fault.kind === kind);
  console.log(`\n${found.length} ${kind}`);
  for (const { text, ids } of found.slice(0, SHOWN)) {
    console.log(`  ${text}`);
    for (const id of ids.slice(0, 4)) show(id);
  }
}
if (messages.size === 0) console.log('nothing was sent');
process.exitCode = faults.length > 0 || messages.size === 0 ? 1 : 0;

/** All that the ledgers have of a message, with the ends of the connections that had it. */
function show(id) {
  const involved = new Set();
  for (const event of events) {
    if (event.id === id || event.ids?.includes(id)) involved.add(`${event.client} ${event.conn}`);
  }
  const { tx, client, conn } = messages.get(id) ?? {};
  for (const event of events) {
    const isOfIt = event.id === id || event.ids?.includes(id);
    const isOfTx =
      tx !== undefined && event.tx === tx && event.client === client && event.conn === conn && event.event !== 'sent';
    const isEnd =
      ['unsubscribed', 'disconnect', 'finish', 'reset', 'ended', 'error'].includes(event.event) &&
      involved.has(`${event.client} ${event.conn}`);
    if (isOfIt || isOfTx || isEnd)
      console.log(
        `    ${JSON.stringify(event.ids ? { ...event, ids: event.ids.length } : event)}${receipts.has(event.receipt) ? ' confirmed' : ''}`,
      );
  }
}
