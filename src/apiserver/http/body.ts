import { duplicateFields } from "../../api/duplicate-fields.ts";
import { jsonError } from "../../api/json-error.ts";
import { decodeProtobuf, isProtobuf } from "../../api/protobuf.ts";
import type { KindRegistry } from "../../api/registry.ts";
import { badRequestError, requestTooLargeError, StatusError } from "../../api/status.ts";
import { limits } from "../../base/limits.ts";
import type { Request } from "./exchange.ts";

export interface Body {
  value: unknown;
  /** `duplicate field "spec.x"`, when the text was JSON and it was asked for. */
  duplicates: readonly string[];
}

/** Told what a request brought, where somebody records it. */
export const bodyTap = Symbol("body tap");

export async function readBody(request: Request): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const declared = Number(request.headers["content-length"] ?? 0);
  const tooLarge = () => requestTooLargeError(`Request entity too large: limit is ${limits.apiBodyBytesMax}`);
  if (declared > limits.apiBodyBytesMax) throw tooLarge();
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limits.apiBodyBytesMax) throw tooLarge();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  (request as { [bodyTap]?: (bytes: Buffer) => void })[bodyTap]?.(body);
  return body;
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
  return { value: parseJson(bytes, kind), duplicates: withDuplicates ? duplicateFields(bytes.toString("utf8")) : [] };
}

/** DeleteOptions and the like, where no body at all is fine. */
export async function readOptional(request: Request, registry: KindRegistry): Promise<Record<string, unknown>> {
  const bytes = await readBody(request);
  if (bytes.length === 0) return {};
  if (isProtobuf(bytes)) return decodeProtobuf(bytes, registry);
  const type = media(request);
  if (!objectMedia.has(type)) throw unsupportedMedia("application/json, application/yaml, application/vnd.kubernetes.protobuf");
  return type === "application/yaml" ? ((await parseYamlBody(bytes)) as Record<string, unknown>) : (parseJson(bytes) as Record<string, unknown>);
}

/** `kind` is what should have come. */
function parseJson(bytes: Buffer, kind = "DeleteOptions"): unknown {
  const text = bytes.toString("utf8");
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
