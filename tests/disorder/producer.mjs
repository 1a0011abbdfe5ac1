// A producer: one connection after the other, each with sends and transactions at random, and an
// end at random.
import { Client } from './client.mjs';
import { body, large } from './bodies.mjs';

export async function produce(run, name) {
  const client = new Client(run, name);
  while (!run.isOver()) {
    await client.open();
    await life(run, client);
    await client.connection.ended;
    await run.pause(client.between(0, 100));
  }
  await client.close();
}

async function life(run, client) {
  const { draw } = client;
  // Where a send has no receipt of its own, that of DISCONNECT is for it too.
  const receipts = client.chance(0.8);
  const unanswered = client.pick([0, 1, 10, 50]);
  const open = [];
  for (let left = client.between(5, 150); left > 0 && client.isOpen && !run.isOver(); left -= 1) {
    const queue = run.backlog.pick(client, run.all);
    if (!queue) {
      await run.pause(50);
      continue;
    }
    const receipt = () => (receipts ? client.receipt() : undefined);
    const isCareful = client.isCommitting && !run.isRight['takes-what-follows-a-commit'];
    const kind = draw();
    if (kind < 0.75) {
      client.send(queue, body(client, isCareful ? 16 * 1024 : undefined), {
        receipt: receipt(),
        priority: priority(run, client, queue),
      });
    } else if (kind < 0.8) {
      for (let i = client.between(2, 20); i > 0; i -= 1) client.send(queue, body(client, 1024), { receipt: receipt() });
    } else if (kind < 0.803 && !isCareful) {
      // More than a reader takes at once.
      for (let i = client.between(4, 10); i > 0; i -= 1) client.send(queue, large(client), { receipt: receipt() });
    } else if (kind < 0.86 && open.length < 3) {
      open.push(client.begin());
    } else if (kind < 0.95 && open.length > 0) {
      // Of several queues, so mostly of several cores.
      const tx = client.pick(open);
      for (const target of client.run.all.filter(() => client.chance(0.3))) {
        client.send(target, body(client, 16 * 1024), { tx, priority: priority(run, client, target) });
      }
    } else if (open.length > 0) {
      const [tx] = open.splice(client.between(0, open.length - 1), 1);
      if (client.chance(0.25)) client.abort(tx, receipt());
      else {
        client.commit(tx, receipt());
        if (!receipts && !run.isRight['takes-what-follows-a-commit']) break;
      }
    }
    await client.answered(unanswered);
    if (client.chance(0.3)) await run.pause(client.between(1, 120));
  }
  // What is open still ends with the connection, as if it had not been.
  await end(client, client.draw());
}

async function end(client, kind) {
  if (kind < 0.4) {
    await client.answered();
    if (client.isOpen) await client.disconnect(client.receipt());
  } else if (kind < 0.55) await client.disconnect(client.receipt());
  else if (kind < 0.65) await client.disconnect();
  else if (kind < 0.75) await client.finish();
  else if (kind < 0.9 && client.connection.writePart) await client.sendPart(client.pick(client.run.all), body(client));
  else client.reset();
}

/** Most queues have one priority, some all but the lowest. */
function priority(run, client, queue) {
  return run.hasPriorities(queue) ? client.between(1, 9) : undefined;
}
