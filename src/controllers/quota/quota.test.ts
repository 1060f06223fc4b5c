import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { ResourceQuota } from "../../api/kinds/core/resourcequota-usage.ts";
import { SnapshotCache } from "../cache.ts";
import { planQuota } from "./quota.ts";

const widgets = { group: "example.com", version: "v1", resource: "widgets" };
const kinds = [resources.pods, resources.services, resources.configMaps, widgets];
const object = (name: string, rest: object = {}, namespace = "shop") => ({ metadata: { name, namespace, uid: name, resourceVersion: "1", creationTimestamp: "" }, ...rest });
const pod = (name: string, cpu: string, phase = "Running") => object(name, { spec: { containers: [{ name: "c", resources: { requests: { cpu } } }] }, status: { phase } });
const cache = new SnapshotCache([
  [resources.pods, [pod("a", "250m"), pod("b", "0.5"), pod("done", "4", "Succeeded"), { ...pod("elsewhere", "4"), metadata: object("elsewhere", {}, "other").metadata }]],
  [resources.services, [object("s", { spec: { type: "NodePort", ports: [{ port: 1 }, { port: 2 }] } })]],
  [resources.configMaps, [object("one"), object("two")]],
  [widgets, [object("w")]],
]);
const quota = (hard: Record<string, string>, rest: object = {}, status?: object) => object("q", { apiVersion: "v1", kind: "ResourceQuota", spec: { hard, ...rest }, ...(status && { status }) }) as unknown as ResourceQuota;

const cases: [hard: Record<string, string>, rest: object, used: Record<string, string>, looksAgain: boolean][] = [
  [{ pods: "10", "requests.cpu": "2000m", "count/pods": "9" }, {}, { pods: "2", "requests.cpu": "750m", "count/pods": "3" }, false],
  [{ "services.nodeports": "5", "services.loadbalancers": "1" }, {}, { "services.nodeports": "2", "services.loadbalancers": "0" }, false],
  [{ configmaps: "3", "count/configmaps": "3" }, {}, { configmaps: "2", "count/configmaps": "2" }, false],
  [{ pods: "3" }, { scopes: ["BestEffort"] }, { pods: "0" }, false],
  [{ "count/widgets.example.com": "3", "requests.nvidia.com/gpu": "1" }, {}, { "count/widgets.example.com": "1", "requests.nvidia.com/gpu": "0" }, true],
];
for (const [hard, rest, used, looksAgain] of cases) {
  test(`what is used of ${JSON.stringify(hard)}${Object.keys(rest).length > 0 ? ` ${JSON.stringify(rest)}` : ""}`, () => {
    const plan = planQuota(quota(hard, rest), kinds, cache);
    const [action] = plan.actions as unknown as [{ object: ResourceQuota }];
    assert.deepEqual(action.object.status!.used, used);
    assert.equal(plan.requeueAfterMs !== undefined, looksAgain);
    assert.deepEqual(planQuota(quota(hard, rest, action.object.status), kinds, cache).actions, [], "what is reported already is not written again");
  });
}

test("hard is reported in canonical form", () => {
  const [action] = planQuota(quota({ "requests.cpu": "2000m", "requests.memory": "1024Mi" }), kinds, cache).actions as unknown as [{ object: ResourceQuota }];
  assert.deepEqual(action.object.status!.hard, { "requests.cpu": "2", "requests.memory": "1Gi" });
});
