import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { claimPlainNetworks } from "./plain-networks.ts";
import { said } from "./testing.ts";

// Far from those that a stack beside this test may have.
const [first, last] = [200, 204];

test("each stack has loopback networks of its own, until it lets go of them or is killed", async () => {
  const a = await claimPlainNetworks(first, last);
  const b = await claimPlainNetworks(first, last);
  assert.deepEqual([a.services, a.pods, b.services, b.pods], ["127.200", "127.201", "127.202", "127.203"]);
  a.release();
  const again = await claimPlainNetworks(first, last);
  assert.equal(again.services, "127.200");

  const code = `import { claimPlainNetworks } from ${JSON.stringify(new URL("plain-networks.ts", import.meta.url).href)};
console.log((await claimPlainNetworks(${first}, ${last})).services, "claimed"); setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  assert.match(await said(other.stdout, "claimed"), /^127\.204 /);
  await assert.rejects(claimPlainNetworks(first, last), /127\.200 to 127\.205, belong to other stacks/);
  const ended = new Promise((resolve) => other.on("exit", resolve));
  other.kill("SIGKILL");
  await ended;
  const third = await claimPlainNetworks(first, last);
  assert.equal(third.services, "127.204");
  for (const claim of [b, again, third]) claim.release();
});
