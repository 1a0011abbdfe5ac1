// Echo ("e") and broadcast ("b") with socket.io, over WebSocket only.
import { createServer } from "node:http";
import { Server } from "socket.io";

const server = createServer();
// Clients of the bench reply to no pings.
const io = new Server(server, { transports: ["websocket"], pingInterval: 3_600_000 });
io.on("connection", (socket) => {
  socket.on("e", (data) => socket.emit("e", data));
  socket.on("b", (data) => io.emit("b", data));
});
server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
