import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { silentLog } from "../src/base/log.ts";
import { openSqliteStore } from "../src/store/sqlite-store.ts";

/**
 * How long a durable write takes, beside what the disk itself asks for one: 2 KB objects over 2,000 keys, all
 * writers in one process, rounds of the disk and of the store in turn. `node bench/store.ts [--rounds 3] [--ms 700]`
 */
const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" }, ms: { type: "string", default: "700" }, dir: { type: "string" } } });
const roundMs = Number(values.ms);
const keys = 2_000;
const padding = "x".repeat(1_900);
const folder = mkdtempSync(join(values.dir ?? tmpdir(), "wherry-bench-store-"));

const sorted = (numbers: number[]): number[] => numbers.sort((a, b) => a - b);
const percentile = (numbers: number[], share: number): number => numbers[Math.min(numbers.length - 1, Math.floor(numbers.length * share))] ?? NaN;
const median = (numbers: number[]): number => percentile(sorted(numbers), 0.5);

/** A 2 KB append and fdatasync, one after another: the floor of a lone writer. */
function disk(): { p50: number; p99: number; perSecond: number } {
  const descriptor = openSync(join(folder, "log"), "a");
  const took: number[] = [];
  const end = performance.now() + roundMs;
  while (performance.now() < end) {
    const began = performance.now();
    writeSync(descriptor, padding);
    fdatasyncSync(descriptor);
    took.push(performance.now() - began);
  }
  closeSync(descriptor);
  sorted(took);
  return { p50: percentile(took, 0.5), p99: percentile(took, 0.99), perSecond: (took.length * 1000) / roundMs };
}

const store = await openSqliteStore({ dataDir: folder, log: silentLog });

async function writers(count: number): Promise<{ p50: number; p99: number; perSecond: number; loopP99: number; cpuUs: number }> {
  const took: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const end = began + roundMs;
  const write = async (writer: number): Promise<void> => {
    for (let n = writer; performance.now() < end; n += count) {
      const key = `/core/configmaps/default/object-${String(n % keys).padStart(6, "0")}`;
      const start = performance.now();
      await store.put(key, store.get(key)?.revision ?? 0, (revision) => {
        const object = { metadata: { name: key, resourceVersion: String(revision) }, data: { padding } };
        return { object, bytes: Buffer.from(JSON.stringify(object)) };
      });
      took.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: count }, (_, writer) => write(writer)));
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  sorted(took);
  return { p50: percentile(took, 0.5), p99: percentile(took, 0.99), perSecond: (took.length * 1000) / (performance.now() - began), loopP99: delay.percentile(99) / 1e6, cpuUs: (user + system) / took.length };
}

const counts = [1, 16, 256];
const results = new Map<string, Record<string, number>[]>();
const note = (name: string, figures: Record<string, number>) => results.set(name, [...(results.get(name) ?? []), figures]);
for (let round = 0; round < Number(values.rounds); round++) {
  note("fdatasync of 2 KB", disk());
  for (const count of counts) note(`store, ${count} writer${count === 1 ? "" : "s"}`, await writers(count));
}
await store.close();
rmSync(folder, { recursive: true, force: true });

process.stdout.write(`Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}; medians of ${values.rounds} rounds of ${roundMs} ms in ${values.dir ?? tmpdir()}\n\n`);
const row = (cells: string[]) => process.stdout.write(`| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(20) : cell.padStart(12))).join(" | ")} |\n`);
row(["", "p50 ms", "p99 ms", "writes/s", "p50 / disk", "loop p99 ms", "CPU µs/write"]);
row(["---", ...Array.from({ length: 6 }, () => "---:")]);
const floor = median(results.get("fdatasync of 2 KB")!.map((figures) => figures["p50"]!));
for (const [name, rounds] of results) {
  const figure = (key: string, digits: number) => (rounds[0]![key] === undefined ? "" : median(rounds.map((figures) => figures[key]!)).toFixed(digits));
  row([name, figure("p50", 2), figure("p99", 2), figure("perSecond", 0), (Number(figure("p50", 3)) / floor).toFixed(2), figure("loopP99", 1), figure("cpuUs", 0)]);
}
