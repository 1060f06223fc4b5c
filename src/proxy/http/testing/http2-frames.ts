import { connect, type Socket } from "node:net";
import { codes, encodeFrame, encodeSettings, flags, frames, headBytes, preface } from "../../../base/http2/frames.ts";
import { encodeField, HpackDecoder } from "../../../base/http2/hpack.ts";

export type Fields = readonly (readonly [name: string, value: string])[];

/** A block as no library would write it: whatever the fields say. */
export const block = (fields: Fields): Buffer => Buffer.from(fields.map(([name, value]) => encodeField(name, value)).join(""), "latin1");
export const headers = (id: number, fields: Fields, isEnd = true): Buffer => encodeFrame(frames.headers, flags.endHeaders | (isEnd ? flags.endStream : 0), id, block(fields));
export const data = (id: number, content: string | Buffer, isEnd = true): Buffer => encodeFrame(frames.data, isEnd ? flags.endStream : 0, id, Buffer.from(content as string));
/** What every request has; others, also of the same name, come behind. */
export const request = (more: Fields = [], { method = "GET", path = "/", authority = "web.example" } = {}): Fields => [[":method", method], [":scheme", "http"], [":path", path], [":authority", authority], ...more];

/** One conversation in bare frames, and what the other side said. */
export class Frames implements Disposable {
  readonly socket: Socket;
  /** In turn: "200 #1", "end #1", "reset protocol #1", "goAway calm", "closed". */
  readonly said: string[] = [];
  #rest: Buffer = Buffer.alloc(0);
  readonly #decoder = new HpackDecoder(1 << 20);
  #wake = () => {};

  constructor(port: number, settings: (readonly [id: number, value: number])[] = []) {
    this.socket = connect(port, "127.0.0.1");
    this.socket.setNoDelay(true);
    this.socket.on("error", () => {});
    this.socket.on("data", (bytes: Buffer) => {
      this.#rest = Buffer.concat([this.#rest, bytes]);
      while (this.#next());
      this.#wake();
    });
    this.socket.on("close", () => {
      this.said.push("closed");
      this.#wake();
    });
    this.socket.write(Buffer.concat([preface, encodeSettings(settings)]));
  }
  [Symbol.dispose](): void {
    this.socket.destroy();
  }
  get isOver(): boolean {
    return this.said.some((word) => word === "closed" || word.startsWith("goAway"));
  }
  /** Resolves once it may go on: whoever floods waits for the kernel, not for us. */
  async send(...bytes: Buffer[]): Promise<void> {
    if (this.socket.destroyed || this.socket.write(Buffer.concat(bytes))) return;
    await new Promise<void>((resolve) => {
      this.socket.once("drain", resolve);
      this.socket.once("close", () => resolve());
    });
  }
  async until(holds: (said: readonly string[]) => boolean): Promise<readonly string[]> {
    while (!holds(this.said) && !this.said.includes("closed")) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.said;
  }

  #next(): boolean {
    if (this.#rest.length < headBytes) return false;
    const length = this.#rest.readUIntBE(0, 3);
    if (this.#rest.length < headBytes + length) return false;
    const [type, flag, id] = [this.#rest[3]!, this.#rest[4]!, this.#rest.readUInt32BE(5)];
    const payload = this.#rest.subarray(headBytes, headBytes + length);
    this.#rest = this.#rest.subarray(headBytes + length);
    if (type === frames.headers) this.said.push(`${this.#decoder.decode(payload).find(([name]) => name === ":status")?.[1] ?? "trailers"} #${id}`);
    if (type === frames.reset) this.said.push(`reset ${nameOf(payload.readUInt32BE(0))} #${id}`);
    if (type === frames.goAway) this.said.push(`goAway ${nameOf(payload.readUInt32BE(4))}`);
    if ((type === frames.headers || type === frames.data) && flag & flags.endStream) this.said.push(`end #${id}`);
    return true;
  }
}

const nameOf = (code: number): string => Object.entries(codes).find(([, value]) => value === code)?.[0] ?? String(code);
