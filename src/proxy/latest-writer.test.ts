import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusError } from "../api/status.ts";
import { FakeClock } from "../base/clock.ts";
import { silentLog } from "../base/log.ts";
import { LatestWriter } from "./latest-writer.ts";

const turn = () => new Promise((resolve) => setImmediate(resolve));
const refusal = (code: number) => new StatusError(code, "", String(code));

test("a failed write is tried again, and never after a newer one", async () => {
  const clock = new FakeClock();
  const written: string[] = [];
  const refusals = [409, 500];
  const writer = new LatestWriter<string>({
    clock,
    log: silentLog,
    write: async (id, value) => {
      const code = refusals.shift();
      if (code !== undefined) throw refusal(code);
      written.push(`${id}=${value}`);
    },
  });
  writer.want("a", "old");
  await turn();
  writer.want("a", "new");
  await turn();
  // The newer one failed as well: it is what is tried again, the older one is forgotten.
  clock.advance(60_000);
  await turn();
  clock.advance(60_000);
  await turn();
  assert.deepEqual(written, ["a=new"]);
  refusals.push(409);
  writer.want("c", "old");
  await turn();
  writer.want("c", "new");
  await turn();
  clock.advance(60_000);
  await turn();
  assert.deepEqual(written.splice(0), ["a=new", "c=new"]);
  refusals.push(404);
  writer.want("b", "gone");
  await turn();
  clock.advance(60_000);
  await turn();
  assert.deepEqual(written, []);
  await writer.stop();
});
