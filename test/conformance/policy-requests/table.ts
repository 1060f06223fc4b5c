import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { KubeObject } from "../../../src/api/meta.ts";
import { load } from "js-yaml";

/** A world, and what is asked in it: see README.md for how one is written. */
export interface Case {
  file: string;
  title: string;
  namespace: string;
  objects: KubeObject[];
  /** Bodies of answers that nobody behind the gateway gave are compared too. */
  texts: boolean;
  calls: Call[];
}
export interface Call {
  /** "FILE:LINE: the line" */
  at: string;
  bytes: Buffer;
  times: number;
  /** Differences that are known: the whole line, and the reason's name. */
  known: { line: string; reason: string }[];
}

interface Short {
  security?: object;
  backend?: object;
  client?: object;
  gatewaySecurity?: object;
  gatewayBackend?: object;
  filters?: Record<string, object>;
  rules?: object[];
  hostnames?: string[];
  hostname?: string;
  secrets?: Record<string, Record<string, string>>;
  objects?: KubeObject[];
  texts?: boolean;
}

const pairs = { first: generateKeyPairSync("ec", { namedCurve: "P-256" }), second: generateKeyPairSync("rsa", { modulusLength: 2048 }), stranger: generateKeyPairSync("ec", { namedCurve: "P-256" }) };
const jwk = (name: keyof typeof pairs, alg: string): object => ({ ...pairs[name].publicKey.export({ format: "jwk" }), kid: name, alg, use: "sig" });
export const words: Record<string, string> = {
  $FIRST: JSON.stringify({ keys: [jwk("first", "ES256")] }),
  $SECOND: JSON.stringify({ keys: [jwk("second", "RS256")] }),
  $BOTH: JSON.stringify({ keys: [jwk("first", "ES256"), jwk("second", "RS256")] }),
};

const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
/** `key`, `alg`, `kid` and `signature` are said beside the claims with a dollar sign before them; `in` is seconds from now to its end. */
function token(given: Record<string, unknown>): string {
  const { $key = "first", $alg, $kid = $key, $in = 3600, $signature, $typ, ...claims } = given as Record<string, unknown> & { $key?: keyof typeof pairs; $alg?: string; $kid?: string; $in?: number; $signature?: string; $typ?: string };
  const alg = $alg ?? ($key === "second" ? "RS256" : "ES256");
  const now = Math.floor(Date.now() / 1000);
  const signed = `${encoded({ alg, ...($kid !== "" && { kid: $kid }), ...($typ !== undefined && { typ: $typ }) })}.${encoded({ iss: "https://issuer.test", ...($in !== 0 && { exp: now + $in }), ...claims, ...(typeof claims["nbf"] === "number" && { nbf: now + claims["nbf"] }) })}`;
  return `${signed}.${$signature ?? signatureOf(alg, signed, pairs[$key].privateKey).toString("base64url")}`;
}
function signatureOf(alg: string, text: string, key: KeyObject): Buffer {
  if (alg === "none") return Buffer.alloc(0);
  // The confusion of a public key with a secret that is shared.
  if (alg === "HS256") return createHmac("sha256", words["$FIRST"]!).update(text).digest();
  return key.asymmetricKeyType === "ec" ? sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" }) : sign("sha256", Buffer.from(text), key);
}
const filled = (text: string): string =>
  text.replace(/<<(.*?)>>/g, (_, inside: string) => {
    const [, count, what] = /^repeat (\d+) (.*)$/.exec(inside) ?? [];
    return count === undefined ? token(load(`{${inside}}`) as Record<string, unknown>) : what!.repeat(Number(count));
  });

export function readCases(folder: string): Case[] {
  return readdirSync(folder).filter((name) => name.endsWith(".txt")).sort().flatMap((file) => {
    const [head = "", ...blocks] = readFileSync(join(folder, file), "utf8").split(/^== /m);
    let line = head.split("\n").length;
    return blocks.map((block, i) => {
      const read = readCase(file, line, block, `${file.replace(".txt", "")}${i}`);
      line += block.split("\n").length - 1;
      return read;
    });
  });
}

function readCase(file: string, first: number, block: string, namespace: string): Case {
  const [title = "", ...lines] = block.split("\n");
  const yaml: string[] = [];
  const calls: Call[] = [];
  for (const [i, text] of lines.entries()) {
    const at = `${file}:${first + i + 1}: ${text}`;
    const last = calls.at(-1);
    if (text.startsWith(">")) calls.push(readCall(at, text));
    else if (!last) yaml.push(text);
    else if (text !== "" && !text.startsWith("#")) {
      const [, line, reason] = /^~ (.*) \(([\w-]+)\)$/.exec(text) ?? [];
      if (line === undefined) throw new Error(`${at}: not understood`);
      last.known.push({ line, reason: reason! });
    }
  }
  const source = Object.entries(words).reduce((text, [word, value]) => text.replaceAll(word, value), yaml.join("\n"));
  const short = (source.trim() === "" ? {} : load(source)) as Short;
  return { file, title, namespace, objects: objectsOf(namespace, short), texts: short.texts ?? false, calls };
}

function readCall(at: string, line: string): Call {
  const text = filled(line);
  if (text.startsWith(">> ")) return { at, bytes: Buffer.from(text.slice(3).replaceAll("\\r", "\r").replaceAll("\\n", "\n"), "latin1"), times: 1, known: [] };
  const [, times, method, version, target, given, body = ""] = /^> (?:x(\d+) )?([^ /]+)(?:\/(1\.0))? (\S+)(?: \[(.*?)\](?= |$))?(?: (.*))?$/.exec(text) ?? [];
  if (method === undefined) throw new Error(`${at}: not understood`);
  const headers = (given ?? "").split(" | ").filter(Boolean);
  const has = (name: string): boolean => headers.some((field) => field.toLowerCase().startsWith(`${name}:`));
  const content = Buffer.from(body);
  const isChunked = headers.some((field) => /^transfer-encoding: *chunked$/i.test(field));
  const lines = [
    `${method} ${target} HTTP/${version ?? "1.1"}`,
    ...(has("host") || headers.includes("-host") ? [] : ["Host: shop.example.com"]),
    ...headers.filter((field) => field !== "-host"),
    ...(content.length > 0 && !isChunked && !has("content-length") ? [`Content-Length: ${content.length}`] : []),
    ...(has("connection") ? [] : ["Connection: close"]),
  ];
  const payload = isChunked ? Buffer.concat([Buffer.from(`${content.length.toString(16)}\r\n`), content, Buffer.from("\r\n0\r\n\r\n")]) : content;
  return { at, bytes: Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), payload]), times: Number(times ?? 1), known: [] };
}

const group = "gateway.networking.k8s.io";
export const services = ["echo", "other", "auth"] as const;

function objectsOf(namespace: string, short: Short): KubeObject[] {
  const { security, backend, client, gatewaySecurity, gatewayBackend, filters = {}, rules = [{ backendRefs: [{ name: "echo", port: 80 }] }], hostnames, hostname, secrets = {}, objects = [] } = short;
  const gateway = { group, kind: "Gateway", name: "edge" };
  const route = { group, kind: "HTTPRoute", name: "shop" };
  const policy = (kind: string, name: string, target: object, spec: object | undefined): object[] => (spec ? [{ apiVersion: "gateway.envoyproxy.io/v1alpha1", kind, metadata: { name }, spec: { targetRefs: [target], ...spec } }] : []);
  const all = [
    ...services.filter((name) => JSON.stringify([rules, security, gatewaySecurity]).includes(`"${name}"`)).map((name) => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { ports: [{ port: 80 }] } })),
    ...Object.entries(secrets).map(([name, data]) => ({ apiVersion: "v1", kind: "Secret", metadata: { name }, data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")])) })),
    { apiVersion: `${group}/v1`, kind: "Gateway", metadata: { name: "edge" }, spec: { gatewayClassName: "judged", listeners: [{ name: "web", port: 80, protocol: "HTTP", ...(hostname !== undefined && { hostname }) }] } },
    { apiVersion: `${group}/v1`, kind: "HTTPRoute", metadata: { name: "shop" }, spec: { parentRefs: [{ name: "edge" }], ...(hostnames && { hostnames }), rules } },
    ...Object.entries(filters).map(([name, spec]) => ({ apiVersion: "gateway.envoyproxy.io/v1alpha1", kind: "HTTPRouteFilter", metadata: { name }, spec })),
    ...policy("SecurityPolicy", "security", route, security),
    ...policy("SecurityPolicy", "gateway-security", gateway, gatewaySecurity),
    ...policy("BackendTrafficPolicy", "backend", route, backend),
    ...policy("BackendTrafficPolicy", "gateway-backend", gateway, gatewayBackend),
    ...policy("ClientTrafficPolicy", "client", gateway, client),
    ...objects,
  ] as unknown as KubeObject[];
  return all.map((object) => ({ ...object, metadata: { ...object.metadata, namespace } }));
}
