import { type ClientHttp2Session, connect } from "node:http2";
import { startEtcd } from "../test/conformance/differential/oracle.ts";
import { openWatches } from "./http2-watch.ts";
import { cpuSeconds, family, median, print, pssMb } from "./measure.ts";
import { burst, concurrency, configMap, type Figures, padding, path, type Peer, raw, withPeers } from "./peers.ts";

/**
 * The API beside kube-apiserver 1.35 on etcd 3.6, and beside etcd alone: one client (this process, HTTP/2), the same
 * objects, every acknowledged write on the disk. The servers take turns, so that a slow minute of the machine meets all.
 */
const objects = Number(process.env["OBJECTS"] ?? 10_000);
const rounds = 5;
const perRound = 600;
const watchers = 1_000;
const watchConnections = 20;

export async function run(): Promise<void> {
  await withPeers(async (peers) => {
    await using etcd = await startEtcd();
    const alone = connect(etcd.url);
    try {
      const before = peers.map((peer) => cpuSeconds(peer.pids()));
      const figures = peers.map((): Figures => new Map());
      const puts: Figures = new Map();
      let made = 0;
      // The first round is for the compilers of both.
      for (let round = -1; round < rounds; round++) {
        const names = Array.from({ length: perRound }, (_, index) => `bench-${round + 1}-${index}`);
        const counted = (of: Figures): Figures => (round < 0 ? new Map() : of);
        for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
          const peer = peers[index]!;
          const timed = (what: string, one: (name: string) => Promise<unknown>) => burst(counted(figures[index]!), what, peer.pids(), names, one);
          await timed("create", (name) => raw(peer, "POST", path, configMap(name, "1")));
          await timed("get", (name) => raw(peer, "GET", `${path}/${name}`));
          await timed("update", (name) => raw(peer, "PUT", `${path}/${name}`, configMap(name, "2")));
          await timed("merge patch", (name) => raw(peer, "PATCH", `${path}/${name}`, { data: { value: "3" } }, "application/merge-patch+json"));
          await timed("apply (server-side)", (name) => raw(peer, "PATCH", `${path}/${name}?fieldManager=bench&force=true`, configMap(name, "4"), "application/apply-patch+yaml"));
        }
        await burst(counted(puts), "put", family(etcd.pid), names, (name) => etcdPut(alone, name, JSON.stringify(configMap(name, "1"))));
        made += perRound;
      }
      for (; made < objects; made += perRound) for (const peer of peers) await burst(new Map(), "fill", [], Array.from({ length: Math.min(perRound, objects - made) }, (_, index) => `fill-${made + index}`), (name) => raw(peer, "POST", path, { metadata: { name }, data: { padding } }));
      for (let round = 0; round < 5; round++) for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) await burst(figures[index]!, `list ${objects}`, peers[index]!.pids(), [path], (target) => raw(peers[index]!, "GET", target));
      for (let round = 0; round < 2; round++) for (const index of round === 0 ? [0, 1] : [1, 0]) await fanOut(peers[index]!, figures[index]!, round);
      const busy = peers.map((peer, index) => cpuSeconds(peer.pids()) - before[index]!);
      const memory = peers.map((peer) => pssMb(peer.pids()));
      await new Promise((resolve) => setTimeout(resolve, settleMs));
      const settled = peers.map((peer) => pssMb(peer.pids()));

      const rows: string[][] = [];
      const cell = (values: number[], digits = 0) => median(values).toFixed(digits);
      const ratio = (mine: number, other: number) => `${(mine / other).toFixed(2)}×`;
      for (const [what, mine] of figures[0]!) {
        const other = figures[1]!.get(what)!;
        rows.push([what, cell(mine.perSecond), cell(other.perSecond), ratio(median(mine.perSecond), median(other.perSecond)), `${cell(mine.p50, 1)} / ${cell(mine.p99, 1)}`, `${cell(other.p50, 1)} / ${cell(other.p99, 1)}`, cell(mine.cpu), cell(other.cpu)]);
      }
      const create = figures[0]!.get("create")!;
      const put = puts.get("put")!;
      rows.push(["create, against a put of etcd alone", cell(create.perSecond), cell(put.perSecond), ratio(median(create.perSecond), median(put.perSecond)), "", `${cell(put.p50, 1)} / ${cell(put.p99, 1)}`, cell(create.cpu), cell(put.cpu)]);
      rows.push(["CPU of all this, s", busy[0]!.toFixed(1), busy[1]!.toFixed(1), ratio(busy[0]!, busy[1]!), "", "", "", ""]);
      rows.push([`memory with ${objects} objects, MB PSS`, memory[0]!.toFixed(0), memory[1]!.toFixed(0), ratio(memory[0]!, memory[1]!), "", "", "", ""]);
      rows.push([`the same, ${settleMs / 1000} s later`, settled[0]!.toFixed(0), settled[1]!.toFixed(0), ratio(settled[0]!, settled[1]!), "", "", "", ""]);
      rows.push(["start → ready, ms (ours: npm run bench -- start)", "", peers[1].startMs!.toFixed(0), "", "", "", "", ""]);
      print([`per second, ${concurrency} at a time`, "wherry-api", "kube-apiserver + etcd", "ratio", "p50 / p99 ms", "theirs", "CPU µs a call", "theirs"], rows);
    } finally {
      alone.destroy();
    }
  });
}

/** How long nothing is asked before memory is looked at again. */
const settleMs = 15_000;

/** One create, seen by all watchers, over and over; the first few are for the compilers. */
async function fanOut(peer: Peer, figures: Figures, round: number): Promise<void> {
  const { metadata } = JSON.parse(await raw(peer, "GET", `${path}?limit=1`)) as { metadata: { resourceVersion: string } };
  let arrived = 0;
  let all = () => {};
  const target = `${path}?watch=true&resourceVersion=${metadata.resourceVersion}`;
  const connections = await Promise.all(Array.from({ length: watchConnections }, () => openWatches(peer.url, peer.tls, target, peer.headers, watchers / watchConnections, () => ++arrived === watchers && all())));
  try {
    const change = async (name: string) => {
      arrived = 0;
      const received = new Promise<void>((resolve) => (all = resolve));
      await raw(peer, "POST", path, { metadata: { name }, data: { padding } });
      await received;
    };
    for (let index = 0; index < 5; index++) await change(`warm-${round}-${index}`);
    for (let index = 0; index < 15; index++) await burst(figures, `create → ${watchers} watchers`, peer.pids(), [`watched-${round}-${index}`], change);
  } finally {
    for (const connection of connections) connection.close();
  }
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
