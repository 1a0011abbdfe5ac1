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
 * @param {{threads?: number, files?: Record<string, string | Uint8Array>, descriptors?: number}} [options]
 *   files to put beside the configuration; how many files it may have open at most
 */
export async function start(config = '', { threads = Number(process.env.THREADS ?? 1), files = {}, descriptors } = {}) {
  assert(process.env.PASSERELLE, 'PASSERELLE must name the binary of the gateway');
  const folder = await mkdtemp(join(tmpdir(), 'passerelle-'));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    await writeFile(join(folder, name), content);
  }
  const listen = config.includes('[[listen]]') ? '' : '[[listen]]\naddress = "127.0.0.1:0"\noperations = true\n\n';
  const ring = process.env.IO_URING ? 'io-uring = true\n' : '';
  const text = `threads = ${threads}\n${ring}\n${listen}${config}`;
  await writeFile(join(folder, 'passerelle.toml'), secure ? text.replaceAll('[[listen]]\n', `[[listen]]\n${tls}\n`) : text);

  const logs = process.env.LOGS ?? tmpdir();
  await mkdir(logs, { recursive: true });
  const serve = [process.env.PASSERELLE, 'serve', '--config', 'passerelle.toml'];
  const limited = descriptors ? ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...serve] : serve;
  const process_ = spawn(limited[0], limited.slice(1), {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const name = basename(process.argv[1] ?? 'suite', '.test.mjs');
  const log = createWriteStream(join(logs, `${name}-${threads}.log`), { flags: 'a' });
  process_.stdout.pipe(log, { end: false });
  process_.stderr.pipe(log, { end: false });
  const gateway = new Gateway(process_, folder);
  await within(20_000, 'the gateway to start', gateway.listening);
  return gateway;
}

export class Gateway {
  constructor(process_, folder) {
    this.process = process_;
    this.folder = folder;
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
      let said = '';
      process_.stderr.on('data', (data) => (said = (said + data).slice(-4000)));
      process_.once('error', reject);
      process_.once('exit', (code) => reject(new Error(`the gateway ended with ${code}:\n${said}`)));
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
    await rm(this.folder, { recursive: true, force: true });
  }
}
