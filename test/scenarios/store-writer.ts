import { openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { createLog } from "../../src/base/log.ts";
import { openSqliteStore } from "../../src/store/sqlite-store.ts";
import { StorageFullError, type Store } from "../../src/store/store.ts";

/**
 * A process that writes to a store until it is killed, and keeps a ledger beside it: a line for each write that
 * was acknowledged, written after the acknowledgement. Started by the tests of this folder.
 *
 *   store-writer.ts --data-dir DIR --ledger FILE --writers N [--size BYTES]    writes until it is killed
 *   … --until-full --ballast FILE --dump FILE                                  until the disk is full; then says what
 *         it sees (FILE.full), removes the ballast, writes on, closes, opens again and says what it sees (FILE)
 */
const { values } = parseArgs({ options: { "data-dir": { type: "string" }, ledger: { type: "string" }, writers: { type: "string", default: "32" }, size: { type: "string", default: "400" }, "until-full": { type: "boolean" }, ballast: { type: "string" }, dump: { type: "string" } } });
const ledger = openSync(values.ledger!, "a");
const padding = "x".repeat(Number(values.size));
const store = await openSqliteStore({ dataDir: values["data-dir"]!, log: createLog("store", "info") });
writeSync(ledger, `open ${store.revision}\n`);

async function write(store: Store, writer: number, n: number): Promise<void> {
  const key = `/core/configmaps/default/w${writer}-${n % 20}`;
  const expected = store.get(key)?.revision ?? 0;
  const type = expected > 0 && n % 7 === 0 ? "delete" : "put";
  let value = "";
  const entry = await store[type](key, expected, (revision) => {
    const object = { key, revision, n, padding };
    value = JSON.stringify(object);
    return { object, bytes: Buffer.from(value) };
  });
  writeSync(ledger, `${type} ${key} ${entry.revision} ${n}\n`);
}

let full = false;
await Promise.all(
  Array.from({ length: Number(values.writers) }, async (_, writer) => {
    for (let n = 0; !full; n++) {
      try {
        await write(store, writer, n);
      } catch (error) {
        if (!values["until-full"] || !(error instanceof StorageFullError)) throw error;
        full = true;
      }
    }
  }),
);

const dump = (from: Store, file: string) => writeFileSync(file, JSON.stringify({ revision: from.revision, entries: from.range("").map(({ key, revision, object }) => ({ key, revision, n: (object as { n: number }).n })) }));
dump(store, `${values.dump}.full`);
rmSync(values.ballast!);
for (let n = 1; n <= 5; n++) await write(store, 999, n);
await store.close();
const again = await openSqliteStore({ dataDir: values["data-dir"]!, log: createLog("store", "info") });
dump(again, values.dump!);
await again.close();
