import type { CompressFilter } from "../../api/traffic-answers.ts";
import { lazyModule } from "../../base/lazy.ts";
import { acceptedEncoding } from "../accepted-encoding.ts";
import type { AnswerHead, AnswerSink, Exchange, Filter } from "../exchange.ts";
import { Passing } from "../passing.ts";
import { PolicyError } from "../policy-error.ts";

const zlib = lazyModule<typeof import("node:zlib")>(import.meta.url, "node:zlib");

type Name = CompressFilter["encodings"][number]["name"];
/** About what one compressor holds, besides what waits for it. */
const compressorBytes = 320 * 1024;
/** So much may wait for a compressor; then the upstream does. */
const waitingBytes = 128 * 1024;
type Compressor = import("node:zlib").Gzip | import("node:zlib").BrotliCompress | import("node:zlib").ZstdCompress;
/** Levels at which a core compresses some 50 MB a second or more. */
const compressors: Record<Name, () => Compressor> = {
  gzip: () => zlib().createGzip({ level: 5 }),
  br: () => zlib().createBrotliCompress({ params: { [zlib().constants.BROTLI_PARAM_QUALITY]: 4, [zlib().constants.BROTLI_PARAM_LGWIN]: 18 } }),
  zstd: () => zlib().createZstdCompress({ params: { [zlib().constants.ZSTD_c_compressionLevel]: 3 } }),
};

/** What gets shorter. Images, films and archives are compressed already; gRPC compresses message by message. */
const compressible = /^(?:text\/[^;]+|image\/svg\+xml|application\/(?:json|javascript|ecmascript|xml|x-ndjson|wasm|[\w.-]+\+(?:json|xml)))\s*(?:;|$)/i;

/**
 * Compresses answers for clients that take it. Not those that are encoded already, are a part of something, or whose Cache-Control
 * says no-transform. One whose length is not known is sent on as it comes: whoever waits for an event is not kept waiting for more.
 */
export const compress: Filter<CompressFilter> = ({ encodings }) => {
  if (encodings.length === 0) throw new PolicyError("encodings", [], "must have at least one entry");
  for (const [i, { name, minBytes }] of encodings.entries()) {
    if (!Object.hasOwn(compressors, name)) throw new PolicyError(`encodings[${i}].name`, name, `supported values: ${Object.keys(compressors).join(", ")}`);
    if (!Number.isSafeInteger(minBytes) || minBytes < 0) throw new PolicyError(`encodings[${i}].minBytes`, minBytes, "must not be negative");
  }
  const names = encodings.map(({ name }) => name);
  const leastOf = new Map(encodings.map(({ name, minBytes }) => [name, minBytes]));
  return (next) => (exchange, outcome) => {
    const accepted = acceptedEncoding(exchange.request.header("accept-encoding"), names);
    exchange.takeAnswer((_response, sink, drained) => new Compressing(exchange, accepted, accepted === undefined ? 0 : leastOf.get(accepted)!, sink, drained));
    next(exchange, outcome);
  };
};

class Compressing extends Passing {
  readonly #exchange: Exchange;
  readonly #name: Name | undefined;
  readonly #least: number;
  readonly #drained: () => void;
  #compressor: Compressor | undefined;
  #isStream = false;
  #waiting = 0;
  #trailers: Parameters<AnswerSink["end"]>[0];

  constructor(exchange: Exchange, name: Name | undefined, least: number, next: AnswerSink, drained: () => void) {
    super(next);
    this.#exchange = exchange;
    this.#name = name;
    this.#least = least;
    this.#drained = drained;
  }
  override get isBlocked(): boolean {
    return this.#waiting > waitingBytes;
  }

  override begin(head: AnswerHead): void {
    if (!isCompressible(head)) return this.next.begin(head);
    // Others get it otherwise: whoever keeps it has to know (RFC 9110 §12.5.5).
    const headers = varied(head.headers);
    const isShort = head.length !== undefined && head.length < this.#least;
    if (this.#name === undefined || isShort || this.#exchange.request.method === "HEAD" || !this.#exchange.hold(compressorBytes)) return this.next.begin({ ...head, headers });
    this.#isStream = head.length === undefined;
    this.#start(compressors[this.#name]());
    this.next.begin({ status: head.status, headers: [...headers.flatMap(coded), ["content-encoding", this.#name]], length: undefined });
  }
  #start(compressor: Compressor): void {
    this.#compressor = compressor;
    compressor.on("data", (bytes: Buffer) => this.next.content(bytes));
    compressor.once("end", () => this.next.end(this.#trailers));
    compressor.once("error", (error) => this.next.fail("UPE", `compression: ${error.message}`));
    this.#exchange.onEnd(() => compressor.removeAllListeners("data").destroy());
  }
  override content(bytes: Uint8Array): void {
    const compressor = this.#compressor;
    if (!compressor) return this.next.content(bytes);
    const { length } = bytes;
    this.#waiting += length;
    compressor.write(Buffer.from(bytes), () => this.#taken(length));
  }
  #taken(length: number): void {
    const wasBlocked = this.isBlocked;
    this.#waiting -= length;
    if (this.#isStream && this.#waiting === 0 && !this.#compressor!.writableEnded) this.#compressor!.flush();
    if (wasBlocked && !this.isBlocked) this.#drained();
  }
  override end(trailers?: Parameters<AnswerSink["end"]>[0]): void {
    if (!this.#compressor) return this.next.end(trailers);
    this.#trailers = trailers;
    this.#compressor.end();
  }
  override fail(...reason: Parameters<AnswerSink["fail"]>): void {
    this.#compressor?.removeAllListeners("data").destroy();
    this.next.fail(...reason);
  }
}

function isCompressible({ status, headers }: AnswerHead): boolean {
  if (status < 200 || status === 204 || status === 205 || status === 206 || status === 304) return false;
  let isRight = false;
  for (const [name, value] of headers) {
    if (name === "content-encoding" || name === "content-range") return false;
    if (name === "cache-control" && /(?:^|,)\s*no-transform\s*(?:,|$)/i.test(value)) return false;
    if (name === "content-type") isRight = compressible.test(value);
  }
  return isRight;
}

function varied(headers: AnswerHead["headers"]): AnswerHead["headers"] {
  if (headers.some(([name, value]) => name === "vary" && /(?:^|,)\s*(?:\*|accept-encoding)\s*(?:,|$)/i.test(value))) return headers;
  return [...headers, ["vary", "Accept-Encoding"]];
}
/** What is another representation has another entity tag, or a weak one; parts and digests are not this one's. */
function coded([name, value]: [string, string]): AnswerHead["headers"] {
  if (name === "accept-ranges" || name === "content-digest" || name === "content-md5") return [];
  return [[name, name === "etag" && !value.startsWith("W/") ? `W/${value}` : value]];
}
