import { existsSync } from "node:fs";
import { join } from "node:path";

/** `npm run bench -- [NAME …] [--quick] [--workers=N]`: one file a question; each prints a table with the peer beside us. The flags are the gateway's. */
const all = ["start", "reload", "test-stack", "idle", "pods", "reactions", "api", "definitions", "probe", "pump", "mesh", "preload", "chassis", "gateway", "routes", "policy", "policies", "policy-changes", "store", "peer", "growth"];
const args = process.argv.slice(2);
const names = args.filter((arg) => !arg.startsWith("--"));
const options = { quick: args.includes("--quick"), workers: Number(args.find((arg) => arg.startsWith("--workers="))?.slice("--workers=".length) ?? 1) };
for (const name of names.length > 0 ? names : all) {
  const file = join(import.meta.dirname, `${name}.ts`);
  if (!all.includes(name) || !existsSync(file)) {
    process.stderr.write(`there is no bench "${name}"; there are: ${all.join(", ")}\n`);
    process.exitCode = 2;
    continue;
  }
  process.stdout.write(`\n── ${name}\n`);
  const { run } = (await import(file)) as { run(options: object): Promise<void> };
  await run(options);
}
