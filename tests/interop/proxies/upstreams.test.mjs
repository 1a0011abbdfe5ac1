// What a proxy says to its servers by the PROXY protocol, read by HAProxy with and without TLS.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Authority } from '../node/lib/certificates.mjs';
import { start } from '../node/lib/gateway.mjs';
import { Socket } from '../node/lib/websocket.mjs';
import { freePort, haproxyConfig, startProxy } from './lib/proxy.mjs';

let authority;
let backend;
let haproxy;
let gateway;
before(async () => {
  authority = await Authority.create();
  const { key, cert } = await authority.issue(['127.0.0.1']);
  const pem = join(authority.folder, 'haproxy.pem');
  await writeFile(pem, cert + key);
  backend = createServer((request, response) => response.end(`client ${request.headers['x-forwarded-for']}\n`));
  backend.listen(0, '127.0.0.1');
  await once(backend, 'listening');
  const [plain, secure] = [await freePort(), await freePort()];
  haproxy = await startProxy('haproxy', haproxyConfig(`listen web
    bind 127.0.0.1:${plain} accept-proxy
    bind 127.0.0.1:${secure} accept-proxy ssl crt ${pem}
    option forwardfor
    server one 127.0.0.1:${backend.address().port}
`), plain);
  gateway = await start(`
[[listen]]
address = "127.0.0.1:0"
forwarded-from = ["127.0.0.1"]

[[service]]
path = "/plain"
type = "proxy"
connect = "tcp://127.0.0.1:${plain}"
proxy-protocol = true

[[service]]
path = "/secure"
type = "proxy"
connect = "tls://127.0.0.1:${secure}"
ca = "ca.pem"
proxy-protocol = true

[[service]]
path = "/without"
type = "proxy"
connect = "tcp://127.0.0.1:${plain}"
`, { files: { 'ca.pem': authority.pem } });
});
after(async () => {
  await gateway?.stop();
  await haproxy?.stop();
  backend?.close();
  await authority?.remove();
});

const request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

for (const path of ['/plain', '/secure']) {
  for (const client of ['192.0.2.7', '2001:db8::7']) {
    test(`${path}: HAProxy learns that the client is ${client}`, async () => {
      const socket = await Socket.open(gateway.ws(path), [], { headers: { 'x-forwarded-for': client } });
      socket.send(request);
      let text = '';
      while (!text.includes('client ')) text += await socket.next();
      assert.match(text, new RegExp(`client ${client}\n`));
      socket.terminate();
    });
  }
}

test('HAProxy refuses a connection without the header', async () => {
  const socket = await Socket.open(gateway.ws('/without'));
  socket.send(request);
  assert.equal((await socket.end())[1].startsWith('the upstream'), true);
});
