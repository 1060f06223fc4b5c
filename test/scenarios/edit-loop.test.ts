import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { appFolder, Folder, server, Watching } from "./edit-loop.ts";
import { directUrl, load } from "./stack.ts";

const podsOf = async (wherry: TestWherry) => (await wherry.client.list<Pod>(resources.pods, { namespace: "default", labelSelector: "app=app" })).items;
const restarts = async (wherry: TestWherry) => (await podsOf(wherry)).map(({ status }) => status!.containerStatuses![0]!.restartCount);
const ask = async (url: string) => await (await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(10_000) })).text();

for (const replicas of [3, 1]) {
  test(`code saved under load: ${replicas} replica${replicas > 1 ? "s" : ""} reloaded in place, no request fails, nothing counts as a restart`, { timeout: 120_000 }, async (t) => {
    const folder = new Folder(t, appFolder({ replicas, program: server("one") }));
    await using wherry = await startWherry({ test: t });
    const up = new Watching(t, wherry, [folder.path]);
    await up.next(/\(watching\)\n/);
    const before = await podsOf(wherry);
    const url = directUrl(wherry, "default", "app");
    assert.equal(await ask(url), "one green");
    const traffic = load(url, { concurrency: 4, pauseMs: 5 });
    t.after(() => traffic.stop());
    for (const version of ["two", "three"]) {
      folder.save("server.js", server(version));
      const said = await up.next(/runs the new code.*\n/);
      assert.match(said, new RegExp(`^server\\.js changed: reloading deployment/app${replicas > 1 ? ` \\(${replicas} replicas, one at a time\\)` : ""}\n`));
      assert.equal(said.match(/✓ app-\S+ {2}Ready after/g)?.length, replicas);
      for (let time = 0; time < 2 * replicas; time++) assert.equal(await ask(url), `${version} green`);
    }
    const { ok, failures } = await traffic.stop();
    assert.deepEqual(failures, []);
    assert.ok(ok > 50, `only ${ok} requests`);
    assert.deepEqual(await restarts(wherry), Array.from({ length: replicas }, () => 0));
    assert.deepEqual((await podsOf(wherry)).map(({ metadata, status }) => [metadata.uid, status!.podIP]), before.map(({ metadata, status }) => [metadata.uid, status!.podIP]));
  });
}
