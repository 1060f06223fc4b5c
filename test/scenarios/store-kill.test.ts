import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync, watch } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { randomInt, seededRandom } from "../../src/base/random.ts";
import { silentLog } from "../../src/base/log.ts";
import { openSqliteStore } from "../../src/store/sqlite-store.ts";
import { type Line, readLedger } from "./store-ledger.ts";

/** KILLS=100 sets how often; SEED= when. */
const kills = Number(process.env["KILLS"] ?? (process.env["WHERRY_CONFORMANCE"] ? 100 : 10));
const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
const writers = 32;

/** Resolves when the ledger has grown to `bytes`; fails when the writer ends before. */
async function grown(file: string, bytes: number, child: ChildProcess): Promise<void> {
  const watcher = watch(file);
  const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`the writer ended with ${code}`)));
  ended.catch(() => {});
  try {
    while (statSync(file).size < bytes) await Promise.race([once(watcher, "change"), ended]);
  } finally {
    watcher.close();
  }
}

test(`a store whose process is killed ${kills} times under load loses no acknowledged write`, async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-store-kill-"));
  const ledger = join(folder, "ledger");
  const random = seededRandom(seed);
  const acknowledged = new Map<string, Line>();
  let [lines, unacknowledged, lastRevision] = [0, 0, 0];
  try {
    for (let round = 1; round <= kills; round++) {
      rmSync(ledger, { force: true });
      // The writer makes the ledger before it writes: it must be there to be watched.
      const child = spawn(process.execPath, [join(import.meta.dirname, "store-writer.ts"), "--data-dir", folder, "--ledger", ledger, "--writers", String(writers)], { stdio: ["ignore", "pipe", "pipe"] });
      let stderr = "";
      child.stderr.on("data", (chunk: Buffer) => {
        stderr += chunk.toString();
        // Its log says that the store is loaded, right before it begins to write.
        if (stderr.includes("the store is loaded")) child.emit("loaded");
      });
      await Promise.race([once(child, "loaded"), once(child, "exit").then(() => assert.fail(`round ${round}: the writer did not start: ${stderr}`))]);
      await grown(ledger, 2_000 + randomInt(random, 60_000), child);
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;

      for (const line of readLedger(ledger)) {
        lines++;
        if (line.revision > (acknowledged.get(line.key)?.revision ?? 0)) acknowledged.set(line.key, line);
        lastRevision = Math.max(lastRevision, line.revision);
      }
      const store = await openSqliteStore({ dataDir: folder, log: silentLog });
      assert.ok(store.revision >= lastRevision, `round ${round}, seed ${seed}: revision ${store.revision} is older than the acknowledged ${lastRevision}`);
      for (const line of acknowledged.values()) {
        const entry = store.get(line.key);
        const where = `round ${round}, seed ${seed}: ${line.type} ${line.key} at ${line.revision}`;
        // What came later and was never acknowledged may be there as well: one write per writer at most.
        if (entry === undefined) {
          if (line.type === "put") assert.ok(store.revision > lastRevision, `${where} is lost`);
          unacknowledged += line.type === "put" ? 1 : 0;
          continue;
        }
        assert.ok(entry.revision >= line.revision && (line.type === "put" || entry.revision > line.revision), `${where} is lost: found ${entry.revision}`);
        const object = entry.object as { key: string; revision: number; n: number };
        assert.deepEqual([object.key, object.revision], [line.key, entry.revision]);
        if (entry.revision === line.revision) assert.equal(object.n, line.n);
        else unacknowledged++;
      }
      assert.ok(unacknowledged <= writers * round);
      for (const { key, revision } of store.range("")) assert.ok((acknowledged.get(key)?.revision ?? 0) === revision || revision > lastRevision - writers, `round ${round}, seed ${seed}: ${key} at ${revision} was written by nobody`);
      // From here on what was found counts: it has been read.
      acknowledged.clear();
      for (const { key, revision, object } of store.range("")) acknowledged.set(key, { type: "put", key, revision, n: (object as { n: number }).n });
      lastRevision = store.revision;
      await store.close();
    }
    context.diagnostic(`seed ${seed}: ${kills} kills, ${lines} writes acknowledged, none lost; ${unacknowledged} durable that nobody was told of`);
    rmSync(folder, { recursive: true, force: true });
  } catch (error) {
    context.diagnostic(`kept: ${folder}`);
    throw error;
  }
});
