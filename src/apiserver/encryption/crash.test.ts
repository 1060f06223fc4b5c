import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silentLog } from "../../base/log.ts";
import { openSqliteStore } from "../../store/sqlite-store.ts";
import { Encryption } from "./encryption.ts";

/** Writes every stale value again, saying so after each, and once more when the file is scrubbed; then waits. */
const rewriting = `
const [, dataDir, file] = process.argv;
const { openSqliteStore } = await import(${JSON.stringify(new URL("../../store/sqlite-store.ts", import.meta.url).href)});
const { Encryption } = await import(${JSON.stringify(new URL("./encryption.ts", import.meta.url).href)});
const log = { debug() {}, info: (message) => message.includes("holds nothing any more") && process.stdout.write("scrubbed\\n"), warn() {}, error() {}, child: () => log };
const store = await openSqliteStore({ dataDir, log, transform: new Encryption(file) });
for (const { key, revision, object } of store.range("/core/secrets/")) {
  if (!store.isStale(key)) continue;
  await store.put(key, revision, () => ({ bytes: Buffer.from(JSON.stringify(object)), object }));
  process.stdout.write("written\\n");
}
setInterval(() => {}, 1000);
`;

test("killed while a key is exchanged: every value is there, and the exchange goes on where it was", { timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-encryption-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const file = join(folder, "encryption.yaml");
  const configure = (...names: string[]): void => writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources: [{ resources: ["secrets"], providers: [{ aesgcm: { keys: names.map((name) => ({ name, secret: Buffer.alloc(32, name).toString("base64") })) } }] }] }));
  const count = 60;
  configure("a");
  const first = await openSqliteStore({ dataDir, log: silentLog, transform: new Encryption(file) });
  for (let n = 0; n < count; n++) await first.put(`/core/secrets/default/s${n}`, 0, () => ({ bytes: Buffer.from(JSON.stringify({ n, padding: "x".repeat(n * 50) })), object: { n, padding: "x".repeat(n * 50) } }));
  await first.close();
  configure("b", "a");

  /** Killed after so many lines; gives how many values were written before. */
  const killedAfter = (pattern: RegExp, lines: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", rewriting, dataDir, file], { stdio: ["ignore", "pipe", "inherit"] });
      let said = "";
      child.stdout.on("data", (part: Buffer) => {
        said += part.toString();
        if ((said.match(new RegExp(pattern, "g"))?.length ?? 0) >= lines) child.kill("SIGKILL");
      });
      child.once("exit", (_, signal) => (signal === "SIGKILL" ? resolve(said.match(/written/g)?.length ?? 0) : reject(new Error(`it ended by itself: ${said}`))));
    });
  const check = async (): Promise<number> => {
    const store = await openSqliteStore({ dataDir, log: silentLog, transform: new Encryption(file) });
    const entries = store.range("/core/secrets/");
    assert.deepEqual(entries.map(({ object }) => object["n"]).sort((a, b) => Number(a) - Number(b)), Array.from({ length: count }, (_, n) => n));
    const stale = entries.filter(({ key }) => store.isStale(key)).length;
    await store.close();
    return stale;
  };
  let left = count;
  for (const lines of [1, 20, 20]) {
    const written = await killedAfter(/written/, lines);
    const stale = await check();
    assert.ok(stale <= left - written && stale > 0, `${stale} of ${left} after ${written}`);
    left = stale;
  }
  // The last ones, and the kill falls into the scrubbing or just after it.
  await killedAfter(/written/, left);
  // A start that finds no mark scrubs, and closing waits for it.
  assert.equal(await check(), 0);
  assert.doesNotMatch(readdirSync(dataDir).map((name) => readFileSync(join(dataDir, name), "latin1")).join(), /k8s:enc:aesgcm:v1:a:/);
  configure("b");
  assert.equal(await check(), 0);
});
