import { once } from "node:events";
import { createServer, type Socket } from "node:net";

/** Answers each connection with a script, byte for byte: for what no HTTP library would send. */
export async function startScript(serve: (socket: Socket, connection: number) => void) {
  let count = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    serve(socket, count++);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as { port: number }).port,
    connections: () => count,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
/** The text of each request without a body. */
export const onceAsked = (socket: Socket, answer: (asked: string) => void) => {
  let asked = "";
  socket.on("data", (data: Buffer) => {
    asked += data.toString("latin1");
    if (!asked.includes("\r\n\r\n")) return;
    const now = asked;
    asked = "";
    answer(now);
  });
};
