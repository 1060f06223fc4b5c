import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../meta.ts";
import { createBuiltinRegistry } from "../registry.ts";
import { parseYaml } from "../yaml.ts";
import { strategies } from "./index.ts";

const registry = createBuiltinRegistry(strategies);
const now = Date.UTC(2026, 0, 1, 12, 0, 0);

/** columns.yaml: objects, each with the row that `kubectl get -o wide` shows at noon of 2026-01-01, cells joined by " | ". */
interface Case {
  row: string;
  wide?: string;
  object: KubeObject;
}

test("rows say what kubectl shows", () => {
  for (const { row, wide, object } of parseYaml(readFileSync(join(import.meta.dirname, "testdata", "columns.yaml"), "utf8")) as Case[]) {
    const [group, version] = object.apiVersion.includes("/") ? (object.apiVersion.split("/") as [string, string]) : ["", object.apiVersion];
    const columns = registry.byKind(group, version, object.kind)!.columns!;
    const cells = (priority: number): string => columns.filter((column) => (column.priority ?? 0) === priority).map((column) => String(column.cell(object, now))).join(" | ");
    assert.equal(cells(0), row, object.kind);
    if (wide !== undefined) assert.equal(cells(1), wide, `${object.kind} wide`);
  }
});

/** Source: the table in research of upstream's printers: names in order, wide ones with a star. */
const headers: [kind: string, names: string][] = [
  ["Pod", "Name,Ready,Status,Restarts,Age,IP*,Node*,Nominated Node*,Readiness Gates*"],
  ["Deployment", "Name,Ready,Up-to-date,Available,Age,Containers*,Images*,Selector*"],
  ["ReplicaSet", "Name,Desired,Current,Ready,Age,Containers*,Images*,Selector*"],
  ["ReplicationController", "Name,Desired,Current,Ready,Age,Containers*,Images*,Selector*"],
  ["StatefulSet", "Name,Ready,Age,Containers*,Images*"],
  ["DaemonSet", "Name,Desired,Current,Ready,Up-to-date,Available,Node Selector,Age,Containers*,Images*,Selector*"],
  ["Job", "Name,Status,Completions,Duration,Age,Containers*,Images*,Selector*"],
  ["CronJob", "Name,Schedule,Timezone,Suspend,Active,Last Schedule,Age,Containers*,Images*,Selector*"],
  ["Service", "Name,Type,Cluster-IP,External-IP,Port(s),Age,Selector*"],
  ["Ingress", "Name,Class,Hosts,Address,Ports,Age"],
  ["IngressClass", "Name,Controller,Parameters,Age"],
  ["Node", "Name,Status,Roles,Age,Version,Internal-IP*,External-IP*,OS-Image*,Kernel-Version*,Container-Runtime*"],
  ["PersistentVolumeClaim", "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,VolumeMode*"],
  ["PersistentVolume", "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age,VolumeMode*"],
  ["HorizontalPodAutoscaler", "Name,Reference,Targets,MinPods,MaxPods,Replicas,Age"],
  ["Event", "Last Seen,Type,Reason,Object,Subobject*,Source*,Message,First Seen*,Count*,Name*"],
  ["ConfigMap", "Name,Data,Age"],
  ["Secret", "Name,Type,Data,Age"],
  ["ServiceAccount", "Name,Age"],
  ["Namespace", "Name,Status,Age"],
  ["Endpoints", "Name,Endpoints,Age"],
  ["EndpointSlice", "Name,AddressType,Ports,Endpoints,Age"],
  ["PodDisruptionBudget", "Name,Min Available,Max Unavailable,Allowed Disruptions,Age"],
  ["Lease", "Name,Holder,Age"],
  ["StorageClass", "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age"],
  ["RoleBinding", "Name,Role,Age,Users*,Groups*,ServiceAccounts*"],
  ["ClusterRoleBinding", "Name,Role,Age,Users*,Groups*,ServiceAccounts*"],
  ["Role", "Name,Created At"],
  ["ControllerRevision", "Name,Controller,Revision,Age"],
  ["PriorityClass", "Name,Value,Global-Default,Age,PreemptionPolicy"],
  ["ResourceQuota", "Name,Request,Limit,Age"],
  ["NetworkPolicy", "Name,Pod-Selector,Age"],
  ["MutatingWebhookConfiguration", "Name,Webhooks,Age"],
  ["ValidatingAdmissionPolicy", "Name,Validations,ParamKind,Age"],
  ["ValidatingAdmissionPolicyBinding", "Name,PolicyName,ParamRef,Age"],
  ["CertificateSigningRequest", "Name,Age,SignerName,Requestor,RequestedDuration,Condition"],
  ["CustomResourceDefinition", "Name,Created At"],
];

test("columns have upstream's names and order", () => {
  for (const [kindName, names] of headers) {
    const kind = registry.all().find((candidate) => candidate.kind === kindName)!;
    assert.equal((kind.columns ?? []).map((column) => `${column.name}${column.priority === 1 ? "*" : ""}`).join(","), names, kindName);
  }
});
