import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WherryError } from "../../base/errors.ts";
import { run } from "../trust.ts";
import { ledgerName, readLedger, writeLedger } from "./ledger.ts";

test("what others could have written is not run: neither the ledger nor its folder may be open to them", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "wherry-ledger-"));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  assert.deepEqual(readLedger(dataDir), []);
  const [file, trace] = [join(dataDir, ledgerName), join(dataDir, "it-was-run")];
  const entry = { store: "planted", needsRoot: false, remove: ["/usr/bin/touch", trace] };
  writeLedger(dataDir, [entry]);
  assert.deepEqual(readLedger(dataDir), [entry]);
  for (const [path, open, closed] of [[file, 0o660, 0o600], [file, 0o602, 0o600], [dataDir, 0o770, 0o700]] as const) {
    chmodSync(path, open);
    await assert.rejects(run(["--undo", "--data-dir", dataDir]), (error) => error instanceof WherryError && error.code === "MACHINE_UNCHANGED" && error.message.startsWith(`${path} can be written by others`));
    assert.ok(!existsSync(trace), `${path} with mode ${open.toString(8)}`);
    chmodSync(path, closed);
  }
  await run(["--undo", "--data-dir", dataDir]);
  assert.ok(existsSync(trace));
  assert.deepEqual(readLedger(dataDir), []);
});
