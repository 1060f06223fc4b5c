import type { AnswerFilter, AnswerHead, AnswerSink, Exchange, Handler, RequestView, ResponseView } from "./exchange.ts";
import { grpcStatusOf, localAnswer } from "./local-answer.ts";
import { Passing } from "./passing.ts";
import { editedHeader, editHeaders } from "./request-edits.ts";

/** Whether a browser calls, which can send no trailers and see none. */
export const asksGrpcWeb = (request: RequestView): boolean => typeOf(request.header("content-type")) !== undefined;

/** Of a body that is written as text: it is kept whole, since it is to be gRPC's. Its messages are a quarter shorter. */
export const textBytesMax = 16 * 1024 * 1024;

/**
 * A call of gRPC-Web as gRPC: the same frames, except that "-text" is base64 and that trailers are the last frame of the body. What
 * answers in another way than by gRPC (an error of ours, or of a gateway behind) is told as a status of gRPC where it is ours, and else
 * left as it is. Source: grpc/grpc doc/PROTOCOL-WEB.md.
 */
export const grpcWeb = (next: Handler): Handler => (exchange, outcome) => {
  const { request, requestHeaders } = exchange;
  const asked = typeOf(editedHeader(request, requestHeaders, "content-type"));
  if (!asked) return next(exchange, outcome);
  // Whoever takes text is answered in text, whatever he has sent.
  const wantsText = /^application\/grpc-web-text(?:$|[+; ,])/i.test(request.header("accept") ?? "");
  exchange.takeAnswer(answered(exchange, wantsText));
  editHeaders(exchange, { set: [["content-type", `application/grpc${asked.format}`], ["te", "trailers"]] });
  if (!asked.isText) return next(exchange, outcome);
  exchange.readBody(textBytesMax, (body) => {
    const messages = fromText(body);
    if (!messages) return outcome.answer(exchange, localAnswer(request, "DPE", "the body of a call of gRPC-Web is not base64", { status: 400 }));
    exchange.replaceBody(messages);
    next(exchange, outcome);
  });
};

function typeOf(contentType: string | undefined): { isText: boolean; format: string } | undefined {
  const found = contentType === undefined ? null : /^application\/grpc-web(-text)?(\+[a-z]+)?(?:$|[; ])/i.exec(contentType);
  return found ? { isText: found[1] !== undefined, format: found[2]?.toLowerCase() ?? "" } : undefined;
}

const statusNames = new Set(["grpc-status", "grpc-message", "grpc-status-details-bin"]);

function answered(exchange: Exchange, isText: boolean): AnswerFilter {
  return (response, next) => new WebAnswer(exchange, response, next, isText);
}

class WebAnswer extends Passing {
  readonly #exchange: Exchange;
  readonly #response: ResponseView;
  readonly #isText: boolean;
  /** What of its head stands behind its body. */
  #late: [name: string, value: string][] = [];
  #kind: "grpc" | "error" | "other" = "other";

  constructor(exchange: Exchange, response: ResponseView, next: AnswerSink, isText: boolean) {
    super(next);
    this.#exchange = exchange;
    this.#response = response;
    this.#isText = isText;
  }
  override begin(head: AnswerHead): void {
    const format = head.headers.find(([name]) => name === "content-type")?.[1].match(/^application\/grpc(\+[a-z]+)?(?:$|[; ])/i);
    if (format) this.#kind = "grpc";
    else if (this.#response.isLocal && head.status >= 400) this.#kind = "error";
    if (this.#kind === "other") return super.begin(head);
    const type = `application/grpc-web${this.#isText ? "-text" : ""}${format?.[1] ?? "+proto"}`;
    this.#late = this.#kind === "error" ? [["grpc-status", String(grpcStatusOf(head.status))], ["grpc-message", `${head.status}`]] : head.headers.filter(([name]) => statusNames.has(name));
    const headers = head.headers.filter(([name]) => name !== "content-type" && !statusNames.has(name));
    super.begin({ status: this.#kind === "error" ? 200 : head.status, headers: [...headers, ["content-type", type]], length: undefined });
  }
  override content(bytes: Uint8Array): void {
    if (this.#kind === "other") return super.content(bytes);
    if (this.#kind === "grpc") return this.#send(bytes);
    // Why it is refused is text, of one line.
    this.#late[1] = ["grpc-message", encodeURIComponent(Buffer.from(bytes).toString("utf8").trim().slice(0, 1000)).replaceAll("%20", " ")];
  }
  override end(trailers: readonly (readonly [name: string, value: string])[] = []): void {
    if (this.#kind === "other") return super.end(trailers);
    if (this.#exchange.request.method !== "HEAD") this.#send(frameOf([...this.#late, ...trailers]));
    super.end();
  }
  /** Each piece is padded for itself: a message does not wait for the next. */
  #send(bytes: Uint8Array): void {
    super.content(this.#isText ? Buffer.from(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64"), "latin1") : bytes);
  }
}

/** Trailers as the last frame: a byte that says so, a length, and lines. */
function frameOf(trailers: readonly (readonly [name: string, value: string])[]): Buffer {
  const text = Buffer.from(trailers.map(([name, value]) => `${name.toLowerCase()}: ${value}\r\n`).join(""), "latin1");
  const frame = Buffer.alloc(5 + text.length);
  frame[0] = 0x80;
  frame.writeUInt32BE(text.length, 1);
  text.copy(frame, 5);
  return frame;
}

const padding = 64;
const letters = new Uint8Array(256).fill(255);
for (const [i, letter] of [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="].entries()) letters[letter.charCodeAt(0)] = i;

/**
 * Groups of four letters, each of which may be padded for itself. Strict: what decoders read differently could be one message to whoever
 * looks at it and another to its server. Undefined: it is none.
 */
export function fromText(text: Uint8Array): Buffer | undefined {
  if (text.length % 4 !== 0) return undefined;
  const bytes = Buffer.allocUnsafe((text.length / 4) * 3);
  let length = 0;
  for (let i = 0; i < text.length; i += 4) {
    const [a, b, c, d] = [letters[text[i]!]!, letters[text[i + 1]!]!, letters[text[i + 2]!]!, letters[text[i + 3]!]!];
    if (a >= padding || b >= padding || c > padding || d > padding || (c === padding && d !== padding)) return undefined;
    bytes[length++] = (a << 2) | (b >> 4);
    if (c === padding) {
      if ((b & 15) !== 0) return undefined;
      continue;
    }
    bytes[length++] = ((b & 15) << 4) | (c >> 2);
    if (d === padding) {
      if ((c & 3) !== 0) return undefined;
      continue;
    }
    bytes[length++] = ((c & 3) << 6) | d;
  }
  return bytes.subarray(0, length);
}
