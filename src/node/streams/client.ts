import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { NodeAccess } from "../../api/node.ts";
import { serviceUnavailableError, StatusError } from "../../api/status.ts";
import type { StreamAnswer, StreamRequest } from "./server.ts";

/** Exec and attach as `wherry-api` asks for them: over the agent's socket. `usage` is what `kubectl top` needs. */
export function createStreamClient(socketPath: string): Pick<NodeAccess, "exec" | "attach"> & { usage(): Promise<unknown> } {
  return {
    exec: async (pod, options) => (await ask(socketPath, { op: "exec", pod, options })).socket,
    attach: async (pod, options) => (await ask(socketPath, { op: "attach", pod, options })).socket,
    usage: async () => (await ask(socketPath, { op: "usage" })).body,
  };
}

function ask(path: string, request: StreamRequest): Promise<{ socket: Duplex; body: unknown }> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ path, allowHalfOpen: true });
    let line = Buffer.alloc(0);
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    const broken = () => fail(serviceUnavailableError("the node agent is not there"));
    socket.once("error", broken);
    socket.once("end", broken);
    const read = (chunk: Buffer) => {
      line = Buffer.concat([line, chunk]);
      const end = line.indexOf(10);
      if (end < 0) return;
      socket.off("data", read);
      socket.off("error", broken);
      socket.off("end", broken);
      socket.pause();
      if (line.length > end + 1) socket.unshift(line.subarray(end + 1));
      let answer: StreamAnswer;
      try {
        answer = JSON.parse(line.subarray(0, end).toString("utf8")) as StreamAnswer;
      } catch (error) {
        return fail(error as Error);
      }
      if (answer.ok) resolve({ socket, body: answer.body });
      else fail(StatusError.from(answer.status));
    };
    socket.on("data", read);
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
