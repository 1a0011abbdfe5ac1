#!/usr/bin/env node
// Records what AMQP clients send, for the corpus of the fuzz target: the binary of a gateway, to the suite
// that runs it. GATEWAY_BINARY is the real one, RECORD a folder and the beginning of the files' names:
//
//     PASSERELLE=$PWD/record.mjs GATEWAY_BINARY=…/target/debug/passerelle RECORD=/tmp/recorded/rhea node --test amqp.test.mjs
//
// Each connection over TCP becomes a file, up to the last whole frame within a few KB.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';

const BYTES_MAX = 4096;
const { GATEWAY_BINARY, RECORD } = process.env;

/** The part of a stream that has whole frames, and is not too long. */
function whole(stream) {
  for (let at = 0; ;) {
    const isHeader = stream.subarray(at, at + 4).toString('latin1') === 'AMQP';
    const size = isHeader ? 8 : at + 4 <= stream.length ? stream.readUInt32BE(at) : Infinity;
    if (size < 8 || at + size > Math.min(stream.length, BYTES_MAX)) return stream.subarray(0, at);
    at += size;
  }
}

let count = 0;
function record(client, port) {
  const gateway = net.connect({ host: '127.0.0.1', port });
  const [sent, name] = [[], `${RECORD}-${process.pid}-${(count += 1)}`];
  client.on('data', (data) => {
    if (sent.reduce((bytes, piece) => bytes + piece.length, 0) > BYTES_MAX) return;
    sent.push(data);
    const stream = Buffer.concat(sent);
    if (stream.subarray(0, 4).toString('latin1') === 'AMQP') writeFileSync(name, whole(stream));
  });
  client.pipe(gateway).pipe(client);
  for (const socket of [client, gateway]) socket.on('error', () => (client.destroy(), gateway.destroy()));
}

const args = process.argv.slice(2);
if (args[0] !== 'serve') {
  const child = spawn(GATEWAY_BINARY, args, { stdio: 'inherit' });
  child.on('exit', (code) => process.exit(code ?? 1));
} else {
  mkdirSync(dirname(RECORD), { recursive: true });
  // It ends with this process, however that ends.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', GATEWAY_BINARY, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code) => process.exit(code ?? 1));
  for await (const line of createInterface({ input: child.stdout })) {
    const found = /^listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(line);
    if (!found) {
      console.log(line);
      continue;
    }
    const recorder = net.createServer((client) => record(client, Number(found[1])));
    recorder.listen(0, '127.0.0.1');
    await once(recorder, 'listening');
    console.log(line.replace(found[1], recorder.address().port));
  }
}
