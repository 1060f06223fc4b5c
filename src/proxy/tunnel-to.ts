import type { TcpHandle } from "../base/handles.ts";
import type { Engine } from "./http/engine.ts";
import { HandleStream, nobody, type Stream, type StreamOwner } from "./http/stream.ts";
import { Tunnel } from "./http/tunnel.ts";

const noBytes = Buffer.alloc(0);

/**
 * Decrypted bytes to whomever `reach` finds, and back; undefined: nobody. What comes meanwhile waits: a client may speak with the
 * last piece of its handshake. `first` has been read already. `ended` is called once, whatever became of it.
 */
export function tunnelTo(engine: Engine, client: Stream, { first, idleMs, reach, ended = () => undefined }: { first?: Buffer | undefined; idleMs: number; reach(done: (handle: TcpHandle | undefined) => void): void; ended?(): unknown }): void {
  const waiting = new Waiting(first);
  client.owner = waiting;
  client.pause();
  reach((handle) => {
    if (!handle || client.isClosed) {
      handle?.close();
      // It may be OpenSSL that calls, from within the handshake.
      process.nextTick(() => client.reset());
      return ended();
    }
    const upstream = new HandleStream(handle, nobody);
    new Tunnel({ output: engine.output, sweeper: engine.sweeper, client, upstream, idleMs }, ended).start(waiting.bytes, noBytes, 0, 0);
    // It is the tunnel's now, which must hear of it.
    if (waiting.isEnded) client.owner.onEnd();
  });
}

class Waiting implements StreamOwner {
  readonly #pieces: Buffer[];
  isEnded = false;

  constructor(first: Buffer | undefined) {
    this.#pieces = first ? [first] : [];
  }
  get bytes(): Buffer | undefined {
    return this.#pieces.length === 0 ? undefined : Buffer.concat(this.#pieces);
  }
  onBytes(bytes: Buffer, from: number, to: number): void {
    this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
  }
  onEnd(): void {
    this.isEnded = true;
  }
  onBroken(): void {}
  onDrain(): void {}
}
