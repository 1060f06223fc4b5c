import type { RequestView } from "../exchange.ts";
import { need, type ProtobufField, ProtobufWriter, readProtobuf, textOf } from "./protobuf.ts";

/**
 * The two messages of envoy.service.auth.v3.Authorization/Check, as far as they say something here. Sources: envoy/service/auth/v3
 * external_auth.proto and attribute_context.proto, google/rpc/status.proto.
 */
export const checkMethod = "/envoy.service.auth.v3.Authorization/Check";

/** A header that an answer wants in the request, or in the answer to the client. */
export interface HeaderOption {
  name: string;
  value: string;
  isAdded: boolean;
}

export interface CheckAnswer {
  /** google.rpc.Code; 0 lets go. */
  code: number;
  message: string;
  /** Of what is denied. */
  status: number;
  body: string;
  /** For the request when it may go, else for the answer to the client. */
  headers: HeaderOption[];
  remove: string[];
  responseHeaders: HeaderOption[];
  setQuery: [name: string, value: string][];
  removeQuery: string[];
}

export interface Check {
  request: RequestView;
  /** What of them is told, lower case. */
  headers: readonly (readonly [name: string, value: string])[];
  body: Uint8Array | undefined;
  context: Readonly<Record<string, string>>;
  /** Milliseconds since the epoch. */
  now: number;
}

/** A CheckRequest within its gRPC frame. */
export function encodeCheck({ request, headers, body, context, now }: Check): Buffer {
  const target = request.query === "" ? request.path : `${request.path}?${request.query}`;
  const joined = new Map<string, string>();
  for (const [name, value] of headers) joined.set(name, joined.has(name) ? `${joined.get(name)}${name === "cookie" ? "; " : ","}${value}` : value);
  const seconds = Math.floor(now / 1000);
  const message = new ProtobufWriter()
    .message(1, (attributes) => {
      attributes.message(1, (source) => source.message(1, (address) => address.message(1, (socket) => socket.text(2, request.client))));
      attributes.message(2, (destination) => destination.message(1, (address) => address.message(1, (socket) => socket.integer(3, request.port))));
      attributes.message(4, (asked) => {
        asked.message(1, (time) => time.integer(1, seconds).integer(2, Math.floor(now - seconds * 1000) * 1_000_000));
        asked.message(2, (http) => {
          http.text(1, request.header("x-request-id") ?? "").text(2, request.method);
          for (const [name, value] of joined) http.entry(3, name, value);
          http.text(4, target).text(5, request.host).text(6, request.scheme);
          if (body) {
            http.integer(9, body.length);
            // Texts of protocol buffers are UTF-8; what is not goes where bytes may.
            if (isUtf8(body)) http.text(11, Buffer.from(body).toString("utf8"));
            else http.bytes(12, body);
          }
          http.text(10, "HTTP/1.1");
        });
      });
      for (const [name, value] of Object.entries(context)) attributes.entry(10, name, value);
    })
    .done();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
const strict = new TextDecoder("utf-8", { fatal: true });
function isUtf8(bytes: Uint8Array): boolean {
  try {
    strict.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error where it is not one whole message, uncompressed */
export function decodeCheck(body: Buffer): CheckAnswer {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) throw new Error("its answer is not one message of gRPC");
  const answer: CheckAnswer = { code: 0, message: "", status: 403, body: "", headers: [], remove: [], responseHeaders: [], setQuery: [], removeQuery: [] };
  let denied: Buffer | undefined;
  let allowed: Buffer | undefined;
  for (const field of readProtobuf(body.subarray(5))) {
    if (field.number === 1) for (const inner of readProtobuf(need(field.bytes))) {
      if (inner.number === 1) answer.code = need(inner.bytes === undefined ? inner.integer : undefined);
      else if (inner.number === 2) answer.message = textOf(inner);
    }
    // One of the two: the last one counts, as always.
    else if (field.number === 2) [denied, allowed] = [need(field.bytes), undefined];
    else if (field.number === 3) [denied, allowed] = [undefined, need(field.bytes)];
  }
  if (answer.code === 0 && allowed) readAllowed(allowed, answer);
  else if (answer.code !== 0 && denied) readDenied(denied, answer);
  return answer;
}

function readDenied(bytes: Buffer, answer: CheckAnswer): void {
  for (const field of readProtobuf(bytes)) {
    if (field.number === 1) for (const inner of readProtobuf(need(field.bytes))) if (inner.number === 1) answer.status = inner.integer;
    if (field.number === 2) answer.headers.push(readOption(field));
    else if (field.number === 3) answer.body = textOf(field);
  }
}
function readAllowed(bytes: Buffer, answer: CheckAnswer): void {
  for (const field of readProtobuf(bytes)) {
    if (field.number === 2) answer.headers.push(readOption(field));
    else if (field.number === 5) answer.remove.push(textOf(field).toLowerCase());
    else if (field.number === 6) answer.responseHeaders.push(readOption(field));
    else if (field.number === 7) {
      const pair: [string, string] = ["", ""];
      for (const inner of readProtobuf(need(field.bytes))) if (inner.number === 1 || inner.number === 2) pair[inner.number - 1] = textOf(inner);
      answer.setQuery.push(pair);
    } else if (field.number === 8) answer.removeQuery.push(textOf(field));
  }
}

/** HeaderValueOption: what was there is overwritten unless it says that it is to be added. */
function readOption(field: ProtobufField): HeaderOption {
  const option: HeaderOption = { name: "", value: "", isAdded: false };
  for (const inner of readProtobuf(need(field.bytes))) {
    if (inner.number === 1) {
      for (const part of readProtobuf(need(inner.bytes))) {
        if (part.number === 1) option.name = textOf(part).toLowerCase();
        else if (part.number === 2) option.value = textOf(part);
        else if (part.number === 3) option.value = need(part.bytes).toString("latin1");
      }
    } else if (inner.number === 2) {
      for (const part of readProtobuf(need(inner.bytes))) if (part.number === 1) option.isAdded = part.integer !== 0;
    } else if (inner.number === 3 && (inner.integer === 1 || inner.integer === 3)) throw new Error("an append_action that is neither an addition nor an overwriting is not honoured");
  }
  return option;
}
