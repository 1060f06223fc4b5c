import type { Duplex } from "node:stream";

/**
 * What the API server needs of the node to serve logs, exec, attach and port-forward. Declared here, provided
 * by `node/` and joined in `wherry.ts`, so that neither side imports the other.
 */
export interface NodeAccess {
  logs(pod: PodKey, options: LogOptions): Promise<AsyncIterable<Uint8Array>>;
  /**
   * Runs a command inside the container's namespaces. Rejects with a StatusError. The end of input is a frame
   * (channel 255 naming stdin); ending or destroying the stream says that nobody waits any more and ends the command.
   */
  exec(pod: PodKey, options: ExecOptions): Promise<Duplex>;
  /** Joins the streams of the container's main program. */
  attach(pod: PodKey, options: StreamOptions): Promise<Duplex>;
  /** A connection to a port of the pod, made inside the pod network. */
  dial(pod: PodKey, port: number): Promise<Duplex>;
  /** What the machine and every running container have used up to now. Costs a read of each container's counters. */
  usage?(): Promise<NodeUsage>;
}

/** Counters at one moment. `cpuNs` only grows as long as what it counts runs; `memoryBytes` is what could not be given back. */
export interface NodeUsage {
  node: UsageCounters;
  pods: { namespace: string; name: string; uid: string; containers: (UsageCounters & { name: string })[] }[];
}
export interface UsageCounters {
  atMs: number;
  cpuNs: number;
  memoryBytes: number;
}

export interface PodKey {
  namespace: string;
  name: string;
  uid: string;
}
export interface LogOptions {
  container: string;
  follow: boolean;
  previous: boolean;
  timestamps: boolean;
  tailLines?: number;
  sinceSeconds?: number;
  /** RFC 3339. */
  sinceTime?: string;
  limitBytes?: number;
  signal: AbortSignal;
}
export interface StreamOptions {
  container: string;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}
export interface ExecOptions extends StreamOptions {
  command: readonly string[];
}

/**
 * Exec and attach travel between `wherry-api` and the agent as frames on one byte stream, so that the agent
 * passes them through without looking inside: 1 byte channel, 4 bytes big-endian length, payload.
 * Channels are those of Kubernetes' remotecommand v5.
 */
export const channels = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

export function encodeFrame(channel: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + payload.length);
  frame[0] = channel;
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, 5);
  return frame;
}

/** Cuts a byte stream back into frames; feed it chunks of any size. Throws when a frame claims over 1 MiB. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);
  readonly #emit: (channel: number, payload: Buffer) => void;

  constructor(emit: (channel: number, payload: Buffer) => void) {
    this.#emit = emit;
  }
  push(chunk: Uint8Array): void {
    this.#pending = this.#pending.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : Buffer.concat([this.#pending, chunk]);
    let at = 0;
    while (this.#pending.length - at >= 5) {
      const length = this.#pending.readUInt32BE(at + 1);
      if (length > 1 << 20) throw new Error(`frame of ${length} bytes on channel ${this.#pending[at]}: at most 1048576 are allowed`);
      if (this.#pending.length - at < 5 + length) break;
      this.#emit(this.#pending[at]!, this.#pending.subarray(at + 5, at + 5 + length));
      at += 5 + length;
    }
    this.#pending = this.#pending.subarray(at);
  }
}
