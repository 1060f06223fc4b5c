import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { dump, load } from "js-yaml";
import { egctl } from "./policy-judge/build.ts";
import { type Answer, ask, askAll } from "./policy-judge/judges.ts";
import { differencesOf, knownIn } from "./policy-judge/known.ts";
import { readWorlds, worldFiles } from "./policy-judge/world.ts";

/**
 * Statuses of policies and of the routes that they are for, beside what Envoy Gateway's own translator writes of the same objects. Its
 * answers are recorded in worlds/*.status.yaml; RECORD=1 writes them, and the diff is for reading.
 */
const folder = join(import.meta.dirname, "policy-judge");
const worlds = join(folder, "worlds");
const program = process.env["WHERRY_CONFORMANCE"] ? egctl() : undefined;
const skip = program ? false : process.env["WHERRY_CONFORMANCE"] ? "needs Go and its module proxy" : "Envoy Gateway's egctl is built for it, which takes a quarter of an hour: npm run conformance";
const recordOf = (file: string): string => join(worlds, file.replace(/\.yaml$/, ".status.yaml"));
const recorded = (file: string): Record<string, Answer> => load(readFileSync(recordOf(file), "utf8")) as Record<string, Answer>;

test("statuses are as Envoy Gateway writes them, but for those of known.txt", () => {
  const differences = worldFiles(worlds).flatMap((file) => {
    const answers = recorded(file);
    const all = readWorlds(worlds, file);
    assert.deepEqual(all.map(({ name }) => name), Object.keys(answers), `${file}: each world has its answer once; RECORD=1 asks anew`);
    return all.flatMap(({ name, objects }) => differencesOf(name, ask(objects), answers[name]!));
  });
  assert.deepEqual(differences.sort(), knownIn(join(folder, "known.txt")).sort());
});

for (const file of worldFiles(worlds)) {
  test(`${file}: the answers are what Envoy Gateway says`, { skip, timeout: 600_000 }, async () => {
    const all = readWorlds(worlds, file);
    const answers = await askAll(program!, all.map(({ objects }) => objects));
    const text = dump(Object.fromEntries(all.map(({ name }, i) => [name, answers[i]])), { lineWidth: 240, noRefs: true });
    if (process.env["RECORD"]) writeFileSync(recordOf(file), text);
    assert.equal(text, readFileSync(recordOf(file), "utf8"));
  });
}
