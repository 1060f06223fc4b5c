import type { RequestView, SideAnswer, SideRequest } from "../../policy/exchange.ts";
import type { Picked } from "../../policy/upstream.ts";
import type { Asked, Asker, Trailers } from "./asker.ts";
import { asBuffer, composeField, framing, responseFields } from "./compose.ts";
import type { Head } from "./head.ts";
import { KeptBody } from "./kept-body.ts";
import { Output, type Sink } from "./output.ts";
import type { Pool } from "./upstream-pool.ts";

/** A first try on a kept connection that has just ended, and one at another endpoint. */
const triesMaxDefault = 3;

/**
 * A request that the gateway makes for itself, by the same pools, policy and TLS as its clients' requests: to whoever says who may
 * (ext-auth), has keys (JWKS), or gives tokens (OIDC). The answer is taken whole. A try that nobody has begun with is repeated.
 */
export class SideCall implements Asker {
  readonly isHead: boolean;
  readonly isUpgrade = false;
  readonly #request: SideRequest;
  readonly #pool: Pool;
  readonly #output: Output;
  readonly #then: (answer: SideAnswer | undefined, reason: string) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #body = new KeptBody();
  readonly #tried: string[] = [];
  #tries = 0;
  #triedAt = 0;
  #picked: Picked | undefined;
  #connection: Asked | undefined;
  #giveUp: (() => void) | undefined;
  #status = 0;
  #headers: [string, string][] = [];
  #isOver = false;

  private constructor(output: Output, pool: Pool, request: SideRequest, then: (answer: SideAnswer | undefined, reason: string) => void) {
    this.#output = output;
    this.#pool = pool;
    this.#request = request;
    this.#then = then;
    this.isHead = request.method === "HEAD";
    this.#timer = setTimeout(() => this.#fail(`no answer within ${request.timeoutMs} ms`, "timeout"), request.timeoutMs).unref();
  }
  /** `then` is called once, never within the call, and not after `cancel`. */
  static start(output: Output, pool: Pool | undefined, request: SideRequest, then: (answer: SideAnswer | undefined, reason: string) => void): { cancel(): void } {
    if (!pool) {
      const immediate = setImmediate(() => then(undefined, `there is no upstream ${request.upstream}`));
      return { cancel: () => clearImmediate(immediate) };
    }
    const call = new SideCall(output, pool, request, then);
    // Its outcome may be known at once, and whoever asked is not there yet to hear it.
    const immediate = setImmediate(() => call.#try());
    return {
      cancel: () => {
        clearImmediate(immediate);
        call.#end("cancelled");
      },
    };
  }

  #try(): void {
    this.#tries++;
    this.#triedAt = performance.now();
    const picked = this.#pool.policy.pick(viewOf(this.#request), this.#tried, this.#tries > 1);
    if (picked.endpoint === undefined) return this.#fail(picked.reason, "local");
    this.#picked = picked;
    const kept = this.#pool.take(picked.endpoint);
    if (kept) return this.#send(kept);
    this.#giveUp = this.#pool.connect(picked.endpoint, (connection, reason) => {
      this.#giveUp = undefined;
      if (connection) return this.#send(connection);
      this.#again(`${picked.endpoint.key}: ${reason}`);
    });
  }
  #send(connection: Asked): void {
    const { body, method } = this.#request;
    this.#connection = connection;
    const hasBody = body !== undefined || !/^(GET|HEAD|OPTIONS)$/.test(method);
    connection.askCopy(this, headOf(this.#request, hasBody), hasBody ? framing.length : framing.none);
    // What cannot be asked so may have been said at once.
    if (this.#connection !== connection) return;
    if (body && body.length > 0) connection.body(asBuffer(body), 0, body.length, undefined);
    if (hasBody) connection.bodyEnd([]);
    // Out of everybody's turn.
    this.#output.flush();
  }

  interim(): void {}
  onAnswer(head: Head): void {
    this.#status = head.status;
    this.#headers = responseFields(head, undefined);
  }
  content(bytes: Buffer, from: number, to: number): void {
    const { bytesMax, cuts } = this.#request;
    const isTooLong = this.#body.length + to - from > bytesMax;
    if (isTooLong && !cuts) return this.#fail(`its answer is longer than ${bytesMax} bytes`, "cancelled");
    this.#body.add(bytes, from, isTooLong ? from + bytesMax - this.#body.length : to);
    // The rest is not waited for: the connection ends with it.
    if (isTooLong) this.#finished([]);
  }
  ended(trailers: Trailers): void {
    this.#connection = undefined;
    this.#finished(trailers);
  }
  #finished(trailers: Trailers): void {
    const { bytes, length } = this.#body;
    for (const [name, value] of trailers) this.#headers.push([name, value]);
    const answer = { status: this.#status, headers: this.#headers, body: bytes.subarray(0, length) };
    if (this.#end("answered")) this.#then(answer, "");
    this.#output.flush();
  }
  switched(): void {
    this.#fail("it switched protocols", "local");
  }
  failed(reason: string, _protocol: boolean, refused = false): void {
    const connection = this.#connection;
    this.#connection = undefined;
    const key = this.#picked?.endpoint.key ?? "";
    // A kept connection that ended as it was used again says nothing; who has heard a request that changes something gets it once.
    const isStale = this.#status === 0 && connection !== undefined && connection.served > 0 && /^(GET|HEAD|OPTIONS)$/.test(this.#request.method);
    if (refused || isStale) return this.#again(`${key}: ${reason}`);
    this.#fail(`${key}: ${reason}`, "local");
  }
  flushed(): void {}
  upstreamDrained(): void {}

  #again(reason: string): void {
    if (this.#isOver) return;
    const picked = this.#picked;
    this.#picked = undefined;
    picked?.done({ type: "local", latencyMs: performance.now() - this.#triedAt });
    if (picked) this.#tried.push(picked.endpoint.key);
    if (this.#tries >= (this.#request.triesMax ?? triesMaxDefault)) return this.#fail(reason, "local");
    this.#try();
  }
  #fail(reason: string, type: "local" | "timeout" | "cancelled"): void {
    if (this.#end(type)) this.#then(undefined, reason);
    this.#output.flush();
  }
  /** Whether it was not over yet. */
  #end(type: "answered" | "local" | "timeout" | "cancelled"): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#giveUp?.();
    this.#connection?.close();
    this.#connection = undefined;
    const latencyMs = performance.now() - this.#triedAt;
    this.#picked?.done(type === "answered" ? { type, status: this.#status, latencyMs } : { type, latencyMs });
    this.#picked = undefined;
    return true;
  }
}

function viewOf({ method, target, host, headers }: SideRequest): RequestView {
  const [path = "/", query = ""] = target.split("?", 2);
  return { method, scheme: "http", host, port: 80, path, query, client: "", header: (name) => headers.find(([known]) => known === name)?.[1] };
}

let writer: Output | undefined;
function headOf({ method, target, host, headers, body }: SideRequest, hasBody: boolean): Buffer {
  const pieces: Buffer[] = [];
  const sink: Sink = { write: (bytes, from, to) => pieces.push(Buffer.from(bytes.subarray(from, to))) > 0 };
  const output = (writer ??= new Output());
  output.to(sink);
  // Targets and names come from configuration and from clients: what could end a line does not get into one.
  output.text(`${method} ${/^[\x21-\x7e]+$/.test(target) ? target : encodeURI(target)} HTTP/1.1\r\nHost: ${host.replaceAll(/[^\x21-\x7e]/g, "")}\r\n`);
  for (const [name, value] of headers) composeField(output, name, value);
  if (hasBody) output.text(`Content-Length: ${body?.length ?? 0}\r\n`);
  output.text("\r\n");
  output.flush();
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}
