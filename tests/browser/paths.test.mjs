// The pages where they are not at the root: below a path, and behind proxies that put more in front.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { caddyConfig, freePort, nginxConfig, startProxy } from '../interop/proxies/lib/proxy.mjs';
import { eventually, launch, open } from './lib/browser.mjs';
import { Demo } from './lib/demo.mjs';

const services = (list) => list.map(([path, type]) => `[[service]]\npath = "${path}"\ntype = "${type}"\n`).join('');
const ALL = services([
  ['/ui', 'pages'],
  ['/live/messaging', 'broker'],
  ['/second', 'broker'],
  ['/ui/echo', 'echo'],
  ['/all', 'broadcast'],
  ['/http/topics', 'topics'],
]);

let demo;
let browser;
/** Where a proxy ends TLS: to the gateway, which speaks http, that is another origin. */
let securePort;
before(async () => {
  securePort = await freePort();
  demo = await Demo.start(ALL, [`https://127.0.0.1:${securePort}`]);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** Starts a proxy for a test. */
async function proxy(t, kind, configure, fixed) {
  const port = fixed ?? (await freePort());
  const started = await startProxy(kind, configure(port), port);
  t.after(() => started.stop());
  return `127.0.0.1:${port}`;
}

/** Every page, by the links between them, with what each connects to. */
async function visit(address, { name, folder }) {
  const view = await open(browser, address, { ignoreHTTPSErrors: true });
  const { page } = view;
  const base = new URL(folder, page.url()).href;
  const service = (path) => new URL(path, base).href;
  const socket = (path) => service(path).replace(/^http/, 'ws');
  assert.equal(page.url().replace(/#.*/, ''), base);
  await view.has('status', 'data-state', 'live');
  await view.picture(`${name}-trader`);

  await page.getByRole('link', { name: 'Echo' }).click();
  await view.has('echo-status', 'data-state', 'open');
  assert.equal(await view.id('echo-url').inputValue(), socket('echo'));
  await view.id('echo-text').fill('hello');
  await view.id('echo-send').click();
  await eventually('the echo', () => view.id('log-line').allTextContents(), (lines) => lines.filter((line) => line.includes('hello')).length === 2);

  await page.getByRole('link', { name: 'Broadcast' }).click();
  await view.has('broadcast-status', 'data-state', 'open');
  assert.equal(await view.id('broadcast-url').inputValue(), socket('../all'));
  assert.ok((await page.locator('pre[data-command]').first().textContent()).includes(` ${service('../all')}`));

  await page.getByRole('link', { name: 'Console' }).click();
  await view.has('console-status', 'data-state', 'open');
  assert.equal(await view.id('console-url').inputValue(), socket('../live/messaging'));
  const commands = await page.locator('pre[data-command]').allTextContents();
  assert.ok(commands[0].includes(` ${service('../http/topics')}/news`), commands[0]);
  assert.match(commands[1], /^# not here: .* queues$/);
  await view.picture(`${name}-console`);

  await page.getByRole('link', { name: 'Passerelle, home' }).click();
  await view.has('status', 'data-state', 'live');
  view.healthy();
  await view.context.close();
}

test('at a path, asked for without its slash', () => visit(`${demo.url}/ui`, { name: 'path', folder: '/ui/' }));

test('behind nginx, which strips a prefix', async (t) => {
  const host = await proxy(t, 'nginx', (port) =>
    nginxConfig({
      http: `map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
      server {
        listen 127.0.0.1:${port};
        location /gw/ {
          proxy_pass http://127.0.0.1:${demo.port}/;
          proxy_http_version 1.1;
          proxy_set_header Host $http_host;
          proxy_set_header Upgrade $http_upgrade;
          proxy_set_header Connection $connection_upgrade;
        }
      }`,
    }),
  );
  await visit(`http://${host}/gw/ui`, { name: 'stripped', folder: '/gw/ui/' });
});

test('behind Caddy, which strips a prefix, by https', async (t) => {
  const host = await proxy(t, 'caddy', (port) =>
    caddyConfig(`https://127.0.0.1:${port} {
      tls internal
      handle_path /a/b/* {
        reverse_proxy 127.0.0.1:${demo.port}
      }
    }`),
    securePort,
  );
  await visit(`https://${host}/a/b/ui/`, { name: 'https', folder: '/a/b/ui/' });
});

test('a gateway without the services says what is missing', async () => {
  const bare = await Demo.start(services([['/ui', 'pages'], ['/messaging', 'broker'], ['/echo', 'echo']]));
  const none = await Demo.start(services([['/', 'pages']]));
  try {
    for (const [gateway, path, missing] of [
      [bare, '/ui/broadcast.html', 'broadcast'],
      [none, '/trader.html', 'broker'],
      [none, '/echo.html', 'echo'],
      [none, '/console.html', 'broker'],
    ]) {
      const view = await open(browser, gateway.url + path);
      await eventually(`${path} says so`, () => view.id('notice').allTextContents(), ([text]) => text?.includes(`type = "${missing}"`));
      await view.picture(`missing-${missing}`);
      view.healthy();
      await view.context.close();
    }
  } finally {
    await bare.stop();
    await none.stop();
  }
});
