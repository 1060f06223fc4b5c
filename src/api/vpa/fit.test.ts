import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../types.ts";
import { boundsOf, sizesFor } from "./fit.ts";
import type { VerticalPodAutoscaler } from "./types.ts";

type Amounts = Record<string, string>;
interface Case {
  requests?: Amounts;
  limits?: Amounts;
  target?: Amounts;
  policy?: object;
  ranges?: object[];
}
function fitted({ requests = { cpu: "100m", memory: "100Mi" }, limits = {}, target = { cpu: "200m", memory: "300Mi" }, policy, ranges = [] }: Case): string {
  const vpa = { metadata: { name: "web" }, spec: { ...(policy && { resourcePolicy: { containerPolicies: [policy] } }) }, status: { recommendation: { containerRecommendations: [{ containerName: "app", target }] } } } as unknown as VerticalPodAutoscaler;
  const pod = { metadata: { name: "p" }, spec: { containers: [{ name: "app", image: "i", resources: { requests, limits } }] } } as unknown as Pod;
  const [sizes] = sizesFor(vpa, pod, boundsOf([{ spec: { limits: ranges as never } }]));
  const words = (amounts: object) => Object.entries(amounts).map(([name, value]) => `${name} ${value}`).join(", ") || "none";
  return `${words(sizes!.requests)}; limits ${words(sizes!.limits)}${sizes!.notes.length > 0 ? ` (${sizes!.notes.join(", ")})` : ""}`;
}

test("a recommendation as one pod gets it", () => {
  const cases: [why: string, of: Case, expected: string][] = [
    ["no limits, none are made", {}, "cpu 200m, memory 300Mi; limits none"],
    ["limits in proportion", { limits: { cpu: "250m", memory: "150Mi" } }, "cpu 200m, memory 300Mi; limits cpu 500m, memory 450Mi"],
    ["guaranteed stays so", { limits: { cpu: "100m", memory: "100Mi" } }, "cpu 200m, memory 300Mi; limits cpu 200m, memory 300Mi"],
    ["a limit alone is a request too", { requests: {}, limits: { memory: "100Mi" } }, "cpu 200m, memory 300Mi; limits memory 300Mi"],
    ["requests only: below the limits", { limits: { cpu: "150m", memory: "1Gi" }, policy: { containerName: "app", controlledValues: "RequestsOnly" } }, "cpu 150m, memory 300Mi; limits none (cpu capped to container limit)"],
    ["one resource alone", { target: { memory: "300Mi" }, limits: { cpu: "1", memory: "200Mi" } }, "memory 300Mi; limits memory 600Mi"],
    ["the policy", { policy: { containerName: "*", minAllowed: { cpu: "300m" }, maxAllowed: { memory: "200Mi" } } }, "cpu 300m, memory 200Mi; limits none (cpu capped to minAllowed, memory capped to maxAllowed)"],
    ["a LimitRange's maximum is for the limit", { limits: { memory: "200Mi" }, ranges: [{ type: "Container", max: { memory: "400Mi" } }] }, "cpu 200m, memory 200Mi; limits memory 400Mi (memory capped to fit Max in container LimitRange)"],
    ["its minimum for both", { ranges: [{ type: "Container", min: { cpu: "250m" } }] }, "cpu 250m, memory 300Mi; limits none (cpu capped to fit Min in container LimitRange)"],
    ["its default is the limit of who has none", { ranges: [{ type: "Container", default: { cpu: "200m" } }] }, "cpu 200m, memory 300Mi; limits cpu 400m"],
    ["the lowest of several maxima", { limits: { memory: "100Mi" }, ranges: [{ type: "Container", max: { memory: "1Gi" } }, { type: "Container", max: { memory: "200Mi" } }] }, "cpu 200m, memory 200Mi; limits memory 200Mi (memory capped to fit Max in container LimitRange)"],
    ["of the whole pod", { limits: { memory: "100Mi" }, ranges: [{ type: "Pod", max: { memory: "150Mi" } }] }, "cpu 200m, memory 150Mi; limits memory 150Mi"],
    ["claims have ranges of their own", { ranges: [{ type: "PersistentVolumeClaim", max: { storage: "1Gi" } }] }, "cpu 200m, memory 300Mi; limits none"],
  ];
  for (const [why, of, expected] of cases) assert.equal(fitted(of), expected, why);
});
