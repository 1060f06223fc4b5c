import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parseDockerfile } from "./dockerfile.ts";

/**
 * Each case is a file of testdata/: a Dockerfile, a line `---`, and what must be read off it as JSON (only the
 * keys given are compared). Comments `# arg NAME=VALUE`, `# target NAME` and `# folder PATH` set the scene;
 * `# error TEXT` instead of JSON expects a refusal.
 */
const folder = join(import.meta.dirname, "testdata");
for (const file of readdirSync(folder).filter((name) => name.endsWith(".dockerfile"))) {
  test(`parseDockerfile() ${file}`, () => {
    const [text, expected] = readFileSync(join(folder, file), "utf8").split(/^---$/m) as [string, string];
    const directives = (name: string) => [...text.matchAll(new RegExp(`^# ${name} (.*)$`, "gm"))].map((match) => match[1]!);
    const folders = directives("folder");
    const target = directives("target")[0];
    const parse = () =>
      parseDockerfile(text, {
        file,
        buildArgs: Object.fromEntries(directives("arg").map((pair) => pair.split("=") as [string, string])),
        ...(target && { target }),
        isFolder: (path) => folders.includes(path),
      }) as unknown as Record<string, unknown>;
    const error = /^# error (.*)$/m.exec(expected)?.[1];
    if (error) return assert.throws(parse, (thrown: Error) => (assert.match(thrown.message, new RegExp(error)), true));
    const wanted = JSON.parse(expected) as Record<string, unknown>;
    const image = parse();
    assert.deepEqual(Object.fromEntries(Object.keys(wanted).map((key) => [key, image[key]])), wanted);
  });
}
