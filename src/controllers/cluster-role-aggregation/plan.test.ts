import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import { SnapshotCache } from "../cache.ts";
import { planAggregation } from "./plan.ts";

const rule = (verb: string) => ({ verbs: [verb], apiGroups: [""], resources: ["pods"] });
const role = (name: string, labels: Record<string, string>, verbs: string[], selects?: object[]) =>
  ({ apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name, uid: name, resourceVersion: "7", labels }, rules: verbs.map(rule), ...(selects && { aggregationRule: { clusterRoleSelectors: selects } }) }) as never;

test("an aggregated role gets the rules of those it selects, by name, each once", () => {
  const part = { part: "yes" };
  const one = role("one", part, ["get", "list"]);
  const two = role("two", part, ["list", "watch"]);
  const other = role("other", { part: "no" }, ["delete"]);
  const select = [{ matchLabels: part }];
  const cases: [why: string, verbs: string[], selects: object[] | undefined, others: object[], expected: string[] | undefined][] = [
    ["nothing aggregated", ["get"], undefined, [one], undefined],
    ["gathered", [], select, [two, one, other], ["get", "list", "watch"]],
    ["own rules give way", ["delete"], select, [one], ["get", "list"]],
    ["as it is already", ["get", "list"], select, [one, other], undefined],
    ["nobody left", ["get"], select, [other], []],
    ["by several selectors", [], [{ matchLabels: { part: "no" } }, { matchExpressions: [{ key: "part", operator: "In", values: ["yes"] }] }], [one, other], ["get", "list", "delete"]],
  ];
  for (const [why, verbs, selects, others, expected] of cases) {
    const whole = role("whole", part, verbs, selects);
    const { actions } = planAggregation(whole, new SnapshotCache([[resources.clusterRoles, [whole, ...others] as never]]));
    const [action] = actions as { patch: { rules: object[]; metadata: object } }[];
    assert.deepEqual(action?.patch.rules, expected?.map(rule), why);
    if (action) assert.deepEqual(action.patch.metadata, { resourceVersion: "7" });
  }
});
