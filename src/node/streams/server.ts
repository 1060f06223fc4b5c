import { chmodSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Readable, Writable } from "node:stream";
import { channels, encodeFrame, type ExecOptions, FrameReader, type NodeUsage, type PodKey, type StreamOptions } from "../../api/node.ts";
import { badRequestError, internalError, StatusError, tooManyRequestsError } from "../../api/status.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import { relayed } from "../../base/relayed.ts";
import type { ContainerRunner } from "../pod/runner.ts";
import { isRunning } from "../pod/record.ts";
import type { Held } from "../pause.ts";
import { readLine } from "./line.ts";
import { type ExecProcess, SandboxRefusal } from "../sandbox/sandbox.ts";

/** The first line on a connection of `agent.sock`. */
export type StreamRequest = ({ op: "exec"; options: ExecOptions } | { op: "attach"; options: StreamOptions } | { op: "usage" } | { op: "pause"; claim?: ClaimKey }) & { pod?: PodKey };
/** Only the programs that use this claim stand still. */
export interface ClaimKey {
  namespace: string;
  name: string;
}
/** The line that answers it; after `ok` follow frames, or `body` was everything. */
export type StreamAnswer = { ok: true; body?: unknown } | { ok: false; status: ReturnType<StatusError["toStatus"]> };

export interface StreamTargets {
  /** The runner of a pod's container; undefined pod: not here. */
  find(pod: PodKey, container: string): { pod: boolean; runner: ContainerRunner | undefined };
  usage(): Promise<NodeUsage>;
  /** Has all programs with volumes, or with this one, stand still. */
  pause(claim?: ClaimKey): Promise<Held>;
  /** Starts a program, once none stands still. */
  starting<T>(work: () => Promise<T>): Promise<T>;
}

const requestBytesMax = 256 * 1024;

/**
 * The agent's side of exec and attach: one JSON line in, one out, then frames both ways. The agent never looks
 * into what is streamed, and a slow side slows the other down: nothing is buffered without bound.
 */
export class StreamServer {
  readonly #path: string;
  readonly #targets: StreamTargets;
  readonly #log: Log;
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  constructor(path: string, targets: StreamTargets, log: Log) {
    this.#path = path;
    this.#targets = targets;
    this.#log = log;
  }

  async start(): Promise<void> {
    rmSync(this.#path, { force: true });
    // A client that ends its side is gone: the end of input is a frame, and only so can a closed window end its command.
    const server = createServer((socket) => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.#path, resolve);
    });
    chmodSync(this.#path, 0o600); // plain mode lets pods pass through the folder
    server.unref();
  }
  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => (this.#server ? this.#server.close(() => resolve()) : resolve()));
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    readLine(socket, (line) => void this.#serve(socket, line), requestBytesMax);
  }

  async #serve(socket: Socket, text: string): Promise<void> {
    const answer = (line: StreamAnswer) => void socket.write(`${JSON.stringify(line)}\n`);
    try {
      if (this.#sockets.size > limits.streamsMax) throw tooManyRequestsError("too many open streams", 1);
      const request = JSON.parse(text) as StreamRequest;
      if (request.op === "usage") {
        answer({ ok: true, body: await this.#targets.usage() });
        socket.end();
        return;
      }
      if (request.op === "pause") {
        const held = await this.#targets.pause(request.claim);
        // For as long as the connection lasts: whoever asked may be killed, and the pods must go on then.
        socket.once("close", () => held.release());
        socket.resume();
        if (socket.destroyed) return held.release();
        // A second line, and the end, says that they went on before that.
        void held.lost.then((why) => {
          answer({ ok: false, status: new StatusError(409, "Conflict", why).toStatus() });
          socket.end();
        });
        return answer({ ok: true, body: { processes: held.processes } });
      }
      if (request.op !== "exec" && request.op !== "attach") throw badRequestError(`unknown operation ${JSON.stringify((request as { op?: unknown }).op)}`);
      const { container } = request.options;
      const found = this.#targets.find(request.pod!, container);
      const runner = found.runner;
      if (!runner?.process || !isRunning(runner.record)) throw new StatusError(404, "NotFound", found.pod ? `container not found (${JSON.stringify(container)})` : "pod does not exist");
      if (request.op === "exec") await execute(socket, await this.#targets.starting(() => start(runner, request.options)), request.options, () => answer({ ok: true }));
      else attach(socket, runner, request.options, () => answer({ ok: true }));
    } catch (error) {
      // It may have ended between the look and the command.
      const refused = error instanceof SandboxRefusal ? (error.reason === "ContainerNotRunning" ? new StatusError(404, "NotFound", error.message) : new StatusError(403, "Forbidden", error.message)) : undefined;
      const status = refused ?? (error instanceof StatusError ? error : internalError((error as Error).message));
      if (status.code >= 500) this.#log.debug("stream refused", { error });
      answer({ ok: false, status: status.toStatus() });
      socket.end();
    }
  }
}

async function start(runner: ContainerRunner, { command, stdin, tty }: ExecOptions): Promise<ExecProcess> {
  // It may have ended while it was waited for.
  if (!runner.process) throw new SandboxRefusal("ContainerNotRunning", "the container is not running");
  return runner.process.exec({ argv: command, stdin, tty });
}

async function execute(socket: Socket, child: ExecProcess, options: ExecOptions, accepted: () => void): Promise<void> {
  accepted();
  // The client is gone: so is who would read the answer.
  socket.once("close", () => child.kill());
  receive(socket, { stdin: options.stdin ? child.stdin : undefined, resize: (columns, rows) => child.resize(columns, rows), endStdin: true });
  const outputs: Promise<void>[] = [];
  const heard = { bytes: 0 };
  if (options.stdout || options.tty) outputs.push(send(socket, channels.stdout, child.stdout, heard));
  else child.stdout.resume();
  if (options.stderr && !options.tty && child.stderr !== child.stdout) outputs.push(send(socket, channels.stderr, child.stderr, heard));
  else if (child.stderr !== child.stdout) child.stderr.resume();
  const exitCode = await child.exited;
  // A program in the background may keep the pipes: what the command itself said has arrived shortly.
  await Promise.race([Promise.all(outputs), quiet(socket, heard)]);
  finish(socket, exitStatus(exitCode));
}

function attach(socket: Socket, runner: ContainerRunner, options: StreamOptions, accepted: () => void): void {
  const process = runner.process!;
  accepted();
  let paused = 0;
  const leave = runner.output.add({
    data: (stream, chunk) => {
      if (!(stream === "stdout" ? options.stdout : options.stderr)) return;
      // Others share this output: who cannot keep up is let go.
      if (socket.writableLength > 1 << 20 && ++paused > 0) return void socket.destroy();
      for (const piece of slices(chunk)) socket.write(encodeFrame(stream === "stdout" ? channels.stdout : channels.stderr, piece));
    },
    end: () => finish(socket, { metadata: {}, status: "Success" }),
  });
  socket.once("close", () => {
    leave();
    if (options.stdin && runner.container.stdinOnce) process.stdin?.end();
  });
  receive(socket, { stdin: options.stdin ? process.stdin : undefined, resize: (columns, rows) => process.resize(columns, rows), endStdin: runner.container.stdinOnce ?? false });
}

/** Frames from the client: input, end of input, window size. */
function receive(socket: Socket, to: { stdin: Writable | undefined; resize(columns: number, rows: number): void; endStdin: boolean }): void {
  to.stdin?.on("error", () => {});
  const end = () => void (to.endStdin && to.stdin && !to.stdin.writableEnded && to.stdin.end());
  const reader = new FrameReader((channel, payload) => {
    if (channel === channels.stdin) {
      if (!to.stdin || to.stdin.writableEnded || payload.length === 0) return;
      relayed(payload.length);
      if (to.stdin.write(payload)) return;
      socket.pause();
      to.stdin.once("drain", () => socket.resume());
    } else if (channel === channels.close && payload[0] === channels.stdin) end();
    else if (channel === channels.resize) {
      try {
        const { Width, Height } = JSON.parse(payload.toString("utf8")) as { Width: number; Height: number };
        if (Width > 0 && Height > 0) to.resize(Math.min(Width, 65535), Math.min(Height, 65535));
      } catch {
        // No size we understand: the window stays as it is.
      }
    }
  });
  socket.on("data", (chunk) => {
    try {
      reader.push(chunk as Buffer);
    } catch {
      socket.destroy();
    }
  });
  socket.resume();
}

const quietLooks = 10;
const quietMs = 50;
/** A program in the background that goes on talking is not the command: five seconds of it are enough. */
const noisyLooksMax = 100;

/**
 * Resolves when nothing more comes, for half a second. Looks are counted, not time: in a process that is held up the time
 * is over before anything was read. A client that does not read keeps what is to come from being read, and is no silence.
 */
async function quiet(socket: Socket, heard: { bytes: number }): Promise<void> {
  let noisy = 0;
  for (let looks = 0; looks < quietLooks && noisy < noisyLooksMax && !socket.destroyed; ) {
    const before = heard.bytes;
    await new Promise((resolve) => setTimeout(resolve, quietMs));
    if (heard.bytes !== before) noisy++;
    looks = heard.bytes !== before || socket.writableNeedDrain ? 0 : looks + 1;
  }
}

async function send(socket: Socket, channel: number, stream: Readable, heard: { bytes: number }): Promise<void> {
  try {
    for await (const chunk of stream) {
      relayed((chunk as Buffer).length);
      heard.bytes += (chunk as Buffer).length;
      for (const piece of slices(chunk as Buffer)) {
        if (socket.destroyed) return;
        if (!socket.write(encodeFrame(channel, piece))) await new Promise<void>((resolve) => {
          const go = () => {
            socket.off("drain", go);
            socket.off("close", go);
            resolve();
          };
          socket.once("drain", go);
          socket.once("close", go);
        });
      }
    }
  } catch {
    // The pipe broke with its program.
  }
}

function* slices(chunk: Buffer): Generator<Buffer> {
  for (let at = 0; at < chunk.length; at += 32 * 1024) yield chunk.subarray(at, at + 32 * 1024);
}

function finish(socket: Socket, status: object): void {
  if (!socket.destroyed) socket.end(encodeFrame(channels.status, Buffer.from(JSON.stringify(status))));
}

/** How a command ended, as remotecommand v4 and later say it. */
export function exitStatus(exitCode: number): object {
  if (exitCode === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${exitCode}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}
