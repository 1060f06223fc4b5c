import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { NodeAccess, NodeUsage } from "../../api/node.ts";
import { serviceUnavailableError, StatusError } from "../../api/status.ts";
import { readLine } from "./line.ts";
import type { ClaimKey, StreamAnswer, StreamRequest } from "./server.ts";

/**
 * Has the programs that use a claim stand still until `release`, which rejects if they already went on. Rejects with a
 * StatusError: 409 while somebody else holds them, 503 without an agent.
 */
export async function pauseClaim(socketPath: string, claim: ClaimKey): Promise<{ release(): Promise<void> }> {
  const { socket } = await ask(socketPath, { op: "pause", claim });
  let lost: string | undefined;
  const ended = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  readLine(socket as Socket, (line) => {
    const answer = JSON.parse(line) as StreamAnswer;
    if (!answer.ok) lost = answer.status.message;
  });
  socket.on("error", () => {});
  return {
    async release() {
      if (lost === undefined && socket.destroyed) lost = "the node agent has gone";
      socket.end();
      await ended;
      if (lost !== undefined) throw new Error(lost);
    },
  };
}

/** Exec and attach as `wherry-api` asks for them: over the agent's socket. `usage` is what `kubectl top` needs. */
export function createStreamClient(socketPath: string): Pick<NodeAccess, "exec" | "attach"> & { usage(): Promise<NodeUsage> } {
  return {
    exec: async (pod, options) => (await ask(socketPath, { op: "exec", pod, options })).socket,
    attach: async (pod, options) => (await ask(socketPath, { op: "attach", pod, options })).socket,
    usage: async () => (await ask(socketPath, { op: "usage" })).body as NodeUsage,
  };
}

function ask(path: string, request: StreamRequest): Promise<{ socket: Duplex; body: unknown }> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ path });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    const broken = () => fail(serviceUnavailableError("the node agent is not there"));
    socket.once("error", broken);
    socket.once("end", broken);
    readLine(socket, (line) => {
      socket.off("error", broken);
      socket.off("end", broken);
      let answer: StreamAnswer;
      try {
        answer = JSON.parse(line) as StreamAnswer;
      } catch (error) {
        return fail(error as Error);
      }
      if (answer.ok) resolve({ socket, body: answer.body });
      else fail(StatusError.from(answer.status));
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}
