// A gateway that goes and comes back, and connections that rest, behind proxies that keep them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { start } from '../node/lib/gateway.mjs';
import { unique } from '../node/lib/peer.mjs';
import { pause, within } from '../node/lib/wait.mjs';
import { documentedGateway, documentedProxy, freePorts, Front } from './lib/front.mjs';
import { nginxConfig, startProxy } from './lib/proxy.mjs';
import { END_ARRIVES_AFTER_MS, tap } from './lib/tap.mjs';

/** Requests until the response has this status. */
async function until(status, front, path = '/healthz', ms = 20_000) {
  const end = Date.now() + ms;
  for (;;) {
    const answer = await front.request(path);
    if (answer.status === status) return answer;
    assert.ok(answer.status >= 500, `${answer.status}`);
    assert.ok(Date.now() < end, `${answer.status} after ${ms} ms`);
    await pause(50);
  }
}

for (const kind of ['nginx', 'haproxy', 'caddy']) {
  test(`${kind}: without a gateway a clean refusal, with it again all is well`, async (t) => {
    const ports = await freePorts('gateway', 'operations', 'plain', 'secure');
    let gateway = await documentedGateway(ports);
    t.after(() => gateway.stop());
    const proxy = await documentedProxy(kind, ports);
    t.after(() => proxy.stop());
    const front = new Front(ports.plain);
    await until(200, front);
    const [socket, peer] = [await front.open('/echo'), await front.stomp(t)];

    await gateway.stop();
    assert.equal((await socket.end())[0], 1006);
    await within(5000, 'the end of the session', peer.closed);
    for (const path of ['/', '/healthz', '/topics/a']) {
      const method = path === '/topics/a' ? 'POST' : 'GET';
      const answer = await front.request(path, { method, body: method === 'POST' ? 'x' : undefined });
      assert.ok([502, 503].includes(answer.status), `${method} ${path}: ${answer.status}`);
    }
    await assert.rejects(front.open('/echo'), /50[23]/);

    gateway = await documentedGateway(ports);
    await until(200, front);
    const again = await front.open('/echo');
    again.send('again');
    assert.equal(await again.next(), 'again');
    again.terminate();
    const topic = unique('again');
    const subscription = await (await front.stomp(t)).subscribe(`/topic/${topic}`);
    assert.equal((await front.request(`/topics/${topic}`, { method: 'POST', body: 'hello' })).status, 204);
    assert.equal((await subscription.next()).body, 'hello');
  });

  test(`${kind}: a gateway that stops closes through it`, async (t) => {
    const ports = await freePorts('gateway', 'operations', 'plain', 'secure');
    const gateway = await documentedGateway(ports, { end: '[shutdown]\ngrace = "500ms"\ndrain = "5s"\n' });
    t.after(() => gateway.stop());
    const proxy = await documentedProxy(kind, ports);
    t.after(() => proxy.stop());
    const front = new Front(ports.plain);
    await until(200, front);
    const [socket, peer] = [await front.open('/echo'), await front.stomp(t)];
    const subscription = await peer.subscribe('/topic/late');

    gateway.terminate();
    // In the time of grace it is at work as ever.
    while ((await new Front(ports.operations, { name: 'localhost' }).request('/readyz')).status === 200) await pause(5);
    socket.send('late');
    assert.equal(await socket.next(), 'late');
    await peer.send('/topic/late', 'late');
    assert.equal((await subscription.next()).body, 'late');
    assert.equal((await socket.end(10_000))[0], 1001);
    assert.equal((await within(10_000, 'the end of the session', peer.closed)).code, 1001);
    assert.equal(await within(10_000, 'the exit', gateway.exited), 0);
    assert.ok([502, 503].includes((await front.request('/')).status));
  });
}

/** nginx that keeps connections to the gateway for so long, and tells how each request went. */
async function keeping(t, port, gateway, seconds) {
  const proxy = await startProxy(
    'nginx',
    nginxConfig({
      http: `upstream back { server 127.0.0.1:${gateway}; keepalive 64; keepalive_timeout ${seconds}; }
      server {
        listen 127.0.0.1:${port};
        location / {
          proxy_pass http://back;
          proxy_http_version 1.1;
          proxy_set_header Host localhost;
          proxy_set_header Connection "";
        }
      }`,
    }),
    port,
  );
  t.after(() => proxy.stop());
  return new Front(port, { name: `127.0.0.1:${port}` });
}

/** The statuses of POSTs, which a proxy must not send again by itself, before and after rests of about
 * so long. */
async function restAndPost(front, rests) {
  const statuses = await Promise.all(
    rests.map(async (ms) => {
      const posts = [];
      for (let i = 0; i < 3; i += 1) {
        posts.push((await front.request('/topics/rest', { method: 'POST', body: 'x' })).status);
        await pause(ms);
      }
      return posts;
    }),
  );
  return statuses.flat();
}

const from = (ms, count) => Array.from({ length: count }, (_, i) => ms + i * 10);

test('connections that rest: the proxy ends them before the gateway does, and no POST is lost', async (t) => {
  const ports = await freePorts('gateway', 'proxy');
  const gateway = await start(`[http]\nkeep-alive = "4s"\n[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\n`);
  t.after(() => gateway.stop());
  const between = await tap(t, ports.gateway);
  const front = await keeping(t, ports.proxy, between.port, '1s');
  // Around the time at which the proxy ends them.
  const statuses = await restAndPost(front, from(700, 60));
  assert.deepEqual([...new Set(statuses)], [204]);
  assert.ok(between.seen.endedByProxy > 0);
  assert.equal(between.seen.endedByGateway, 0);
});

test('connections that rest longer than a log-in may take: they are used again', async (t) => {
  const ports = await freePorts('gateway', 'proxy');
  // By default they may rest for 75 s, nginx keeps them for 60 s.
  const gateway = await start(`[limits]\nlogin-timeout = "1s"\n[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\n`);
  t.after(() => gateway.stop());
  const between = await tap(t, ports.gateway);
  const front = await keeping(t, ports.proxy, between.port, '60s');
  const statuses = await restAndPost(front, [2500]);
  assert.deepEqual(statuses, [204, 204, 204]);
  assert.deepEqual(between.seen, { connections: 1, endedByGateway: 0, endedByProxy: 0 });
});

test('the other way round a POST is lost: what the order of the two bounds is for', async (t) => {
  const ports = await freePorts('gateway', 'proxy');
  const gateway = await start(`[http]\nkeep-alive = "500ms"\n[[listen]]\naddress = "127.0.0.1:${ports.gateway}"\n`);
  t.after(() => gateway.stop());
  const between = await tap(t, ports.gateway);
  const front = await keeping(t, ports.proxy, between.port, '60s');
  const post = async () => (await front.request('/topics/rest', { method: 'POST', body: 'x' })).status;
  assert.equal(await post(), 204);
  // After the gateway has ended the connection, and before the proxy knows.
  while (between.seen.endedByGateway === 0) await pause(5);
  assert.equal(await post(), 502);
  // Once it knows, it makes a new one.
  await pause(3 * END_ARRIVES_AFTER_MS);
  assert.equal(await post(), 204);
});
