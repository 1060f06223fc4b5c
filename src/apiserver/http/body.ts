import { duplicateFields } from "../../api/duplicate-fields.ts";
import { jsonError } from "../../api/json-error.ts";
import { decodeProtobuf, isProtobuf } from "../../api/protobuf.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { badRequestError, requestTooLargeError, StatusError } from "../../api/status.ts";
import { Http2Request } from "../../base/http2/messages.ts";
import { limits } from "../../base/limits.ts";
import type { Request } from "./exchange.ts";

export interface Body {
  value: unknown;
  /** `duplicate field "spec.x"`, when the text was JSON and it was asked for. */
  duplicates: readonly string[];
}

/** Told what a request brought, where somebody records it. */
export const bodyTap = Symbol("body tap");

/** By events: an iterator over the request costs more than the reading. Rejects when there is too much, or the client goes before the end. */
export function readBody(request: Request): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const fail = (error: Error) => {
      request.off("data", take);
      reject(error);
    };
    const tooLarge = () => requestTooLargeError(`Request entity too large: limit is ${limits.apiBodyBytesMax}`);
    const take = (chunk: Buffer) => {
      length += chunk.length;
      if (length > limits.apiBodyBytesMax) return fail(tooLarge());
      chunks.push(chunk);
    };
    if (Number(request.headers["content-length"] ?? 0) > limits.apiBodyBytesMax) return reject(tooLarge());
    const whole = (request as unknown) instanceof Http2Request ? (request as unknown as Http2Request).takeWhole() : undefined;
    if (whole) {
      if (whole.length > limits.apiBodyBytesMax) return reject(tooLarge());
      (request as { [bodyTap]?: (bytes: Buffer) => void })[bodyTap]?.(whole);
      return resolve(whole);
    }
    if (request.destroyed) return reject(new Error("the client went before its request was read"));
    request.on("data", take);
    request.once("error", fail);
    request.once("close", () => fail(new Error("the client went before its request was whole")));
    request.once("end", () => {
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
      (request as { [bodyTap]?: (bytes: Buffer) => void })[bodyTap]?.(body);
      resolve(body);
    });
  });
}

const media = (request: Request): string => String(request.headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase();

/** curl says of a body that it is a form. */
const objectMedia = new Set(["", "application/json", "application/yaml", "application/x-yaml", "application/x-www-form-urlencoded"]);

/** An object: JSON (also by default), YAML, or the protobuf that typed Go clients send. */
export async function readObject(request: Request, registry: KindRegistry, withDuplicates: boolean, kind: string): Promise<Body> {
  const type = media(request);
  const bytes = await readBody(request);
  if (type === "application/vnd.kubernetes.protobuf" || isProtobuf(bytes)) return { value: decodeProtobuf(bytes, registry), duplicates: [] };
  if (type === "application/yaml" || type === "application/x-yaml") return { value: await parseYamlBody(bytes), duplicates: [] };
  if (!objectMedia.has(type)) throw unsupportedMedia("application/json, application/yaml, application/vnd.kubernetes.protobuf");
  const text = bytes.toString("utf8");
  return { value: parseJson(bytes, text, kind), duplicates: withDuplicates ? duplicateFields(text) : [] };
}

/** DeleteOptions and the like, where no body at all is fine. */
export async function readOptional(request: Request, registry: KindRegistry): Promise<Record<string, unknown>> {
  const bytes = await readBody(request);
  if (bytes.length === 0) return {};
  if (isProtobuf(bytes)) return decodeProtobuf(bytes, registry);
  const type = media(request);
  if (!objectMedia.has(type)) throw unsupportedMedia("application/json, application/yaml, application/vnd.kubernetes.protobuf");
  return type === "application/yaml" ? ((await parseYamlBody(bytes)) as Record<string, unknown>) : (parseJson(bytes, bytes.toString("utf8"), "DeleteOptions") as Record<string, unknown>);
}

/** `kind` is what should have come. */
function parseJson(bytes: Buffer, text: string, kind: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw badRequestError(`the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${jsonError(text)} (${summary(bytes)})`);
  }
}

export function parsePatch(bytes: Buffer, type: string): unknown {
  const text = bytes.toString("utf8");
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw badRequestError(`${type === "strategic" ? "" : "error decoding patch: "}${jsonError(text)}`);
  }
}

/** The beginning of a body, as upstream shows it: what is no object, in hexadecimal digits. */
function summary(bytes: Buffer, maximum = 30): string {
  if (bytes.length === 0) return "<empty>";
  const begin = bytes.subarray(0, maximum);
  return (bytes[0] === 0x7b ? begin.toString("utf8") : begin.toString("hex")) + (bytes.length > maximum ? " ..." : "");
}

async function parseYamlBody(bytes: Buffer): Promise<unknown> {
  const { parseYaml } = await import("../../api/yaml.ts");
  try {
    return parseYaml(bytes.toString("utf8"))[0];
  } catch (error) {
    throw badRequestError(`error converting YAML to JSON: ${(error as Error).message}`);
  }
}

export const unsupportedMedia = (accepted: string): StatusError => new StatusError(415, "UnsupportedMediaType", `the body of the request was in an unknown format - accepted media types include: ${accepted}`);
