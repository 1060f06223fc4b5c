// Says who answers and what arrived: over HTTP, WebSocket, TCP, TLS and UDP.
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { existsSync, readFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { createServer as createTlsServer } from "node:tls";

const name = process.env.NAME ?? "echo";
const http = createHttpServer((request, response) => {
  if (request.url === "/pod") return response.end(`${process.env.HOSTNAME}\n`);
  const shown = ["x-added", "x-removed"].filter((header) => request.headers[header] !== undefined).map((header) => ` ${header}=${request.headers[header]}`);
  response.end(`${name} ${request.method} ${request.url} ${request.headers.host}${shown.join("")}\n`);
});
http.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let rest = Buffer.alloc(0);
  socket.on("error", () => {});
  // Masked frames of less than 126 bytes, which is all that the test sends.
  socket.on("data", (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 6 && rest.length >= 6 + (rest[1] & 127)) {
      const length = rest[1] & 127;
      const content = Buffer.from(rest.subarray(6, 6 + length).map((byte, i) => byte ^ rest[2 + (i % 4)]));
      const kind = rest[0] & 15;
      rest = rest.subarray(6 + length);
      if (kind === 8) return socket.end(Buffer.from([0x88, 0]));
      socket.write(Buffer.concat([Buffer.from([0x80 | (kind === 9 ? 10 : kind), length]), content]));
    }
  });
});
const answer = (over) => (socket) => {
  socket.on("error", () => {});
  socket.once("data", (bytes) => socket.end(`${name} ${over} ${bytes}`));
};
http.listen(8080);
createTcpServer(answer("tcp")).listen(9000);
const tls = process.env.TLS ?? "/tls";
if (existsSync(`${tls}/tls.key`)) createTlsServer({ cert: readFileSync(`${tls}/tls.crt`), key: readFileSync(`${tls}/tls.key`) }, answer("tls")).listen(8443);
const udp = createSocket("udp4", (bytes, { port, address }) => udp.send(`${name} udp ${bytes}`, port, address)).bind(9053);
// As a server ends that wants to lose nobody: it takes no more, ends what is under way, and then goes.
process.on("SIGTERM", () => {
  http.close(() => process.exit(0));
  http.closeIdleConnections();
});
