import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../tools/bundle-preload.mjs";
import { eventually } from "../../src/proxy/testing/network.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";

interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
}

test("a pod with the label dials the pods behind a Service; its condition says so, and of others why not", { timeout: 150_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await bundlePreload();
  await using wherry = await startWherry({ test: t });
  const run = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await wherry.kubectl(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  await run("apply", "-f", join(import.meta.dirname, "direct.yaml"));
  await run("wait", "--for=condition=Ready", "pod/web-1", "pod/web-2", "--timeout=60s");
  await run("apply", "-f", join(import.meta.dirname, "direct-desk.yaml"));
  const told = await eventually(async () => (await wherry.kubectl("logs", "desk")).stdout, 60_000);
  assert.deepEqual(JSON.parse(told), { "web-1 web 8080": 10, "web-2 web 8080": 10 });
  const meshed = async (pod: string): Promise<Condition | undefined> => (JSON.parse(await run("get", "pod", pod, "-o", "json")) as { status: { conditions?: Condition[] } }).status.conditions?.find(({ type }) => type === "wherry.dev/Meshed");
  const desk = await eventually(async () => {
    const condition = await meshed("desk");
    return condition?.status === "True" ? condition : undefined;
  }, 30_000);
  assert.match(desk!.message, /^Node \d+\.\d+\.\d+ dials by itself$/);
  const [shell, odd] = await Promise.all(["shell", "odd"].map((pod) => eventually(() => meshed(pod), 30_000)));
  assert.deepEqual([shell?.status, shell?.reason], ["False", "NoHello"]);
  assert.deepEqual([odd?.status, odd?.reason], ["False", "NotHonoured"]);
  assert.match(odd!.message, /label wherry\.dev\/mesh=sidecar: supported values: "direct", "listener"/);
  assert.equal(await meshed("web-1"), undefined, "who asks for nothing is told nothing");
});
