// Runs `passerelle demo` on a free port: the gateway and the market as its two children.
import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Demo {
  /** `services`: TOML with its services, where they are not those of a gateway without configuration;
   * `origins`: other origins whose pages may use them. */
  static async start(services = '', origins = []) {
    const demo = new Demo();
    demo.folder = await mkdtemp(join(tmpdir(), 'passerelle-demo-'));
    demo.port = await freePort();
    demo.url = `http://127.0.0.1:${demo.port}`;
    const config = join(demo.folder, 'passerelle.toml');
    await writeFile(config, `allow-origins = ${JSON.stringify(origins)}

[[listen]]
address = "127.0.0.1:${demo.port}"
operations = true

[store]
path = ${JSON.stringify(join(demo.folder, 'store'))}

${services}`);
    demo.process = spawn(process.env.PASSERELLE, ['demo', '--config', config], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(join(process.env.LOGS ?? tmpdir(), 'demo.log'), { flags: 'a' });
    demo.process.stdout.pipe(log, { end: false });
    demo.process.stderr.pipe(log, { end: false });
    demo.exited = new Promise((resolve) => demo.process.once('exit', resolve));
    await demo.responds();
    return demo;
  }

  /** Waits until the gateway responds. */
  async responds() {
    const end = Date.now() + 20_000;
    for (;;) {
      try {
        if ((await fetch(`${this.url}/readyz`)).ok) return;
      } catch (error) {
        if (Date.now() > end) throw error;
      }
      if (this.process.exitCode !== null) throw new Error(`the demo ended with ${this.process.exitCode}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** The process of one of the two: `serve`, or `--connect` for the market. */
  async child(word) {
    const { pid } = this.process;
    const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).trim().split(' ');
    for (const child of children) {
      const command = (await readFile(`/proc/${child}/cmdline`, 'utf8')).split('\0');
      if (command.includes(word)) return Number(child);
    }
    throw new Error(`no child with ${word} among ${children}`);
  }

  /** Kills the gateway; the demo starts it again. */
  async killGateway() {
    process.kill(await this.child('serve'), 'SIGKILL');
  }

  async stop() {
    this.process.kill('SIGTERM');
    await this.exited;
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
