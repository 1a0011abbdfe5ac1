// Stands between a proxy and a gateway and notes who ends each connection.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** As on a way that is not loopback: how long the proxy does not know that the gateway has ended.
 * Long enough for a test to send something in between. */
export const END_ARRIVES_AFTER_MS = 1000;

/** Passes on connections to a port until the test ends. */
export async function tap(t, port) {
  const seen = { connections: 0, endedByGateway: 0, endedByProxy: 0 };
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (proxy) => {
    const gateway = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    seen.connections += 1;
    let isEnded = false;
    const ended = (side) => {
      if (!isEnded) seen[side] += 1;
      isEnded = true;
    };
    proxy.on('data', (data) => gateway.write(data));
    gateway.on('data', (data) => proxy.write(data));
    proxy.on('end', () => {
      ended('endedByProxy');
      gateway.end();
    });
    gateway.on('end', () => {
      ended('endedByGateway');
      setTimeout(() => proxy.end(), END_ARRIVES_AFTER_MS);
    });
    for (const [socket, other] of [[proxy, gateway], [gateway, proxy]]) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => sockets.delete(socket));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: server.address().port, seen };
}
