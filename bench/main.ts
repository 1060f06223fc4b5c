import { existsSync } from "node:fs";
import { join } from "node:path";

/** `npm run bench -- [NAME …]`: one file a question; each prints a table with the peer beside us. */
const all = ["start", "reload", "test-stack", "idle", "pods", "reactions", "api", "definitions", "probe", "pump", "gateway", "routes", "policy", "store", "peer", "growth"];
const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : all) {
  const file = join(import.meta.dirname, `${name}.ts`);
  if (!all.includes(name) || !existsSync(file)) {
    process.stderr.write(`there is no bench "${name}"; there are: ${all.join(", ")}\n`);
    process.exitCode = 2;
    continue;
  }
  process.stdout.write(`\n── ${name}\n`);
  const { run } = (await import(file)) as { run(): Promise<void> };
  await run();
}
