import assert from "node:assert/strict";
import { test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { Informers } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { vpaDefinitions } from "../../api/vpa/definition.ts";
import { type VerticalPodAutoscaler, verticalPodAutoscalers } from "../../api/vpa/types.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import { VerticalAutoscaling } from "./vertical.ts";

test("the autoscaler comes and goes with its definition", async () => {
  await using server = await startApi();
  const { client } = server;
  for (const { resource, object } of vpaDefinitions) await client.create(resource, undefined, object);
  const informers = new Informers({ client, clock: systemClock });
  const autoscaling = new VerticalAutoscaling({ client, informers, kindOf: () => undefined, clock: systemClock, random: systemRandom, log: silentLog });
  const autoscalers = informers.for<KubeObject>(verticalPodAutoscalers);
  autoscaling.served(true);
  await informers.start();
  /** Resolves when the autoscaler's status speaks of this target. */
  const speaksOf = (name: string) =>
    new Promise<void>((resolve) => {
      const stop = autoscalers.onChange((_, now) => {
        if (!(now as unknown as VerticalPodAutoscaler | undefined)?.status?.conditions?.some(({ message }) => message?.includes(` / ${name}, `))) return;
        setImmediate(() => stop());
        resolve();
      });
    });
  const follow = (name: string) => client.patch<VerticalPodAutoscaler>(verticalPodAutoscalers, "default", "web", { spec: { targetRef: { apiVersion: "example.com/v1", kind: "Thing", name } } }, { type: "merge" });
  await client.create(verticalPodAutoscalers, "default", { metadata: { name: "web" }, spec: { targetRef: { apiVersion: "example.com/v1", kind: "Thing", name: "one" } } });
  await speaksOf("one");
  autoscaling.served(false);
  await autoscaling.stop();
  await follow("two");
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  const rested = await client.get<VerticalPodAutoscaler>(verticalPodAutoscalers, "default", "web");
  assert.match(rested.status!.conditions![0]!.message!, / \/ one, /, "it rests");
  autoscaling.served(true);
  autoscaling.served(true);
  await speaksOf("two");
  await autoscaling.stop();
  await informers.stop();
});
