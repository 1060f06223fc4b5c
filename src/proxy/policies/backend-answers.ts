import type { HeaderChange, HttpFilter, PathChange } from "../../api/traffic.ts";
import type { CompressFilter, OverrideFilter } from "../../api/traffic-answers.ts";
import type { Refusal } from "./effect.ts";
import { bytesOf, stringMatch, type StringMatch } from "./fields.ts";
import type { References } from "./references.ts";

interface Compressor {
  type: string;
  minContentLength?: string | number;
}
export interface CustomBody {
  type?: string;
  inline?: string;
  valueRef?: { group: string; kind: string; name: string };
}
interface BandwidthLimit {
  response?: { limit: { value: string | number; unit: string } };
}
interface ResponseOverride {
  match: { statusCodes: { type?: string; value?: number; range?: { start: number; end: number } }[]; responseHeaders?: { name: string; value?: StringMatch }[] };
  source?: string;
  response?: { contentType?: string; body?: CustomBody; statusCode?: number; header?: HeaderChange };
  redirect?: { scheme?: string; hostname?: string; port?: number; path?: { type: string; replaceFullPath?: string; replacePrefixMatch?: string }; statusCode?: number };
}

/** What a BackendTrafficPolicy says of bodies and answers. */
export function answerFilters(spec: object, references: References, refused: Refusal[]): HttpFilter[] {
  const { compression, compressor, responseOverride, requestBuffer, bandwidthLimit, httpUpgrade } = spec as { bandwidthLimit?: BandwidthLimit; httpUpgrade?: { type: string }[]; compression?: Compressor[]; compressor?: Compressor[]; responseOverride?: ResponseOverride[]; requestBuffer?: { limit: string | number } };
  const encodings = (compressor ?? compression ?? []).flatMap((entry, i) => encodingOf(entry, `${compressor ? "compressor" : "compression"}[${i}]`, refused));
  const rules = (responseOverride ?? []).map((override, i) => ruleOf(override, `responseOverride[${i}]`, references, refused));
  const protocols = (httpUpgrade ?? []).map(({ type }) => type.toLowerCase());
  for (const [i, type] of protocols.entries()) if (type === "connect") refused.push({ field: `httpUpgrade[${i}].type`, why: "CONNECT is not honoured: nobody is let through by that method; a TCPRoute carries bytes that nobody reads" });
  const answerBytes = bandwidthLimit?.response && bytesOf(bandwidthLimit.response.limit.value) / (seconds[bandwidthLimit.response.limit.unit] ?? 1);
  if (answerBytes !== undefined && !(answerBytes > 0)) refused.push({ field: "bandwidthLimit.response.limit.value", why: "must be greater than 0" });
  return [
    ...(httpUpgrade && protocols.every((type) => type !== "connect") ? [{ type: "upgrades" as const, protocols }] : []),
    ...(answerBytes !== undefined && answerBytes > 0 ? [{ type: "bandwidth" as const, answerBytesPerSecond: answerBytes }] : []),
    ...(encodings.length > 0 ? [{ type: "compress" as const, encodings }] : []),
    ...(rules.length > 0 ? [{ type: "override" as const, rules }] : []),
    ...(requestBuffer ? [{ type: "requestBuffer" as const, bytes: bytesOf(requestBuffer.limit) }] : []),
  ];
}

const seconds: Record<string, number> = { Second: 1, Minute: 60, Hour: 3600 };
const encodingNames: Record<string, CompressFilter["encodings"][number]["name"]> = { Gzip: "gzip", Brotli: "br", Zstd: "zstd" };
/** Envoy's. */
const shortest = 30;
function encodingOf({ type, minContentLength = shortest }: Compressor, field: string, refused: Refusal[]): CompressFilter["encodings"] {
  const name = encodingNames[type];
  if (name) return [{ name, minBytes: bytesOf(minContentLength) }];
  refused.push({ field: `${field}.type`, why: `${type} is not honoured; supported values: ${Object.keys(encodingNames).join(", ")}` });
  return [];
}

function ruleOf({ match, source, response = {}, redirect }: ResponseOverride, field: string, references: References, refused: Refusal[]): OverrideFilter["rules"][number] {
  const { contentType, body, statusCode, header } = response;
  const text = body && customBody(body, `${field}.response.body`, references, refused);
  if (header) refuseCommands(header, `${field}.response.header`, refused);
  return {
    statuses: match.statusCodes.map(({ value, range }) => (range ? { from: range.start, to: range.end } : { from: value ?? 0, to: value ?? 0 })),
    ...(match.responseHeaders && { headers: match.responseHeaders.map(({ name, value }) => ({ name, value: value ? stringMatch(value) : { type: "prefix" as const, value: "" } })) }),
    ...(source === "Local" && { source: "local" as const }),
    ...(source === "Backend" && { source: "upstream" as const }),
    ...(statusCode !== undefined && { status: statusCode }),
    ...(text !== undefined && { body: text }),
    ...(contentType !== undefined && { contentType }),
    ...(header && { change: header }),
    ...(redirect && { redirect: redirectOf(redirect) }),
  };
}

function redirectOf({ path, statusCode = 302, ...rest }: NonNullable<ResponseOverride["redirect"]>): NonNullable<OverrideFilter["rules"][number]["redirect"]> {
  const change: PathChange | undefined = path && (path.type === "ReplaceFullPath" ? { type: "full", value: path.replaceFullPath ?? "" } : { type: "prefix", value: path.replacePrefixMatch ?? "" });
  return { ...rest, ...(change && { path: change }), status: statusCode };
}

/** Inline, or `response.body` of a ConfigMap, or what it has else. */
export function customBody({ type, inline, valueRef }: CustomBody, field: string, references: References, refused: Refusal[]): string | undefined {
  let text = inline;
  if (type === "ValueRef" || (type === undefined && valueRef)) {
    const refuse = (why: string): void => void refused.push({ field: `${field}.valueRef`, why });
    if (!valueRef || valueRef.group !== "" || valueRef.kind !== "ConfigMap") return void refuse("must name a ConfigMap");
    const map = references.configMap(valueRef.name, refuse);
    if (!map) return undefined;
    text = map.data?.["response.body"] ?? Object.values(map.data ?? {})[0];
    if (text === undefined) return void refuse(`names ConfigMap ${references.namespace}/${valueRef.name}, which holds nothing`);
  }
  if (text !== undefined && isCommand(text)) refused.push({ field, why: "has a command of Envoy's between percent signs, which is not honoured" });
  return text;
}

/** Envoy puts what it knows of a request between percent signs. */
export const isCommand = (text: string): boolean => /%[A-Z][A-Z_]+(?:\(|%)/.test(text);
export function refuseCommands({ set = [], add = [] }: HeaderChange, field: string, refused: Refusal[]): void {
  for (const [list, entries] of [["set", set], ["add", add]] as const) for (const [i, { value }] of entries.entries()) if (isCommand(value)) refused.push({ field: `${field}.${list}[${i}].value`, why: "has a command of Envoy's between percent signs, which is not honoured" });
}
