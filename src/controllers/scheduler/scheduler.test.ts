import assert from "node:assert/strict";
import { test } from "node:test";
import { formatQuantity } from "../../api/quantity.ts";
import { resources } from "../../api/resources.ts";
import type { Node, Pod } from "../../api/types.ts";
import type { Action } from "../action.ts";
import { SnapshotCache } from "../cache.ts";
import { podRequests } from "./resources.ts";
import { planScheduling } from "./scheduler.ts";

const nowMs = Date.UTC(2026, 0, 1);
const labels = { "kubernetes.io/hostname": "wherry", disk: "ssd", cores: "4" };
const node = (spec: object = {}, allocatable: object = { cpu: "2", memory: "1Gi", pods: "4" }): Node => ({ apiVersion: "v1", kind: "Node", metadata: { name: "wherry", labels }, spec, status: { allocatable } }) as unknown as Node;
const pod = (name: string, spec: object = {}, more: object = {}): Pod => ({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default", uid: name, creationTimestamp: "2026-01-01T00:00:00Z", labels: { app: name }, ...more }, spec: { containers: [{ name: "c", image: "i" }], ...spec } }) as unknown as Pod;
const requests = (list: object) => ({ containers: [{ name: "c", image: "i", resources: { requests: list } }] });
const running = (name: string, spec: object = {}, more: object = {}): Pod => pod(name, { nodeName: "wherry", ...spec }, more);

/** What became of the pods that wait: their names when bound, else the reason for which nothing fits. */
function outcomes(pods: Pod[], nodes: Node[] = [node()], more: [typeof resources.persistentVolumeClaims, any[]][] = []): string[] {
  const plan = planScheduling(new SnapshotCache([[resources.pods, pods], [resources.nodes, nodes], ...more]), nowMs);
  const flat = plan.actions.flatMap((action): Action[] => (action.do === "batch" ? action.actions : [action]));
  return flat.flatMap((action) => {
    if (action.do === "create") return [`bind ${action.object.metadata.name}`];
    if (action.do === "event") return [/^0\/\d+ nodes are available: (.*?)\. no new claims/.exec(action.message)?.[1] ?? action.message];
    if (action.do === "patch" && action.resource === resources.persistentVolumeClaims) return [`select ${action.object.metadata.name}`];
    return [];
  });
}
const term = (app: string, more: object = {}) => ({ labelSelector: { matchLabels: { app } }, topologyKey: "kubernetes.io/hostname", ...more });
const affinity = (kind: string, ...terms: object[]) => ({ affinity: { [kind]: { requiredDuringSchedulingIgnoredDuringExecution: terms } } });
const nodeTerms = (...matchExpressions: object[]) => ({ affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] } } } });

test("whether one pod fits the one node", () => {
  const noAffinity = "1 node(s) didn't match Pod's node affinity/selector";
  const taint = (effect: string) => node({ taints: [{ key: "k", value: "v", effect }] });
  const cases: [why: string, waiting: Pod, expected: string, others?: Pod[], on?: Node][] = [
    ["nothing asked", pod("a"), "bind a"],
    ["enough", pod("a", requests({ cpu: "2", memory: "1Gi" })), "bind a"],
    ["too much of two things", pod("a", requests({ memory: "2Gi", cpu: "2001m" })), "1 Insufficient cpu, 1 Insufficient memory"],
    ["a resource the node has not", pod("a", requests({ "example.com/gpu": "1" })), "1 Insufficient example.com/gpu"],
    ["taken by others", pod("a", requests({ cpu: "1500m" })), "1 Insufficient cpu", [running("b", requests({ cpu: "600m" }))]],
    ["finished pods take nothing", pod("a", requests({ cpu: "1500m" })), "bind a", [{ ...running("b", requests({ cpu: "600m" })), status: { phase: "Succeeded" } } as Pod]],
    ["too many", pod("a"), "1 Too many pods", ["b", "c", "d", "e"].map((name) => running(name))],
    ["unschedulable", pod("a"), "1 node(s) were unschedulable", [], node({ unschedulable: true })],
    ["tainted", pod("a"), "1 node(s) had untolerated taint(s)", [], taint("NoSchedule")],
    ["tainted, but tolerated", pod("a", { tolerations: [{ key: "k", operator: "Exists" }] }), "bind a", [], taint("NoExecute")],
    ["tolerated with another value", pod("a", { tolerations: [{ key: "k", value: "w" }] }), "1 node(s) had untolerated taint(s)", [], taint("NoSchedule")],
    ["a preference only", pod("a"), "bind a", [], taint("PreferNoSchedule")],
    ["node selector", pod("a", { nodeSelector: { disk: "ssd" } }), "bind a"],
    ["wrong node selector", pod("a", { nodeSelector: { disk: "hdd" } }), noAffinity],
    ["In", pod("a", nodeTerms({ key: "disk", operator: "In", values: ["ssd", "nvme"] })), "bind a"],
    ["NotIn", pod("a", nodeTerms({ key: "disk", operator: "NotIn", values: ["ssd"] })), noAffinity],
    ["Exists and DoesNotExist", pod("a", nodeTerms({ key: "disk", operator: "Exists" }, { key: "tape", operator: "DoesNotExist" })), "bind a"],
    ["Gt", pod("a", nodeTerms({ key: "cores", operator: "Gt", values: ["4"] })), noAffinity],
    ["Lt", pod("a", nodeTerms({ key: "cores", operator: "Lt", values: ["5"] })), "bind a"],
    ["host ports clash", pod("a", { containers: [{ name: "c", ports: [{ hostPort: 80, containerPort: 1 }] }] }), "1 node(s) didn't have free ports for the requested pod ports", [running("b", { containers: [{ name: "c", ports: [{ hostPort: 80, containerPort: 2 }] }] })]],
    ["company found", pod("a", affinity("podAffinity", term("b"))), "bind a", [running("b")]],
    ["company missing", pod("a", affinity("podAffinity", term("b"))), "1 node(s) didn't match pod affinity rules"],
    ["company in another namespace", pod("a", affinity("podAffinity", term("b", { namespaces: ["other"] }))), "bind a", [running("b", {}, { namespace: "other" })]],
    ["the first of a group", pod("a", affinity("podAffinity", term("a"))), "bind a"],
    ["alone, please", pod("a", affinity("podAntiAffinity", term("b"))), "1 node(s) didn't match pod anti-affinity rules", [running("b")]],
    ["others want to be alone", pod("a"), "1 node(s) didn't satisfy existing pods anti-affinity rules", [running("b", affinity("podAntiAffinity", term("a")))]],
    ["spread over hosts", pod("a", { topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule", labelSelector: { matchLabels: { app: "a" } } }] }), "bind a", [running("b", {}, { labels: { app: "a" } })]],
    ["spread over zones without zones", pod("a", { topologySpreadConstraints: [{ maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", labelSelector: {} }] }), "1 node(s) didn't match pod topology spread constraints (missing required label)"],
    ["more domains demanded than there are", pod("a", { topologySpreadConstraints: [{ maxSkew: 1, minDomains: 2, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule", labelSelector: { matchLabels: { app: "a" } } }] }), "1 node(s) didn't match pod topology spread constraints", [running("b", {}, { labels: { app: "a" } })]],
    ["a missing claim", pod("a", { volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }] }), 'persistentvolumeclaim "data" not found'],
  ];
  for (const [why, waiting, expected, others = [], on = node()] of cases) assert.deepEqual(outcomes([waiting, ...others], [on]), [expected], why);
});

test("several at once: by priority and age, and what is placed counts for the next", () => {
  const waiting = [pod("late", requests({ cpu: "1" }), { creationTimestamp: "2026-01-01T00:00:09Z" }), pod("early", requests({ cpu: "1" })), pod("important", { ...requests({ cpu: "1" }), priority: 10 }, { creationTimestamp: "2026-01-01T00:00:10Z" })];
  assert.deepEqual(outcomes(waiting), ["1 Insufficient cpu", "bind important", "bind early"]);
  assert.deepEqual(outcomes(waiting, []), Array.from({ length: 3 }, () => "no nodes available to schedule pods"));
  assert.deepEqual(outcomes([pod("other", { schedulerName: "mine" }), pod("gone", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" }), running("placed")]), []);
});

test("a claim that waits for its first consumer is told where, and the pod waits", () => {
  const user = pod("a", { volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }] });
  const claim = (annotations: object, more: object = {}) => ({ metadata: { name: "data", namespace: "default", uid: "c", annotations }, spec: { storageClassName: "standard", ...more }, ...("volumeName" in more && { status: { phase: "Bound" } }) });
  const classOf = (volumeBindingMode: string) => [resources.storageClasses, [{ metadata: { name: "standard" }, volumeBindingMode }]] as never;
  const lazy = classOf("WaitForFirstConsumer");
  assert.deepEqual(outcomes([user], [node()], [[resources.persistentVolumeClaims, [claim({})]], lazy]), ["select data"]);
  assert.deepEqual(outcomes([user], [node()], [[resources.persistentVolumeClaims, [claim({ "volume.kubernetes.io/selected-node": "wherry" })]], lazy]), []);
  assert.deepEqual(outcomes([user], [node()], [[resources.persistentVolumeClaims, [claim({})]], classOf("Immediate")]), ["pod has unbound immediate PersistentVolumeClaims"]);
  const volume = (host: string) => [resources.persistentVolumes, [{ metadata: { name: "pv" }, spec: { nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: [host] }] }] } } } }]] as never;
  assert.deepEqual(outcomes([user], [node()], [[resources.persistentVolumeClaims, [claim({}, { volumeName: "pv" })]], volume("wherry")]), ["bind a"]);
  assert.deepEqual(outcomes([user], [node()], [[resources.persistentVolumeClaims, [claim({}, { volumeName: "pv" })]], volume("other")]), ["1 node(s) didn't match PersistentVolume's node affinity"]);
});

test("ReadWriteOncePod is one pod at a time, and a generic ephemeral volume is its own pod's", () => {
  const using = (name: string, more: object = {}) => pod(name, { volumes: [{ name: "v", persistentVolumeClaim: { claimName: "data" } }], ...more });
  const scratch = pod("a", { volumes: [{ name: "v", ephemeral: {} }] });
  const bound = (name: string, mode: string, metadata: object = {}) => [resources.persistentVolumeClaims, [{ metadata: { name, namespace: "default", uid: "c", ...metadata }, spec: { accessModes: [mode], volumeName: "pv" }, status: { phase: "Bound" } }]] as never;
  const volumes = [resources.persistentVolumes, [{ metadata: { name: "pv" }, spec: {} }]] as never;
  const taken = using("first", { nodeName: "wherry" });
  assert.deepEqual(outcomes([using("a"), taken], [node()], [bound("data", "ReadWriteOnce"), volumes]), ["bind a"]);
  assert.deepEqual(outcomes([using("a"), taken], [node()], [bound("data", "ReadWriteOncePod"), volumes]), ["1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"]);
  assert.deepEqual(outcomes([using("a"), { ...taken, status: { phase: "Succeeded" } } as Pod], [node()], [bound("data", "ReadWriteOncePod"), volumes]), ["bind a"]);
  assert.deepEqual(outcomes([scratch]), ['waiting for ephemeral volume controller to create the persistentvolumeclaim "a-v"']);
  assert.deepEqual(outcomes([scratch], [node()], [bound("a-v", "ReadWriteOnce"), volumes]), ["PVC default/a-v was not created for pod default/a (pod is not owner)"]);
  assert.deepEqual(outcomes([scratch], [node()], [bound("a-v", "ReadWriteOnce", { ownerReferences: [{ uid: "a", controller: true }] }), volumes]), ["bind a"]);
});

test("what a pod asks for", () => {
  const container = (cpu: string, more: object = {}) => ({ resources: { requests: { cpu } }, ...more });
  const cases: [why: string, spec: object, cpu: string][] = [
    ["the sum of its containers", { containers: [container("100m"), container("200m")] }, "300m"],
    ["a greedy init container", { containers: [container("100m")], initContainers: [container("1"), container("50m")] }, "1"],
    ["sidecars run along", { containers: [container("100m")], initContainers: [container("50m", { restartPolicy: "Always" })] }, "150m"],
    ["an init container beside the sidecar before it", { containers: [container("100m")], initContainers: [container("50m", { restartPolicy: "Always" }), container("200m")] }, "250m"],
    ["overhead comes on top", { containers: [container("100m")], overhead: { cpu: "10m" } }, "110m"],
    ["the pod's own request goes before", { containers: [container("100m")], resources: { requests: { cpu: "700m" } } }, "700m"],
  ];
  for (const [why, spec, cpu] of cases) assert.equal(formatQuantity(podRequests({ spec } as Pod).get("cpu")!), cpu, why);
});
