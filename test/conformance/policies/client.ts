import { request, type RequestOptions } from "node:http";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { connect as connectTls, type ConnectionOptions, type SecureVersion } from "node:tls";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import type { Pair } from "../../../src/apiserver/certificate.ts";
import type { Answer } from "../doors/table.ts";
import type { Call } from "./table.ts";

export const ports = { web: 8080, inner: 8081, secure: 8443 };
/** Of the listener that decrypts. */
export const secureName = "secure.test";

/** What a client has beside what a line says. */
export interface Possessions {
  /** Who signed the listener's certificate. */
  authority: string;
  /** A client's certificate by its holder. */
  certificates: Record<string, Pair>;
  token(claims: string): string;
  /** Cookies of a case. */
  jar?: Map<string, string>;
}

const decoders: Record<string, (bytes: Buffer) => Buffer> = { gzip: gunzipSync, br: brotliDecompressSync, zstd: zstdDecompressSync };

/** One request by a connection of its own, so that the workers share them. Fields that are no headers say how: README.md. */
export function ask(address: string, { listener, method, path, headers }: Call, key: string, own: Possessions): Promise<Answer> {
  const began = performance.now();
  const said = new Map(headers);
  const take = (name: string): string | undefined => {
    const value = said.get(name);
    said.delete(name);
    return value;
  };
  const [token, basic, length, holder, version, proxied, keeps] = ["token", "basic", "body", "certificate", "tls", "proxied-for", "jar"].map(take);
  if (token !== undefined) said.set("authorization", `Bearer ${own.token(token)}`);
  if (basic !== undefined) said.set("authorization", `Basic ${Buffer.from(basic).toString("base64")}`);
  const jar = keeps === undefined ? undefined : own.jar;
  if (jar && jar.size > 0) said.set("cookie", [...jar].map(([name, value]) => `${name}=${value}`).join("; "));
  const secured: ConnectionOptions = { ca: own.authority, servername: secureName, ...(holder !== undefined && { cert: own.certificates[holder]!.cert, key: own.certificates[holder]!.key }), ...(version !== undefined && { minVersion: version as SecureVersion, maxVersion: version as SecureVersion }) };
  const createConnection = (): ReturnType<typeof connect> => {
    const to = { host: address, port: ports[listener] };
    if (proxied === undefined) return listener === "secure" ? connectTls({ ...to, ...secured }) : connect(to);
    const plain = connect(to);
    plain.write(`PROXY TCP4 ${proxied} 192.0.2.1 4000 80\r\n`);
    return listener === "secure" ? connectTls({ ...secured, socket: plain }) : plain;
  };
  const options: RequestOptions = { host: address, port: ports[listener], method, path, headers: { ...(listener === "secure" && { host: secureName }), "x-key": key, ...(length !== undefined && { "content-length": length, "content-type": "text/plain" }), ...Object.fromEntries(said) }, createConnection };
  return new Promise((resolve) => {
    const fail = (error: Error & { code?: string }): void => resolve({ error: error.code ?? String(error), ms: performance.now() - began });
    const asked = request(options, (response) => {
      for (const line of response.headers["set-cookie"] ?? []) jar?.set(line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1).split(";")[0]!);
      buffer(response).then((bytes) => {
        const decode = decoders[response.headers["content-encoding"] ?? ""];
        const text = (decode && bytes.length > 0 ? decode(bytes) : bytes).toString();
        resolve({ status: response.statusCode!, headers: response.headers as Record<string, string>, text, ms: performance.now() - began });
      }, fail);
    });
    asked.on("error", fail).end(length === undefined ? undefined : "x".repeat(Number(length)));
  });
}
