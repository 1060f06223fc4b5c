import { readFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { hasOracle, startEtcd, startOracle } from "../test/conformance/differential/oracle.ts";
import { withWherry } from "./fixture.ts";
import { cpuSeconds, family, median, print, pssMb } from "./measure.ts";

/**
 * The API beside kube-apiserver 1.35 on etcd 3.6, and beside etcd alone: one client (this process, HTTP/2), the same
 * objects, every acknowledged write on the disk. The servers take turns, so that a slow minute of the machine meets all.
 */
const objects = Number(process.env["OBJECTS"] ?? 10_000);
const concurrency = 16;
const rounds = 3;
const perRound = 600;
const watchers = 1_000;
const path = "/api/v1/namespaces/default/configmaps";
const padding = "x".repeat(2_000);

interface Peer {
  name: string;
  session: ClientHttp2Session;
  open(): ClientHttp2Session;
  headers: Record<string, string>;
  pids(): number[];
  startMs: number | undefined;
}
type Figures = Map<string, { perSecond: number[]; p50: number[]; p99: number[] }>;

export async function run(): Promise<void> {
  if (!hasOracle()) return void process.stdout.write("the peers are not built: node tools/build-oracle.mjs (needs Go; minutes)\n");
  await withWherry(async (wherry) => {
    await using oracle = await startOracle();
    await using etcd = await startEtcd();
    const config = readFileSync(wherry.kubeconfig, "utf8");
    const part = (name: string) => Buffer.from(new RegExp(`${name}"?:\\s*"?([A-Za-z0-9+/=]+)`).exec(config)![1]!, "base64");
    const ours = () => connect(wherry.apiUrl, { ca: part("certificate-authority-data"), cert: part("client-certificate-data"), key: part("client-key-data") });
    const theirs = () => connect(oracle.url, { ca: readFileSync(oracle.certificate) });
    const api = wherry.processes().api!;
    const peers: Peer[] = [
      { name: "wherry-api", session: ours(), open: ours, headers: {}, pids: () => [api], startMs: undefined },
      { name: "kube-apiserver + etcd", session: theirs(), open: theirs, headers: { authorization: "Bearer oracle" }, pids: () => Object.values(oracle.processes).flatMap(family), startMs: oracle.startMs },
    ];
    const alone = connect(etcd.url);
    try {
      await raw(peers[1]!, "POST", "/api/v1/namespaces", { metadata: { name: "default" } }).catch(() => {}); // it makes the namespace itself, a moment later
      const before = peers.map((peer) => cpuSeconds(peer.pids()));
      const figures = peers.map((): Figures => new Map());
      const puts: Figures = new Map();
      let made = 0;
      for (let round = 0; round < rounds; round++) {
        const names = Array.from({ length: perRound }, (_, index) => `bench-${round}-${index}`);
        const map = (name: string, value: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels: { app: "bench" } }, data: { padding, value } });
        for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
          const peer = peers[index]!;
          const measured = figures[index]!;
          await burst(measured, "create", names, (name) => raw(peer, "POST", path, map(name, "1")));
          await burst(measured, "get", names, (name) => raw(peer, "GET", `${path}/${name}`));
          await burst(measured, "update", names, (name) => raw(peer, "PUT", `${path}/${name}`, map(name, "2")));
          await burst(measured, "merge patch", names, (name) => raw(peer, "PATCH", `${path}/${name}`, { data: { value: "3" } }, "application/merge-patch+json"));
          await burst(measured, "apply (server-side)", names, (name) => raw(peer, "PATCH", `${path}/${name}?fieldManager=bench&force=true`, map(name, "4"), "application/apply-patch+yaml"));
        }
        await burst(puts, "create", names, (name) => etcdPut(alone, name, JSON.stringify(map(name, "1"))));
        made += perRound;
      }
      for (; made < objects; made += perRound) for (const peer of peers) await burst(new Map(), "fill", Array.from({ length: Math.min(perRound, objects - made) }, (_, index) => `fill-${made + index}`), (name) => raw(peer, "POST", path, { metadata: { name }, data: { padding } }));
      for (let round = 0; round < 5; round++) for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) await burst(figures[index]!, `list ${objects}`, [path], (target) => raw(peers[index]!, "GET", target));
      for (const [index, peer] of peers.entries()) await fanOut(peer, figures[index]!);
      const busy = peers.map((peer, index) => cpuSeconds(peer.pids()) - before[index]!);
      const memory = peers.map((peer) => pssMb(peer.pids()));

      const rows: string[][] = [];
      for (const [what, mine] of figures[0]!) {
        const other = figures[1]!.get(what)!;
        const cell = (values: number[], digits = 0) => median(values).toFixed(digits);
        rows.push([what, cell(mine.perSecond), cell(other.perSecond), `${(median(mine.perSecond) / median(other.perSecond)).toFixed(1)}×`, `${cell(mine.p50, 1)} / ${cell(mine.p99, 1)}`, `${cell(other.p50, 1)} / ${cell(other.p99, 1)}`]);
      }
      const create = figures[0]!.get("create")!;
      const put = puts.get("create")!;
      rows.push(["create, against a put of etcd alone", median(create.perSecond).toFixed(0), median(put.perSecond).toFixed(0), `${(median(create.perSecond) / median(put.perSecond)).toFixed(1)}×`, "", ""]);
      rows.push(["CPU of all this, s", busy[0]!.toFixed(1), busy[1]!.toFixed(1), `${(busy[0]! / busy[1]!).toFixed(2)}×`, "", ""]);
      rows.push([`memory with ${objects} objects, MB PSS`, memory[0]!.toFixed(0), memory[1]!.toFixed(0), `${(memory[0]! / memory[1]!).toFixed(2)}×`, "", ""]);
      rows.push(["start → ready, ms (ours: npm run bench -- start)", "", oracle.startMs.toFixed(0), "", "", ""]);
      print([`per second, ${concurrency} at a time`, "wherry-api", "kube-apiserver + etcd", "ratio", "p50 / p99 ms", "theirs"], rows);
    } finally {
      for (const peer of peers) peer.session.destroy();
      alone.destroy();
    }
  });
}

/** All of `items`, `concurrency` at a time. */
async function burst<T>(figures: Figures, what: string, items: readonly T[], one: (item: T) => Promise<unknown>): Promise<void> {
  const times: number[] = [];
  const queue = items.values();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: Math.min(concurrency, items.length) }, async () => {
      for (const item of queue) {
        const start = performance.now();
        await one(item);
        times.push(performance.now() - start);
      }
    }),
  );
  record(figures, what, items.length / ((performance.now() - began) / 1000), times);
}

function record(figures: Figures, what: string, perSecond: number, times: number[]): void {
  const of = figures.get(what) ?? { perSecond: [], p50: [], p99: [] };
  figures.set(what, of);
  const sorted = times.sort((a, b) => a - b);
  of.perSecond.push(perSecond);
  of.p50.push(median(sorted));
  of.p99.push(sorted[Math.floor(sorted.length * 0.99)]!);
}

/** One create, seen by all watchers, over and over. */
async function fanOut(peer: Peer, figures: Figures): Promise<void> {
  const sessions = Array.from({ length: 20 }, () => peer.open());
  try {
    const { metadata } = JSON.parse(await raw(peer, "GET", `${path}?limit=1`)) as { metadata: { resourceVersion: string } };
    let arrived = 0;
    let all = () => {};
    await Promise.all(
      Array.from({ length: watchers }, (_, index) => {
        const stream = sessions[index % sessions.length]!.request({ ":path": `${path}?watch=true&resourceVersion=${metadata.resourceVersion}`, ...peer.headers });
        stream.on("data", (piece: Buffer) => piece.at(-1) === 10 && ++arrived === watchers && all());
        return new Promise<void>((resolve, reject) => stream.once("error", reject).once("response", (headers) => (headers[":status"] === 200 ? resolve() : reject(new Error(`watch: ${headers[":status"]}`)))));
      }),
    );
    for (let round = 0; round < 7; round++) {
      arrived = 0;
      const received = new Promise<void>((resolve) => (all = resolve));
      const began = performance.now();
      await raw(peer, "POST", path, { metadata: { name: `watched-${round}` }, data: { padding } });
      await received;
      record(figures, `create → ${watchers} watchers`, 1000 / (performance.now() - began), [performance.now() - began]);
    }
  } finally {
    for (const session of sessions) session.destroy();
  }
}

function raw(peer: Peer, method: string, target: string, body?: object, contentType = "application/json"): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = peer.session.request({ ":method": method, ":path": target, ...peer.headers, ...(body && { "content-type": contentType }) });
    const pieces: Buffer[] = [];
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"]!)).on("data", (piece: Buffer) => pieces.push(piece)).on("error", reject);
    stream.on("end", () => (status < 300 ? resolve(Buffer.concat(pieces).toString()) : reject(new Error(`${peer.name}: ${method} ${target}: ${status} ${Buffer.concat(pieces).toString().slice(0, 300)}`))));
    stream.end(body && JSON.stringify(body));
  });
}

/** `etcdserverpb.KV/Put` over gRPC, by hand: key is field 1, value field 2. */
function etcdPut(session: ClientHttp2Session, key: string, value: string): Promise<void> {
  const field = (number: number, text: string) => {
    const bytes = Buffer.from(text);
    const length: number[] = [];
    for (let rest = bytes.length; ; rest >>= 7) {
      length.push(rest > 127 ? (rest & 127) | 128 : rest);
      if (rest <= 127) break;
    }
    return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes]);
  };
  const message = Buffer.concat([field(1, key), field(2, value)]);
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": "POST", ":path": "/etcdserverpb.KV/Put", "content-type": "application/grpc", te: "trailers" });
    let status = "";
    stream.on("trailers", (trailers) => (status = String(trailers["grpc-status"]))).on("error", reject);
    stream.on("data", () => {}).on("end", () => (status === "0" ? resolve() : reject(new Error(`etcd: grpc-status ${status}`))));
    stream.end(Buffer.concat([frame, message]));
  });
}
