// Runs `passerelle serve` without a market.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Starts a gateway, by default without a configuration. */
export async function start(config) {
  const folder = await mkdtemp(join(tmpdir(), 'passerelle-serve-'));
  const file = join(folder, 'passerelle.toml');
  if (config !== undefined) await writeFile(file, config);
  const place = config === undefined ? ['--listen', '0'] : [file];
  const child = spawn(process.env.PASSERELLE, ['serve', ...place], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  return {
    url: line.replace('listening on ', '').replace(/\/$/, ''),
    async stop() {
      child.kill('SIGKILL');
      await once(child, 'exit');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
