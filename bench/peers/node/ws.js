// Echo at /echo and broadcast at /broadcast with the library ws.
import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const echo = new WebSocketServer({ noServer: true });
echo.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }));
});

const broadcast = new WebSocketServer({ noServer: true });
broadcast.on("connection", (socket) => {
  socket.on("message", (data, binary) => {
    for (const client of broadcast.clients) client.send(data, { binary });
  });
});

const server = createServer();
server.on("upgrade", (request, socket, head) => {
  const service = request.url === "/broadcast" ? broadcast : echo;
  service.handleUpgrade(request, socket, head, (client) => service.emit("connection", client));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
