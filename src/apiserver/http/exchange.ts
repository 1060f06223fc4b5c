import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { createGzip, gzip } from "node:zlib";
import { dump } from "js-yaml";
import { internalError, type Status, StatusError, tooManyRequestsError } from "../../api/status.ts";
import { Http2Response } from "../../base/http2/messages.ts";
import type { Log } from "../../base/log.ts";
import { StorageBusyError, StorageError, StorageFullError } from "../../store/store.ts";
import type { Identity } from "../rest/context.ts";
import type { Form } from "./negotiate.ts";
import { isTrue, type RequestInfo } from "./request-info.ts";

/** As Node has them. Those of HTTP/2 (src/base/http2) have of it what is used here; the doors, which make them, say that they are these. */
export type Request = IncomingMessage;
export type Response = ServerResponse;

// Upstream compresses from here on.
const gzipFrom = 128 * 1024;
/** What is handed to the connection at once. */
const chunkBytes = 64 * 1024;

function* joined(parts: Iterable<Buffer>): Generator<Buffer> {
  let held: Buffer[] = [];
  let size = 0;
  for (const part of parts) {
    held.push(part);
    size += part.length;
    if (size < chunkBytes) continue;
    yield Buffer.concat(held, size);
    held = [];
    size = 0;
  }
  if (size > 0) yield Buffer.concat(held, size);
}

/** One request and its answer, whichever HTTP version carries it. */
export class Exchange {
  readonly request: Request;
  readonly response: ServerResponse;
  readonly info: RequestInfo;
  readonly user: Identity;
  readonly headers: IncomingHttpHeaders;
  readonly warnings: string[] = [];
  /** What admission leaves for the audit log, where there is one. */
  annotations: Record<string, string> | undefined;

  constructor(request: Request, response: Response, info: RequestInfo, user: Identity) {
    this.request = request;
    this.response = response;
    this.info = info;
    this.user = user;
    this.headers = request.headers;
  }

  /** Aborted when the client goes or the answer is complete. */
  closed(): AbortSignal {
    const controller = new AbortController();
    this.response.once("close", () => controller.abort());
    return controller.signal;
  }

  json(code: number, body: unknown, form: Form = { media: "json" }): void {
    this.bytes(code, Buffer.from(form.media === "yaml" ? dump(body) : `${this.#isPretty() ? JSON.stringify(body, null, 2) : JSON.stringify(body)}\n`), form.media === "yaml" ? "application/yaml" : "application/json");
  }

  /** Asked for, or a person with curl or a browser. */
  #isPretty(): boolean {
    const asked = this.info.query.get("pretty");
    return asked === null ? /^(curl|Wget|Mozilla)\b/.test(String(this.headers["user-agent"] ?? "")) : isTrue(asked);
  }

  /** JSON that is encoded already: as it is, unless it shall be pretty. */
  encoded(code: number, body: Buffer): void {
    if (this.#isPretty()) this.json(code, JSON.parse(body.toString("utf8")));
    else this.bytes(code, body, "application/json");
  }

  /** JSON in many parts of a known length in all, each asked for when the client takes it: a long list is never in memory as a whole. */
  pieces(code: number, length: number, parts: Iterable<Buffer>): void {
    if (length < gzipFrom || this.#isPretty() || this.info.method === "HEAD") return this.encoded(code, Buffer.concat([...parts], length));
    if (this.response.destroyed || this.response.headersSent) return;
    this.#warn();
    const packs = this.#takesGzip();
    this.response.writeHead(code, { "content-type": "application/json", "cache-control": "no-cache, private", ...(this.headers["accept-encoding"] ? { vary: "Accept-Encoding" } : {}), ...(packs ? { "content-encoding": "gzip" } : { "content-length": length }) });
    const { response } = this;
    if (!packs && (response as unknown) instanceof Http2Response) return void (response as unknown as Http2Response).endFrom(parts);
    const chunks = joined(parts);
    if (packs) {
      const packer = createGzip({ level: 1 });
      response.once("close", () => packer.destroy());
      Readable.from(chunks, { objectMode: true, highWaterMark: 1 }).pipe(packer).pipe(response);
      return;
    }
    const next = (): void => {
      for (;;) {
        const { done, value } = chunks.next();
        if (done) return void response.end();
        if (!response.write(value)) return void response.once("drain", next);
      }
    };
    next();
  }

  #takesGzip(): boolean {
    return /\bgzip\b/.test(String(this.headers["accept-encoding"] ?? ""));
  }

  bytes(code: number, body: Buffer, type: string, headers: Record<string, string> = {}): void {
    if (body.length >= gzipFrom && this.#takesGzip()) {
      gzip(body, { level: 1 }, (error, packed) => (error ? this.#send(code, body, type, headers) : this.#send(code, packed, type, { ...headers, "content-encoding": "gzip" })));
    } else this.#send(code, body, type, headers);
  }

  #send(code: number, body: Buffer, type: string, headers: Record<string, string>): void {
    if (this.response.destroyed || this.response.headersSent) return;
    this.#warn();
    this.response.writeHead(code, { "content-type": type, "content-length": body.length, "cache-control": "no-cache, private", ...(this.headers["accept-encoding"] ? { vary: "Accept-Encoding" } : {}), ...headers });
    this.response.end(this.info.method === "HEAD" ? undefined : body);
  }

  /** Begins a stream: headers go out at once. */
  stream(type: string): void {
    this.#warn();
    this.response.writeHead(200, { "content-type": type, "cache-control": "no-cache, private", ...(this.request.httpVersionMajor === 1 && { "transfer-encoding": "chunked" }) });
    this.response.flushHeaders?.();
  }

  #warn(): void {
    // The text is quoted as RFC 7234 wants, on one line; what is beyond ASCII goes as its bytes in UTF-8, as from a Go server.
    if (this.warnings.length > 0) this.response.setHeader("warning", [...new Set(this.warnings)].map((text) => `299 - "${text.replace(/[\\"]/g, "\\$&").replace(/\p{Cc}/gu, " ")}"`).map((value) => Buffer.from(value).toString("latin1")));
  }

  fail(error: unknown, log: Log): void {
    const status = statusOf(error, log);
    if (this.response.headersSent) return void this.response.destroy();
    if (status.code === 401) this.response.setHeader("www-authenticate", 'Bearer realm="kubernetes"');
    if (status.details?.retryAfterSeconds) this.response.setHeader("retry-after", String(status.details.retryAfterSeconds));
    this.json(status.code, status);
  }
}

/** Every failure is a Status; what nobody foresaw is a 500 whose cause is in the log. */
export function statusOf(error: unknown, log: Log): Status {
  if (error instanceof StatusError) return error.toStatus();
  if (error instanceof StorageFullError) return new StatusError(507, "InsufficientStorage", error.message).toStatus();
  if (error instanceof StorageBusyError) return tooManyRequestsError(error.message, 1).toStatus();
  if (!(error instanceof StorageError)) log.error("a request failed", { error });
  return internalError((error as Error).message).toStatus();
}
