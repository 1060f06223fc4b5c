import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { join } from "node:path";
import { withWherry } from "./fixture.ts";
import { median, print } from "./measure.ts";

const calls = 300;
const objects = 5_000;
const watchers = 1_000;
const path = "/api/v1/namespaces/default/configmaps";
const padding = "x".repeat(2_000);

/**
 * Create, get, list and watch over TLS and HTTP/2, the server in its own process, beside what this disk asks for
 * 2 KB and fdatasync. Client and server share the machine's cores.
 */
export async function run(): Promise<void> {
  await withWherry(async (wherry, folder) => {
    const config = readFileSync(wherry.kubeconfig, "utf8");
    const part = (name: string) => Buffer.from(new RegExp(`${name}"?:\\s*"?([A-Za-z0-9+/=]+)`).exec(config)![1]!, "base64");
    const open = () => connect(wherry.apiUrl, { ca: part("certificate-authority-data"), cert: part("client-certificate-data"), key: part("client-key-data") });
    const session = open();
    const sessions = Array.from({ length: 10 }, open);
    try {
      const create = (name: string) => call(session, "POST", path, JSON.stringify({ metadata: { name }, data: { padding } }));
      const disk = openSync(join(folder, "disk"), "a");
      const [sync, writes, reads, lists]: [number[], number[], number[], number[]] = [[], [], [], []];
      for (let index = 0; index < calls; index++) {
        sync.push(await timed(async () => (writeSync(disk, padding), fdatasyncSync(disk))));
        writes.push(await timed(() => create(`bench-${index}`)));
        reads.push(await timed(() => call(session, "GET", `${path}/bench-${index}`)));
      }
      closeSync(disk);
      for (let index = calls; index < objects; index += 50) await Promise.all(Array.from({ length: 50 }, (_, next) => create(`bench-${index + next}`)));
      let bytes = 0;
      for (let round = 0; round < 7; round++) lists.push(await timed(async () => (bytes = await call(session, "GET", path))));

      const { metadata } = JSON.parse(await text(session, `${path}?limit=1`)) as { metadata: { resourceVersion: string } };
      let arrived = 0;
      let all = () => {};
      await Promise.all(
        Array.from({ length: watchers }, (_, index) => {
          const stream = sessions[index % sessions.length]!.request({ ":path": `${path}?watch=true&resourceVersion=${metadata.resourceVersion}` });
          // One event is one line; a line may come in several pieces.
          stream.on("data", (piece: Buffer) => piece.at(-1) === 10 && ++arrived === watchers && all());
          return new Promise<void>((resolve, reject) => stream.once("error", reject).once("response", (headers) => (headers[":status"] === 200 ? resolve() : reject(new Error(`watch: ${headers[":status"]}`)))));
        }),
      );
      const fanOut: number[] = [];
      for (let round = 0; round < 9; round++) {
        arrived = 0;
        const received = new Promise<void>((resolve) => (all = resolve));
        fanOut.push(await timed(async () => (await create(`watched-${round}`), await received)));
      }
      const floor = median(sync);
      const row = (name: string, values: number[]) => [name, median(values).toFixed(2), [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)]!.toFixed(2), (median(values) / floor).toFixed(1)];
      print(["TLS, HTTP/2", "p50 ms", "p99 ms", "p50 / fdatasync"], [
        row("2 KB and fdatasync", sync),
        row("create", writes),
        row("get", reads),
        row(`list ${objects} (${(bytes / 1e6).toFixed(1)} MB)`, lists),
        row(`create → seen by all of ${watchers} watchers`, fanOut),
      ]);
    } finally {
      for (const each of [session, ...sessions]) each.destroy();
    }
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function text(session: ClientHttp2Session, target: string, method = "GET", body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": method, ":path": target, ...(body && { "content-type": "application/json" }) });
    const pieces: Buffer[] = [];
    let status = 0;
    stream.on("response", (headers) => (status = headers[":status"]!)).on("data", (piece: Buffer) => pieces.push(piece)).on("error", reject);
    stream.on("end", () => (status < 300 ? resolve(Buffer.concat(pieces).toString()) : reject(new Error(`${method} ${target}: ${status}`))));
    stream.end(body);
  });
}

const call = async (session: ClientHttp2Session, method: string, target: string, body?: string): Promise<number> => (await text(session, target, method, body)).length;
