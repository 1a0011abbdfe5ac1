// Starts gateways for the suites. The environment names the binary (PASSERELLE), its number of
// cores (THREADS), a folder for what it prints (LOGS) and, for gateways with TLS, a folder with
// gw.pem and gw.key (TLS), whose certificate NODE_EXTRA_CA_CERTS makes known.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { within } from './wait.mjs';

/** Whether gateways have TLS. */
export const secure = Boolean(process.env.TLS);
const file = (name) => JSON.stringify(join(process.env.TLS, name));
const tls = secure && `tls = { certificate = ${file('gw.pem')}, key = ${file('gw.key')} }`;

/**
 * Starts a gateway on a free port.
 *
 * @param {string} [config] TOML after the line of `threads`; where it has no `[[listen]]`, the
 *   gateway listens on 127.0.0.1, operators' requests included
 * @param {{threads?: number, files?: Record<string, string | Uint8Array>, descriptors?: number, folder?: string, disk?: string}} [options]
 *   files to put beside the configuration; how many files it may have open at most; the folder where it
 *   runs, if that is not to be a new one; the size of the disk that `store` beside it is on, in the words
 *   of tmpfs
 */
export async function start(config = '', { threads = Number(process.env.THREADS ?? 1), files = {}, descriptors, folder, disk } = {}) {
  assert(process.env.PASSERELLE, 'PASSERELLE must name the binary of the gateway');
  folder ??= await mkdtemp(join(tmpdir(), 'passerelle-'));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  const listen = config.includes('[[listen]]') ? '' : '[[listen]]\naddress = "127.0.0.1:0"\noperations = true\n\n';
  const ring = process.env.IO_URING ? 'io-uring = true\n' : '';
  const text = `threads = ${threads}\n${ring}\n${listen}${config}`;
  await writeFile(join(folder, 'passerelle.toml'), secure ? text.replaceAll('[[listen]]\n', `[[listen]]\n${tls}\n`) : text);

  return run(folder, { threads, descriptors, disk });
}

/** Ends a gateway with a signal, and starts it again where it was. */
export async function again(gateway, signal) {
  gateway.process.kill(signal);
  await within(20_000, 'the gateway to end', gateway.exited);
  return run(gateway.folder, gateway.options);
}

async function run(folder, options) {
  const { threads, descriptors, disk } = options;
  const logs = process.env.LOGS ?? tmpdir();
  await mkdir(logs, { recursive: true });
  const serve = [process.env.PASSERELLE, 'serve', '--config', 'passerelle.toml'];
  const before = [
    ...(descriptors ? [`ulimit -n ${descriptors}`] : []),
    ...(disk ? ['mkdir -p store', `mount -t tmpfs -o size=${disk} none store`] : []),
  ];
  const shell = before.length > 0 ? ['sh', '-c', `${before.join(' && ')} && exec "$@"`, 'sh', ...serve] : serve;
  const limited = disk ? ['unshare', '-Urm', ...shell] : shell;
  const process_ = spawn(limited[0], limited.slice(1), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const name = basename(process.argv[1] ?? 'suite', '.test.mjs');
  const log = createWriteStream(join(logs, `${name}-${threads}.log`), { flags: 'a' });
  process_.stdout.pipe(log, { end: false });
  process_.stderr.pipe(log, { end: false });
  const gateway = new Gateway(process_, folder, options);
  await within(20_000, 'the gateway to start', gateway.listening);
  return gateway;
}

export class Gateway {
  /** The last of what it has logged. */
  said = '';

  constructor(process_, folder, options) {
    this.process = process_;
    this.folder = folder;
    this.options = options;
    /** Resolves with the exit code or signal. */
    this.exited = new Promise((resolve) => {
      process_.once('exit', (code, signal) => resolve(signal ?? code));
    });
    this.listening = new Promise((resolve, reject) => {
      createInterface({ input: process_.stdout }).on('line', (line) => {
        const found = /^listening on https?:\/\/([^/]+)/.exec(line);
        if (found) {
          this.authority = found[1];
          this.port = Number(found[1].split(':').pop());
          resolve();
        }
      });
      process_.stderr.on('data', (data) => (this.said = (this.said + data).slice(-4000)));
      process_.once('error', reject);
      process_.once('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${this.said}`)));
    });
  }

  /** The address of a page or a POST. */
  http(path) {
    return `${secure ? 'https' : 'http'}://${this.authority}${path}`;
  }

  /** The address of a WebSocket service. */
  ws(path) {
    return `${secure ? 'wss' : 'ws'}://${this.authority}${path}`;
  }

  /** Sends it SIGTERM, as an operator does. */
  terminate() {
    this.process.kill('SIGTERM');
  }

  /** Ends it at once. */
  async stop() {
    this.process.kill('SIGKILL');
    await this.exited;
    // Another gateway may have its store there, and write it still.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 10 });
  }
}
