import { spawn } from "node:child_process";
import { connect } from "node:net";
import { duplexPair, type Duplex } from "node:stream";
import { channels, encodeFrame, FrameReader, type NodeAccess } from "../src/api/node.ts";
import { StatusError } from "../src/api/status.ts";

/** A node without pods: commands run as children of the test, ports are dialled on loopback, logs are given lines. */
export interface FakeNode extends NodeAccess {
  /** Window sizes that were received, as text. */
  readonly sizes: string[];
  /** Options of the last exec. */
  last: Parameters<NodeAccess["exec"]>[1] | undefined;
}

export function fakeNode(lines: readonly string[] = []): FakeNode {
  const sizes: string[] = [];
  const node: FakeNode = {
    sizes,
    last: undefined,
    async exec(_pod, options) {
      node.last = options;
      if (options.command[0] === "missing") throw new StatusError(404, "NotFound", "container not found");
      const [near, far] = duplexPair();
      const child = spawn(options.command[0]!, options.command.slice(1), { stdio: "pipe" });
      const write = (channel: number) => (chunk: Buffer) => {
        if (far.write(encodeFrame(channel, chunk))) return;
        child.stdout.pause();
        far.once("drain", () => child.stdout.resume());
      };
      if (options.stdout) child.stdout.on("data", write(channels.stdout));
      if (options.stderr) child.stderr.on("data", write(channels.stderr));
      const reader = new FrameReader((channel, payload) => {
        if (channel === channels.stdin) child.stdin.write(Buffer.from(payload));
        else if (channel === channels.close && payload[0] === channels.stdin) child.stdin.end();
        else if (channel === channels.resize) sizes.push(payload.toString());
      });
      far.on("data", (chunk: Buffer) => reader.push(chunk));
      child.stdin.on("error", () => {});
      far.on("close", () => child.kill("SIGKILL"));
      if (!options.stdin) child.stdin.end();
      child.on("close", (code) => {
        const status = code === 0 ? { metadata: {}, status: "Success" } : { metadata: {}, status: "Failure", message: `command terminated with non-zero exit code: exit status ${code}`, reason: "NonZeroExitCode", details: { causes: [{ reason: "ExitCode", message: String(code) }] } };
        far.end(encodeFrame(channels.status, Buffer.from(JSON.stringify(status))));
      });
      return near;
    },
    attach: (pod, options) => node.exec(pod, { ...options, command: ["cat"] }),
    dial: (_pod, port) =>
      new Promise<Duplex>((resolve, reject) => {
        const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
        socket.once("error", reject);
        socket.once("connect", () => {
          socket.off("error", reject);
          resolve(socket);
        });
      }),
    async logs(_pod, { tailLines, follow, signal }) {
      const shown = tailLines === undefined ? lines : lines.slice(-tailLines);
      return (async function* () {
        for (const line of shown) yield Buffer.from(`${line}\n`);
        if (follow && !signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      })();
    },
  };
  return node;
}
