import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { DatabaseSync } from "node:sqlite";
import { silentLog } from "../src/base/log.ts";
import { openSqliteStore } from "../src/store/sqlite-store.ts";
import type { Store } from "../src/store/store.ts";
import { median, print } from "./measure.ts";

const rounds = 3;
const roundMs = 700;
const keys = 2_000;
const padding = "x".repeat(1_900);

interface Figures {
  p50: number;
  p99: number;
  perSecond: number;
  /** p99 of what the event loop was late by, ms. */
  loop: number;
  /** CPU of all threads a write, µs. */
  cpu: number;
}

/**
 * How long does a durable write take, beside what the disk asks for one (2 KB appended and fdatasync) and beside
 * bare SQLite with the same settings, a transaction each, on the caller's thread? In turn, in one go, on one disk.
 */
export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-store-"));
  const results = new Map<string, Figures[]>();
  const note = (name: string, figures: Figures) => results.set(name, [...(results.get(name) ?? []), figures]);
  const store = await openSqliteStore({ dataDir: folder, log: silentLog });
  try {
    const disk = openSync(join(folder, "log"), "a");
    const bare = openBare(join(folder, "bare.db"));
    for (let round = 0; round < rounds; round++) {
      note("2 KB and fdatasync", await measure(1, async () => (writeSync(disk, padding), fdatasyncSync(disk))));
      note("bare SQLite", await measure(1, async (n) => bare.put(keyOf(n))));
      for (const writers of [1, 16, 256]) note(`store, ${writers} writer${writers === 1 ? "" : "s"}`, await measure(writers, (n) => put(store, keyOf(n))));
    }
    closeSync(disk);
    bare.close();
    await store.close();

    const floor = median(results.get("2 KB and fdatasync")!.map(({ p50 }) => p50));
    print(
      [`write of 2 KB, medians of ${rounds}`, "p50 ms", "p99 ms", "writes/s", "p50 / fdatasync", "loop late p99 ms", "CPU µs"],
      [...results].map(([name, all]) => {
        const figure = (key: keyof Figures) => median(all.map((figures) => figures[key]));
        return [name, figure("p50").toFixed(2), figure("p99").toFixed(2), figure("perSecond").toFixed(0), (figure("p50") / floor).toFixed(2), figure("loop").toFixed(1), figure("cpu").toFixed(0)];
      }),
    );
    process.stdout.write("\n");
    await startAndWatch(folder);
  } finally {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

const keyOf = (n: number): string => `/core/configmaps/default/object-${String(n % keys).padStart(6, "0")}`;

function put(store: Store, key: string): Promise<unknown> {
  return store.put(key, store.get(key)?.revision ?? 0, (revision) => {
    const object = { metadata: { name: key, resourceVersion: String(revision) }, data: { padding } };
    return { object, bytes: Buffer.from(JSON.stringify(object)) };
  });
}

function openBare(file: string): { put(key: string): void; close(): void } {
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; CREATE TABLE objects (id INTEGER PRIMARY KEY, key TEXT UNIQUE, value BLOB)");
  const statement = db.prepare("INSERT INTO objects (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
  let revision = 0;
  // Changed each time: SQLite writes nothing for a row that stays as it was.
  return { put: (key) => void statement.run(key, Buffer.from(JSON.stringify({ metadata: { name: key, resourceVersion: String(++revision) }, data: { padding } }))), close: () => db.close() };
}

/** `writers` at a time, each beginning its next write when the last is durable. */
async function measure(writers: number, write: (n: number) => Promise<unknown>): Promise<Figures> {
  const took: number[] = [];
  const late = monitorEventLoopDelay({ resolution: 1 });
  late.enable();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const one = async (writer: number): Promise<void> => {
    for (let n = writer; performance.now() < began + roundMs; n += writers) {
      const start = performance.now();
      await write(n);
      took.push(performance.now() - start);
      // What blocks gives the loop its turn, as a server would.
      if (took.length % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(Array.from({ length: writers }, (_, writer) => one(writer)));
  const seconds = (performance.now() - began) / 1000;
  late.disable();
  const { user, system } = process.cpuUsage(cpu);
  took.sort((a, b) => a - b);
  const at = (share: number) => took[Math.floor(took.length * share)]!;
  return { p50: at(0.5), p99: at(0.99), perSecond: took.length / seconds, loop: late.percentile(99) / 1e6, cpu: (user + system) / took.length };
}

async function startAndWatch(folder: string): Promise<void> {
  let store = await openSqliteStore({ dataDir: folder, log: silentLog });
  await Promise.all(Array.from({ length: 10_000 - keys }, (_, n) => put(store, `/core/pods/default/pod-${n}`)));
  await store.close();
  const starts: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    store = await openSqliteStore({ dataDir: folder, log: silentLog });
    starts.push(performance.now() - began);
    if (round < rounds - 1) await store.close();
  }
  const [watchers, changes] = [1_000, 100];
  const lags: number[] = [];
  let seen = 0;
  let sent = 0;
  const all = Promise.withResolvers<void>();
  for (let i = 0; i < watchers; i++) {
    store.watch("/core/pods/", store.revision, {
      onEvents(events) {
        lags.push(performance.now() - sent);
        if ((seen += events.length) === watchers * changes) all.resolve();
      },
      onEnd: all.reject,
    });
  }
  const cpu = process.cpuUsage();
  for (let n = 0; n < changes; n++) {
    sent = performance.now();
    await put(store, "/core/pods/default/pod-0");
  }
  await all.promise;
  const { user, system } = process.cpuUsage(cpu);
  await store.close();
  print(["figure", "median"], [
    ["open with 10,000 objects of 2 KB, ms", median(starts).toFixed(0)],
    [`a change to each of ${watchers} watchers, CPU µs a watcher`, ((user + system) / watchers / changes).toFixed(2)],
    ["… from put to the watcher, commit included, ms", median(lags).toFixed(1)],
  ]);
}
