import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { startApi } from "../../harness-api.ts";
import { Driver, type Finding } from "./driver.ts";
import { sequence } from "./generate.ts";
import { startOracle } from "./oracle.ts";
import { world, worldReady } from "./world.ts";

/**
 * Looks for differences by hand: `node test/conformance/differential/main.ts [--from SEED] [--count N] [--kind pods]`,
 * or `--seeds 7,12,99`. Prints each once per place (`--full`: all), as small as it goes, and a tally.
 */
const { values } = parseArgs({ options: { from: { type: "string", default: "1" }, count: { type: "string", default: "100" }, kind: { type: "string" }, full: { type: "boolean" }, seeds: { type: "string" } } });
await using oracle = await startOracle();
await using api = await startApi();
using driver = new Driver({ url: api.url, ca: api.pki.ca, ...api.pki.admin }, { url: oracle.url, ca: readFileSync(oracle.certificate, "utf8"), headers: { authorization: "Bearer oracle" } });
await driver.prepare(world, worldReady);
const shown = values.full ? 4_000 : 700;
const seen = new Map<string, number>();
const seeds = values.seeds?.split(",").map(Number) ?? Array.from({ length: Number(values.count) }, (_, index) => Number(values.from) + index);
for (const seed of seeds) {
  const found: Finding | undefined = await driver.run(sequence(seed, values.kind));
  if (!found) continue;
  const last = found.requests.at(-1)!;
  const place = `${found.sequence.kind} ${last.method} ${last.contentType ?? ""} ${found.differences[0]!.at.replaceAll(/\[\d+\]/g, "[]")}`;
  seen.set(place, (seen.get(place) ?? 0) + 1);
  if (seen.get(place)! > 1 && !values.full) continue;
  process.stdout.write(`\n── seed ${seed}: ${place}\n`);
  for (const request of found.requests) process.stdout.write(`   ${request.method} ${request.path} ${request.contentType ?? ""}${request.accept ? ` accept ${request.accept}` : ""}\n      ${JSON.stringify(request.body ?? "").slice(0, shown)}\n`);
  for (const { at, ours, theirs } of found.differences.filter(({ at }, index) => index < 4 || ["message", "reason"].includes(at))) process.stdout.write(`   ${at}\n      ours   ${JSON.stringify(ours)?.slice(0, shown)}\n      theirs ${JSON.stringify(theirs)?.slice(0, shown)}\n`);
}
process.stdout.write(`\n${driver.sent} requests in ${seeds.length} sequences: ${[...seen.values()].reduce((sum, count) => sum + count, 0)} with a difference, in ${seen.size} places\n`);
