import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../../api/types.ts";
import type { Bounds } from "../../api/vpa/fit.ts";
import type { UpdateMode, VerticalPodAutoscaler } from "../../api/vpa/types.ts";
import { planUpdates } from "./update.ts";

const nowMs = Date.UTC(2026, 0, 2);
const hourMs = 3600_000;
interface PodCase {
  name: string;
  cpu?: string;
  memory?: string;
  ageHours?: number;
  phase?: string;
  waits?: string;
  waitsMs?: number;
  noRoom?: boolean;
  oomAfterMs?: number;
}
function podOf({ name, cpu = "100m", memory = "300Mi", ageHours = 1, phase = "Running", waits, oomAfterMs }: PodCase): Pod {
  const [type, reason] = waits?.split(" ") ?? [];
  const end = new Date(nowMs - 1000).toISOString();
  return {
    metadata: { name, namespace: "default", uid: name, ownerReferences: [{ controller: true, uid: "rs" }] },
    spec: { containers: [{ name: "app", image: "i", resources: { requests: { cpu, memory }, limits: { memory: "600Mi" } } }] },
    status: {
      phase,
      startTime: new Date(nowMs - ageHours * hourMs).toISOString(),
      conditions: type ? [{ type, status: "True", ...(reason && { reason }) }] : [],
      containerStatuses: oomAfterMs === undefined ? [] : [{ name: "app", lastState: { terminated: { reason: "OOMKilled", exitCode: 137, startedAt: new Date(nowMs - 1000 - oomAfterMs).toISOString(), finishedAt: end } } }],
    },
  } as unknown as Pod;
}
const recommendation = { containerName: "app", lowerBound: { cpu: "80m", memory: "250Mi" }, target: { cpu: "120m", memory: "300Mi" }, upperBound: { cpu: "400m", memory: "900Mi" } };
const vpaOf = (updateMode: UpdateMode, more: object = {}) => ({ metadata: { name: "web" }, spec: { updatePolicy: { updateMode, ...more } }, status: { recommendation: { containerRecommendations: [recommendation] } } }) as unknown as VerticalPodAutoscaler;

function planned(vpa: VerticalPodAutoscaler, pods: PodCase[], replicas: number | undefined = pods.length, bounds: Bounds = {}): string {
  const waits = new Map(pods.map(({ name, waitsMs = 0 }) => [name, waitsMs]));
  const crowded = new Set(pods.filter(({ noRoom }) => noRoom).map(({ name }) => name));
  const { resize, evict, tooFew, noRoom } = planUpdates({ vpa, groups: [{ pods: pods.map(podOf), replicas }], bounds, nowMs, resizeSinceMs: ({ metadata }) => nowMs - waits.get(metadata.name)!, hasRoom: ({ metadata }) => !crowded.has(metadata.name) });
  const names = (list: Pod[]) => list.map(({ metadata }) => metadata.name).join(",");
  return [resize.length > 0 && `resize ${names(resize)}`, evict.length > 0 && `evict ${names(evict)}`, tooFew && `too few: ${tooFew.live} of ${tooFew.required}`, noRoom.length > 0 && `no room ${names(noRoom)}`].filter(Boolean).join("; ") || "nothing";
}
const low = (name: string, more: Partial<PodCase> = {}): PodCase => ({ name, cpu: "10m", ...more });
const fine = (name: string): PodCase => ({ name });

test("whom an autoscaler changes, when and how", () => {
  const inPlace = vpaOf("InPlaceOrRecreate");
  const recreate = vpaOf("Recreate");
  const minutes = 60_000;
  const cases: [why: string, vpa: VerticalPodAutoscaler, pods: PodCase[], expected: string, replicas?: number][] = [
    ["within the range", inPlace, [fine("a"), fine("b")], "nothing"],
    ["below the range", inPlace, [low("a"), fine("b")], "resize a"],
    ["above the range", inPlace, [{ name: "a", memory: "2Gi" }, fine("b")], "resize a"],
    ["Off only recommends", vpaOf("Off"), [low("a"), low("b")], "nothing"],
    ["Initial leaves what runs", vpaOf("Initial"), [low("a"), low("b")], "nothing"],
    ["Recreate evicts", recreate, [low("a"), fine("b")], "evict a"],
    ["Auto does as Recreate", vpaOf("Auto"), [low("a"), fine("b")], "evict a"],
    ["one replica is left alone", inPlace, [low("a")], "too few: 1 of 2"],
    ["unless the autoscaler says so", vpaOf("InPlaceOrRecreate", { minReplicas: 1 }), [low("a")], "resize a"],
    ["more are asked for than live", vpaOf("Recreate", { minReplicas: 3 }), [low("a"), low("b")], "too few: 2 of 3"],
    ["not more than half at once", recreate, [low("a"), low("b"), low("c"), low("d")], "evict a,b"],
    ["of two one", recreate, [low("a"), low("b")], "evict a"],
    ["none while others are missing", recreate, [low("a"), low("b")], "nothing", 4],
    ["the neediest first, those that grow before", recreate, [{ name: "less", cpu: "120m", memory: "2Gi" }, low("little", { cpu: "60m" }), low("most"), fine("d")], "evict most,little"],
    ["a pending pod serves nobody", recreate, [low("a", { phase: "Pending" }), fine("b")], "evict a"],
    ["in place nothing can be done with it", inPlace, [low("a", { phase: "Pending" }), fine("b")], "nothing"],
    ["old and different enough", recreate, [{ name: "a", ageHours: 13 }, { name: "b", ageHours: 13, cpu: "119m" }], "evict a"],
    ["different, but young", recreate, [{ name: "a", ageHours: 11 }, fine("b")], "nothing"],
    ["killed early for its memory", recreate, [{ name: "a", oomAfterMs: 5 * minutes }, fine("b")], "evict a"],
    ["killed late", recreate, [{ name: "a", oomAfterMs: 15 * minutes }, fine("b")], "nothing"],
    ["killed, and nothing would change", recreate, [{ name: "a", cpu: "120m", oomAfterMs: 5 * minutes }, fine("b")], "nothing"],
    ["a resize that waits is waited for", inPlace, [low("a", { waits: "PodResizePending Deferred", waitsMs: 4 * minutes }), fine("b")], "nothing"],
    ["for five minutes", inPlace, [low("a", { waits: "PodResizePending Deferred", waitsMs: 6 * minutes }), fine("b")], "evict a"],
    ["what never fits is replaced at once", inPlace, [low("a", { waits: "PodResizePending Infeasible" }), fine("b")], "evict a"],
    ["under way: an hour", inPlace, [low("a", { waits: "PodResizeInProgress", waitsMs: 59 * minutes }), fine("b")], "nothing"],
    ["longer", inPlace, [low("a", { waits: "PodResizeInProgress", waitsMs: 61 * minutes }), fine("b")], "evict a"],
    ["failed", inPlace, [low("a", { waits: "PodResizeInProgress Error" }), fine("b")], "evict a"],
    ["no room for a successor", recreate, [low("a", { noRoom: true }), fine("b")], "no room a"],
    ["another takes its turn", recreate, [low("a", { noRoom: true }), low("b")], "evict b; no room a"],
    ["in place is the node's to judge", inPlace, [low("a", { noRoom: true }), fine("b")], "resize a"],
    ["what never fits, nor would anew", inPlace, [low("a", { waits: "PodResizePending Infeasible", noRoom: true }), fine("b")], "no room a"],
    ["only to grow", vpaOf("Recreate", { evictionRequirements: [{ resources: ["cpu", "memory"], changeRequirement: "TargetHigherThanRequests" }] }), [low("a"), { name: "b", cpu: "120m", memory: "2Gi" }], "evict a"],
    ["only to shrink, in both", vpaOf("Recreate", { evictionRequirements: [{ resources: ["cpu"], changeRequirement: "TargetLowerThanRequests" }, { resources: ["memory"], changeRequirement: "TargetLowerThanRequests" }] }), [{ name: "a", cpu: "2", memory: "2Gi" }, { name: "b", cpu: "2" }], "evict a"],
  ];
  for (const [why, vpa, pods, expected, replicas] of cases) assert.equal(planned(vpa, pods, replicas ?? pods.length), expected, why);
});

test("what LimitRanges forbid is not asked for", () => {
  const vpa = vpaOf("InPlaceOrRecreate");
  assert.equal(planned(vpa, [{ name: "a", cpu: "50m" }, fine("b")], 2, { container: { min: {}, max: { cpu: 50 }, default: { cpu: 50 } } }), "nothing", "the bounds themselves are capped");
});
