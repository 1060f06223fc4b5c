import { median, print, pssMb } from "./measure.ts";
import { burst, configMap, type Figures, path, raw, withPeers } from "./peers.ts";

const counts = (process.env["OBJECTS"] ?? "100,1000,10000,50000").split(",").map(Number);
const changes = 400;
const rounds = 3;

/**
 * What does a change cost when there are many objects already? Creates and updates of objects of 2 KB with 100 to 50,000
 * of them there, beside kube-apiserver on etcd, in turn; and what the processes weigh with so many.
 */
export async function run(): Promise<void> {
  await withPeers(async (peers) => {
    const rows: string[][] = [];
    let made = 0;
    // For the compilers of both.
    for (const peer of peers) {
      const names = Array.from({ length: 1_000 }, (_, index) => `warm-${index}`);
      await burst(new Map(), "warm", [], names, (name) => raw(peer, "POST", path, configMap(name, "1")));
      await burst(new Map(), "warm", [], names, (name) => raw(peer, "PUT", `${path}/${name}`, configMap(name, "2")));
      await burst(new Map(), "warm", [], names, (name) => raw(peer, "DELETE", `${path}/${name}`));
    }
    for (const count of counts) {
      const more = Array.from({ length: count - made }, (_, index) => `object-${made + index}`);
      for (const peer of peers) await burst(new Map(), "fill", [], more, (name) => raw(peer, "POST", path, configMap(name, "1")));
      made = count;
      const figures = peers.map((): Figures => new Map());
      for (let round = 0; round < rounds; round++) {
        const names = Array.from({ length: changes }, (_, index) => `change-${index}`);
        for (const index of round % 2 === 0 ? [0, 1] : [1, 0]) {
          const peer = peers[index]!;
          await burst(figures[index]!, "create", peer.pids(), names, (name) => raw(peer, "POST", path, configMap(name, "1")));
          await burst(figures[index]!, "update", peer.pids(), names, (name) => raw(peer, "PUT", `${path}/${name}`, configMap(name, "2")));
          await burst(new Map(), "delete", [], names, (name) => raw(peer, "DELETE", `${path}/${name}`));
        }
      }
      const cell = (index: number, what: string, key: "cpu" | "perSecond") => median(figures[index]!.get(what)![key]).toFixed(0);
      rows.push([String(count), ...["create", "update"].flatMap((what) => [0, 1].flatMap((index) => `${cell(index, what, "cpu")} (${cell(index, what, "perSecond")}/s)`)), ...peers.map((peer) => pssMb(peer.pids()).toFixed(0))]);
    }
    print(["objects", "create, CPU µs", "theirs", "update, CPU µs", "theirs", "MB PSS", "theirs"], rows);
  });
}
