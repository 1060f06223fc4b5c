import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import type { ConnectionOptions } from "node:tls";
import { hasOracle, startOracle } from "../test/conformance/differential/oracle.ts";
import { withWherry } from "./fixture.ts";
import { cpuSeconds, family, median } from "./measure.ts";

/** Two API servers that are asked the same by the same client, over TLS and HTTP/2. */
export interface Peer {
  name: string;
  url: string;
  tls: ConnectionOptions;
  session: ClientHttp2Session;
  headers: Record<string, string>;
  pids(): number[];
  startMs: number | undefined;
}

/** Of each round: calls a second, times in ms, and the servers' processor time a call in µs. */
export type Figures = Map<string, { perSecond: number[]; p50: number[]; p99: number[]; cpu: number[] }>;

export const path = "/api/v1/namespaces/default/configmaps";
export const padding = "x".repeat(2_000);
export const configMap = (name: string, value: string): object => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { app: "bench" } }, data: { padding, value } });
export const concurrency = 16;

/** Ours first, then kube-apiserver 1.35 on etcd 3.6. Says so, and does nothing, where the peers are not built. */
export async function withPeers(use: (peers: readonly [Peer, Peer]) => Promise<void>): Promise<void> {
  if (!hasOracle()) return void process.stdout.write("the peers are not built: node tools/build-oracle.mjs (needs Go; minutes)\n");
  await withWherry(async (wherry) => {
    await using oracle = await startOracle();
    const config = readFileSync(wherry.kubeconfig, "utf8");
    const part = (name: string) => Buffer.from(new RegExp(`${name}"?:\\s*"?([A-Za-z0-9+/=]+)`).exec(config)![1]!, "base64");
    const api = wherry.processes().api!;
    const peer = (name: string, url: string, tls: ConnectionOptions, headers: Record<string, string>, pids: () => number[], startMs?: number): Peer => ({ name, url, tls, session: connect(url, tls), headers, pids, startMs });
    const peers = [
      peer("wherry-api", wherry.apiUrl, { ca: part("certificate-authority-data"), cert: part("client-certificate-data"), key: part("client-key-data") }, {}, () => [api]),
      peer("kube-apiserver + etcd", oracle.url, { ca: readFileSync(oracle.certificate) }, { authorization: "Bearer oracle" }, () => Object.values(oracle.processes).flatMap(family), oracle.startMs),
    ] as const;
    try {
      await raw(peers[1], "POST", "/api/v1/namespaces", { metadata: { name: "default" } }).catch(() => {}); // it makes the namespace itself, a moment later
      await use(peers);
    } finally {
      for (const { session } of peers) session.destroy();
    }
  });
}

/** All of `items`, so many at a time. */
export async function burst<T>(figures: Figures, what: string, pids: readonly number[], items: readonly T[], one: (item: T) => Promise<unknown>, atOnce = concurrency): Promise<void> {
  const times: number[] = [];
  const queue = items.values();
  const busy = cpuSeconds(pids);
  const began = performance.now();
  await Promise.all(
    Array.from({ length: Math.min(atOnce, items.length) }, async () => {
      for (const item of queue) {
        const start = performance.now();
        await one(item);
        times.push(performance.now() - start);
      }
    }),
  );
  const seconds = (performance.now() - began) / 1000;
  const of = figures.get(what) ?? { perSecond: [], p50: [], p99: [], cpu: [] };
  figures.set(what, of);
  const sorted = times.sort((a, b) => a - b);
  of.perSecond.push(items.length / seconds);
  of.p50.push(median(sorted));
  of.p99.push(sorted[Math.floor(sorted.length * 0.99)]!);
  of.cpu.push(((cpuSeconds(pids) - busy) / items.length) * 1e6);
}

export function raw(peer: Peer, method: string, target: string, body?: object, contentType = "application/json"): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = peer.session.request({ ":method": method, ":path": target, ...peer.headers, ...(body && { "content-type": contentType }) });
    const pieces: Buffer[] = [];
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"]!)).on("data", (piece: Buffer) => pieces.push(piece)).on("error", reject);
    stream.on("end", () => (status < 300 ? resolve(Buffer.concat(pieces).toString()) : reject(new Error(`${peer.name}: ${method} ${target}: ${status} ${Buffer.concat(pieces).toString().slice(0, 300)}`))));
    stream.end(body && JSON.stringify(body));
  });
}
