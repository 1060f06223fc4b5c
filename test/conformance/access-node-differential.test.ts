import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import type { HttpClient } from "../../src/api/http-client.ts";
import { makeRequest } from "../../src/api/kinds/certificates/testing/request.ts";
import type { StatusError } from "../../src/api/status.ts";
import { startApi } from "../harness-api.ts";
import { hasOracle, startOracle } from "./differential/oracle.ts";

/** What a node's own identity may do, beside the real kube-apiserver with its plugin NodeRestriction: each a line. */
const why = !process.env["WHERRY_CONFORMANCE"] ? "a real kube-apiserver is started for it: npm run conformance" : hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
type Json = Record<string, any>;
type Case = [request: string, body?: Json, type?: string];
const core = "/api/v1/namespaces/default";
const merge = "application/merge-patch+json";

test("a node is held to itself", { skip: why, timeout: 120_000 }, async () => {
  await using api = await startApi({ api: { withoutAdmission: ["ServiceAccount"] } });
  await using oracle = await startOracle({ args: ["--enable-admission-plugins", "NodeRestriction", "--disable-admission-plugins", "ServiceAccount", "--runtime-config", "certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,PodCertificateRequest=true"] });
  const group = "rbac.authorization.k8s.io";
  const pod = (name: string, nodeName: string, more: Json = {}): Json => ({ metadata: { name }, spec: { nodeName, serviceAccountName: "worker", automountServiceAccountToken: false, containers: [{ name: "c", image: "a" }], volumes: [{ name: "t", projected: { sources: [{ serviceAccountToken: { path: "t", audience: "vault" } }] } }], ...more } });
  const setUp: Case[] = [
    ["POST /api/v1/nodes", { metadata: { name: "one", labels: { a: "b" } }, spec: { taints: [{ key: "k", effect: "NoSchedule" }] } }],
    ["POST /api/v1/nodes", { metadata: { name: "two" } }],
    ["POST /api/v1/namespaces", { metadata: { name: "kube-node-lease" } }],
    [`POST ${core}/serviceaccounts`, { metadata: { name: "worker" } }],
    [`POST ${core}/pods`, pod("mine", "one")],
    [`POST ${core}/pods`, pod("mine-too", "one")],
    [`POST ${core}/pods`, pod("other", "two")],
    [`POST ${core}/persistentvolumeclaims`, { metadata: { name: "c" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } }],
    // Roles are not what is asked about here.
    [`POST /apis/${group}/v1/clusterroles`, { metadata: { name: "nearly-all" }, rules: [{ verbs: ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"], apiGroups: ["*"], resources: ["*"] }] }],
    [`POST /apis/${group}/v1/clusterrolebindings`, { metadata: { name: "nodes" }, roleRef: { apiGroup: group, kind: "ClusterRole", name: "nearly-all" }, subjects: [{ apiGroup: group, kind: "Group", name: "system:nodes" }] }],
  ];
  const { request } = await makeRequest({ name: "O=system:nodes, CN=system:node:one" });
  const { request: foreign } = await makeRequest({ name: "O=system:nodes, CN=system:node:two" });
  const signing = (name: string, text: string, signerName: string, usages: string[]): Json => ({ metadata: { name }, spec: { request: Buffer.from(text).toString("base64"), signerName, usages } });
  const token = (boundObjectRef: Json | undefined, audiences: string[] = ["vault"]): Case => [`POST ${core}/serviceaccounts/worker/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { audiences, ...(boundObjectRef && { boundObjectRef }) } }];
  const bound = (name: string, uid?: string): Json => ({ apiVersion: "v1", kind: "Pod", name, ...(uid && { uid }) });
  const mirror = (name: string, owner: Json | undefined, spec: Json = {}, node = "one"): Case => [`POST ${core}/pods`, { metadata: { name, annotations: { "kubernetes.io/config.mirror": "x" }, ...(owner && { ownerReferences: [{ apiVersion: "v1", kind: "Node", name: node, uid: "UID.one", controller: true, ...owner }] }) }, spec: { nodeName: node, containers: [{ name: "c", image: "a" }], ...spec } }];
  const { privateKey } = generateKeyPairSync("ed25519");
  /** Proofs are of whatever uid an API server gave the pod: made anew for each. */
  const certificate = (name: string, spec: Json = {}): Case => [`POST /apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests`, { metadata: { name }, spec: { signerName: "example.com/mesh", podName: "mine", podUID: "UID.mine", serviceAccountName: "worker", serviceAccountUID: "UID.worker", nodeName: "one", nodeUID: "UID.one", pkixPublicKey: createPublicKey(privateKey).export({ type: "spki", format: "der" }).toString("base64"), proofOfPossession: "PROOF", ...spec } }];
  const cases: Case[] = [
    certificate("c1"),
    certificate("c2", { nodeName: "two", nodeUID: "UID.two" }),
    certificate("c3", { nodeUID: "UID.two" }),
    certificate("c4", { podName: "absent" }),
    certificate("c5", { podUID: "UID.other" }),
    certificate("c6", { podName: "other", podUID: "UID.other" }),
    certificate("c7", { serviceAccountName: "else" }),
    certificate("c8", { serviceAccountUID: "UID.one" }),
    ["PATCH /apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests/c1", { metadata: { labels: { a: "b" } } }, merge],
    ["PATCH /apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests/c1/status", { status: { conditions: [] } }, merge],
    ["DELETE /apis/certificates.k8s.io/v1beta1/namespaces/default/podcertificaterequests/c1"],
    mirror("m12", {}, { volumes: [{ name: "v", projected: { sources: [{ clusterTrustBundle: { name: "x", path: "y" } }] } }] }),
    mirror("m13", {}, { volumes: [{ name: "v", projected: { sources: [{ podCertificate: { signerName: "example.com/mesh", keyType: "ED25519", keyPath: "y" } }] } }] }),
    ["PATCH /api/v1/nodes/two", { metadata: { labels: { a: "c" } } }, merge],
    ["DELETE /api/v1/nodes/two"],
    ["PATCH /api/v1/nodes/two/status", { status: { phase: "Running" } }, merge],
    ["POST /api/v1/nodes", { metadata: { name: "three" } }],
    ["PATCH /api/v1/nodes/one", { metadata: { labels: { a: "c", "kubernetes.io/hostname": "one", "kubelet.kubernetes.io/x": "y", "a.node.kubernetes.io/x": "y", "example.com/x": "y" } } }, merge],
    ["PATCH /api/v1/nodes/one", { metadata: { labels: { "node-restriction.kubernetes.io/x": "y", "a.node-restriction.kubernetes.io/x": "y" } } }, merge],
    ["PATCH /api/v1/nodes/one", { metadata: { labels: { "kubernetes.io/x": "y", "a.k8s.io/z": "y", "node-role.kubernetes.io/control-plane": "" } } }, merge],
    ["PATCH /api/v1/nodes/one", { spec: { taints: [] } }, merge],
    ["PATCH /api/v1/nodes/one", { metadata: { ownerReferences: [{ apiVersion: "v1", kind: "Namespace", name: "default", uid: "x" }] } }, merge],
    ["PATCH /api/v1/nodes/one", { spec: { unschedulable: true } }, merge],
    ["PATCH /api/v1/nodes/one/status", { status: { phase: "Running" } }, merge],
    [`POST ${core}/pods`, pod("new", "one")],
    mirror("m1", undefined),
    mirror("m2", { name: "two" }),
    mirror("m3", { controller: false }),
    mirror("m4", { blockOwnerDeletion: true }),
    mirror("m5", { uid: "00000000-0000-0000-0000-000000000001" }),
    mirror("m6", {}, {}, "two"),
    mirror("m7", {}, { serviceAccountName: "worker" }),
    mirror("m8", {}, { containers: [{ name: "c", image: "a", envFrom: [{ secretRef: { name: "s" } }] }] }),
    mirror("m9", {}, { volumes: [{ name: "v", configMap: { name: "s" } }] }),
    mirror("m10", {}, { volumes: [{ name: "v", persistentVolumeClaim: { claimName: "s" } }] }),
    mirror("m11", {}),
    [`PATCH ${core}/pods/mine`, { metadata: { labels: { a: "b" } } }, merge],
    [`PATCH ${core}/pods/mine/status`, { status: { phase: "Running" } }, merge],
    [`PATCH ${core}/pods/mine/status`, { metadata: { labels: { a: "b" } } }, merge],
    [`PATCH ${core}/pods/other/status`, { status: { phase: "Running" } }, merge],
    [`POST ${core}/pods/other/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "other" } }],
    [`POST ${core}/pods/absent/eviction`, { apiVersion: "policy/v1", kind: "Eviction", metadata: { name: "absent" } }],
    [`POST ${core}/pods/mine/binding`, { apiVersion: "v1", kind: "Binding", metadata: { name: "mine" }, target: { kind: "Node", name: "two" } }],
    [`DELETE ${core}/pods/other`],
    [`DELETE ${core}/pods/mine-too?gracePeriodSeconds=0`],
    [`PATCH ${core}/persistentvolumeclaims/c`, { metadata: { labels: { a: "b" } } }, merge],
    [`PATCH ${core}/persistentvolumeclaims/c/status`, { status: { capacity: { storage: "1Gi" } } }, merge],
    token(undefined),
    token(bound("mine")),
    token(bound("mine", "UID.mine")),
    token(bound("mine", "00000000-0000-0000-0000-000000000001")),
    token(bound("other", "UID.other")),
    token(bound("absent", "UID.mine")),
    token(bound("mine", "UID.mine"), ["else"]),
    token(bound("mine", "UID.mine"), ["vault", "else"]),
    token(bound("mine", "UID.mine"), []),
    ["POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", { metadata: { name: "one" }, spec: {} }],
    ["POST /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", { metadata: { name: "two" }, spec: {} }],
    ["POST /apis/coordination.k8s.io/v1/namespaces/default/leases", { metadata: { name: "one" }, spec: {} }],
    ["PATCH /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/one", { spec: { holderIdentity: "one" } }, merge],
    ["POST /apis/storage.k8s.io/v1/csinodes", { metadata: { name: "two" }, spec: { drivers: [] } }],
    ["POST /apis/storage.k8s.io/v1/csinodes", { metadata: { name: "one" }, spec: { drivers: [] } }],
    ["POST /apis/certificates.k8s.io/v1/certificatesigningrequests", signing("own", request, "kubernetes.io/kube-apiserver-client-kubelet", ["client auth", "digital signature"])],
    ["POST /apis/certificates.k8s.io/v1/certificatesigningrequests", signing("foreign", foreign, "kubernetes.io/kube-apiserver-client-kubelet", ["client auth", "digital signature"])],
    ["POST /apis/certificates.k8s.io/v1/certificatesigningrequests", signing("serving", foreign, "kubernetes.io/kubelet-serving", ["server auth", "digital signature"])],
    ["POST /apis/certificates.k8s.io/v1/certificatesigningrequests", signing("else", foreign, "example.com/mine", ["client auth"])],
    [`POST ${core}/configmaps`, { metadata: { name: "c" } }],
  ];
  const uids = new Map<HttpClient, Map<string, string>>();
  const ask = async (client: HttpClient, [text, body, type]: Case, user?: string): Promise<unknown> => {
    const [method, path] = text.split(" ") as [string, string];
    const fill = (value: object): object => JSON.parse(JSON.stringify(value).replaceAll(/UID\.([\w-]+)/g, (whole, name: string) => uids.get(client)?.get(name) ?? whole).replace(/("podUID":"([^"]*)".*)PROOF/, (_, before: string, uid: string) => before + sign(null, Buffer.from(uid), privateKey).toString("base64"))) as object;
    const plain = (message: string): string => [...(uids.get(client) ?? [])].reduce((sum, [name, uid]) => sum.replaceAll(uid, `UID.${name}`), message).replace(/(status\.conditions): [^]*/, "$1");
    try {
      const { status, text: answer } = await client.raw(method, path, body && fill(body), { ...(type && { "content-type": type }), ...(user && { "impersonate-user": user, "impersonate-group": "system:nodes" }) });
      const { metadata } = JSON.parse(answer) as { metadata: { name?: string; uid?: string } };
      if (!user && metadata.name && metadata.uid) uids.set(client, (uids.get(client) ?? new Map<string, string>()).set(metadata.name, metadata.uid));
      return status;
    } catch (error) {
      const { code, message } = error as StatusError;
      return { code, message: plain(message) };
    }
  };
  const ours = api.http();
  for (const one of setUp) for (const client of [ours, oracle.client]) await ask(client, one);
  const differences: string[] = [];
  const compare = async (user: string, one: Case): Promise<void> => {
    const [mine, real] = [await ask(ours, one, user), await ask(oracle.client, one, user)];
    if (JSON.stringify(mine) !== JSON.stringify(real)) differences.push(`${user}: ${one[0]} ${JSON.stringify(one[1] ?? "").slice(0, 200)}\n  ${JSON.stringify(mine)}\n  ${JSON.stringify(real)}`);
  };
  await compare("system:node:", cases[0]!);
  await compare("somebody", cases[0]!);
  for (const one of cases) await compare("system:node:one", one);
  assert.equal(differences.length, 0, differences.join("\n"));
});
