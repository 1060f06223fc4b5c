import assert from "node:assert/strict";
import { test } from "node:test";
import { TerminalSize } from "./terminal-size.ts";

test("sizes are set one after the other, the last one last, those between not at all", async () => {
  const begun: string[] = [];
  const going: { done(): void; fail(error: Error): void }[] = [];
  const size = new TerminalSize((columns, rows) => new Promise<void>((done, fail) => {
    begun.push(`${columns}x${rows}`);
    going.push({ done, fail });
  }));
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (const columns of [80, 81, 82]) size.want(columns, 24);
  assert.deepEqual(begun, ["80x24"]);
  going[0]!.done();
  await turn();
  assert.deepEqual(begun, ["80x24", "82x24"]);
  size.want(83, 24);
  going[1]!.fail(new Error("it has ended"));
  await turn();
  assert.deepEqual(begun, ["80x24", "82x24", "83x24"]);
  going[2]!.done();
  await turn();
  size.want(84, 24);
  assert.deepEqual(begun.at(-1), "84x24");
});
