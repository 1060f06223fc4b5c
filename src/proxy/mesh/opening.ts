import type { TcpHandle } from "../../base/handles.ts";
import type { Engine } from "../http/engine.ts";
import type { Listener } from "../http/routing.ts";
import { HandleStream, nobody, room, type Stream, type StreamOwner } from "../http/stream.ts";
import type { Swept } from "../http/sweeper.ts";
import { spokenBy } from "./protocol.ts";

export interface OpeningParts {
  engine: Engine;
  address: string;
  /** Who serves requests of a client that speaks so; undefined: HTTP is not looked for. */
  listenerFor: ((spoken: "http1" | "http2") => Listener) | undefined;
  /** What is not HTTP goes on as it is; `first` has been read from it. */
  pass(client: Stream, first: Buffer | undefined): void;
  /** What begins like TLS, likewise; undefined: that is passed on as well. */
  secure: ((client: TcpHandle, first: Buffer) => void) | undefined;
  /**
   * Nobody has said that the client speaks first: one that says nothing for so long, in milliseconds, waits for its server to
   * speak. Undefined: it is waited for.
   */
  silentMs: number | undefined;
}

const noBytes = Buffer.alloc(0);
/** Nobody waits for longer for a client's first byte. */
const openMs = 3_600_000;

/** RFC 8446 §5.1: a record of a handshake. */
const handshakeRecord = 22;

/** Takes a connection to a Service, whose first bytes say who serves it; or what was inside of one. */
export function openConnection(client: TcpHandle | Stream, parts: OpeningParts): void {
  new Opening("detach" in client ? client : new HandleStream(client, nobody), parts).start();
}

class Opening implements StreamOwner, Swept {
  readonly #parts: OpeningParts;
  readonly #stream: Stream;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly deadline: number;
  #first: Buffer = noBytes;

  constructor(stream: Stream, parts: OpeningParts) {
    this.#parts = parts;
    this.#stream = stream;
    stream.owner = this;
    this.deadline = parts.engine.sweeper.now + openMs;
    if (parts.silentMs !== undefined) this.#timer = setTimeout(() => this.#pass(), parts.silentMs).unref();
  }
  start(): void {
    this.#parts.engine.sweeper.add(this);
    this.#stream.resume();
  }

  onBytes(bytes: Buffer, from: number, to: number): void {
    if (this.#first.length > 0) {
      const all = Buffer.allocUnsafe(room + this.#first.length + to - from + room);
      this.#first.copy(all, room);
      bytes.copy(all, room + this.#first.length, from, to);
      [bytes, to, from] = [all, room + this.#first.length + to - from, room];
    }
    const { engine, address, listenerFor, secure } = this.#parts;
    if (secure && bytes[from] === handshakeRecord) {
      this.#over();
      const first = Buffer.from(bytes.subarray(from, to));
      const client = this.#stream.detach();
      return client && secure(client, first);
    }
    const spoken = listenerFor ? spokenBy(bytes, from, to) : "other";
    if (spoken === undefined) {
      this.#first = Buffer.from(bytes.subarray(from, to));
      return;
    }
    if (spoken === "other") {
      this.#first = Buffer.from(bytes.subarray(from, to));
      return this.#pass();
    }
    this.#over();
    const stream = this.#stream;
    engine.acceptStream(stream, listenerFor!(spoken), address);
    // They are the new owner's, who was made by that call, unless there were too many connections already.
    if (!stream.isClosed) stream.owner.onBytes(bytes, from, to);
  }
  onEnd(): void {
    this.#over();
    this.#stream.close();
  }
  onBroken(): void {
    this.#over();
  }
  onDrain(): void {}
  expire(): void {
    this.#over();
    this.#stream.reset();
  }

  #pass(): void {
    this.#over();
    this.#stream.pause();
    this.#parts.pass(this.#stream, this.#first.length > 0 ? this.#first : undefined);
  }
  #over(): void {
    clearTimeout(this.#timer);
    this.#parts.engine.sweeper.remove(this);
  }
}

