// Starts real proxies in the foreground, each with a folder of its own and nothing of the machine's.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** How each is started with its configuration in `file`. */
const PROGRAMS = {
  nginx: (file, folder) => ['nginx', '-p', folder, '-e', 'stderr', '-c', file],
  haproxy: (file) => ['haproxy', '-db', '-f', file],
  caddy: (file) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', file],
};

/** What nginx needs to know to stay in its folder. Modules are Debian's. */
const NGINX = `daemon off;
pid nginx.pid;
error_log stderr notice;
events {}
`;
const NGINX_HTTP = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${name};`);

/** A whole configuration of nginx: blocks for `http`, and blocks for `stream`. */
export const nginxConfig = ({ http, stream }) => [
  ...(stream ? ['load_module /usr/lib/nginx/modules/ngx_stream_module.so;'] : []),
  NGINX,
  ...(http ? ['http {', 'access_log off;', ...NGINX_HTTP, http, '}'] : []),
  ...(stream ? ['stream {', stream, '}'] : []),
  '',
].join('\n');

/** A whole configuration of HAProxy: its sections, behind those that Debian's begins with. */
export const haproxyConfig = (sections) => `global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
${sections}`;

/** A whole configuration of Caddy: its sites, which stay on their ports. */
export const caddyConfig = (sites) => `{
    admin off
    auto_https disable_redirects
    skip_install_trust
}
${sites}`;

/** Starts one of the three on `port`; its configuration must listen there on 127.0.0.1. */
export async function startProxy(kind, config, port) {
  const folder = await mkdtemp(join(tmpdir(), `${kind}-`));
  // nginx drops its rights, if it has any, before it writes to its folder.
  await chmod(folder, 0o755);
  const file = join(folder, 'config');
  await writeFile(file, config);
  const [program, ...options] = PROGRAMS[kind](file, folder);
  const process_ = spawn(program, options, {
    cwd: folder,
    // Debian has nginx and HAProxy where only root looks.
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin`, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const name = basename(process.argv[1] ?? 'suite', '.test.mjs');
  const log = createWriteStream(join(process.env.LOGS ?? tmpdir(), `${name}-${kind}.log`), { flags: 'a' });
  for (const output of [process_.stdout, process_.stderr]) {
    output.on('data', (data) => (said = (said + data).slice(-4000)));
    output.pipe(log, { end: false });
  }
  const exited = new Promise((resolve) => {
    process_.once('exit', resolve);
    process_.once('error', (error) => resolve((said += error)));
  });
  const proxy = {
    kind,
    folder,
    port,
    /** Ends it at once. nginx's workers end with their master, which must not be killed. */
    async stop() {
      process_.kill('SIGTERM');
      await exited;
      await rm(folder, { recursive: true, force: true });
    },
  };
  let gone = false;
  exited.then(() => (gone = true));
  const end = Date.now() + 20_000;
  for (; !(await takes(port)); await new Promise((resolve) => setTimeout(resolve, 30))) {
    if (gone || Date.now() > end) {
      await proxy.stop();
      assert.fail(`${kind} did not start:\n${said}\n${config}`);
    }
  }
  return proxy;
}

/** Whether a port is listened on. */
async function takes(port) {
  const socket = connect({ host: '127.0.0.1', port });
  const taken = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false)]).catch(() => false);
  socket.destroy();
  return taken;
}

/** A port that was free a moment ago, below those that the kernel assigns to clients. */
export async function freePort() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    server.listen(port, '127.0.0.1');
    const isFree = await new Promise((resolve) => {
      server.once('listening', () => resolve(true));
      server.once('error', () => resolve(false));
    });
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}
