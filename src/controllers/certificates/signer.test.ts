import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRequest } from "../../api/kinds/certificates/testing/request.ts";
import { judge, planCleaning, type SigningRequest } from "./signer.ts";

const nowMs = Date.UTC(2026, 0, 2);
const ago = (minutes: number): string => new Date(nowMs - minutes * 60_000).toISOString();
const object = (spec: object, status: object = { conditions: [{ type: "Approved", status: "True" }] }): SigningRequest => ({ metadata: { name: "x", uid: "x", resourceVersion: "1", creationTimestamp: ago(0) }, spec, status }) as unknown as SigningRequest;

test("what each signer signs", async () => {
  const node = { name: "O=system:nodes, CN=system:node:one" };
  const made = new Map<string, string>();
  for (const wish of [{ name: "CN=ann" }, node, { ...node, dns: ["one"] }, { ...node, addresses: ["10.0.0.1"], emails: ["a@b.c"] }, { name: "O=system:nodes, CN=one", dns: ["one"] }]) made.set(JSON.stringify(wish), Buffer.from((await makeRequest(wish)).request).toString("base64"));
  const of = (wish: object): string => made.get(JSON.stringify(wish))!;
  const client = ["digital signature", "client auth"];
  const server = ["digital signature", "server auth"];
  const table: [signer: string, wish: object, usages: string[], verdict: string | undefined][] = [
    ["kube-apiserver-client", { name: "CN=ann" }, client, "signs"],
    ["kube-apiserver-client", { name: "CN=ann" }, ["client auth", "key encipherment"], "signs"],
    ["kube-apiserver-client", { name: "CN=ann" }, ["server auth"], "invalid usage for client certificate: server auth"],
    ["kube-apiserver-client", { name: "CN=ann" }, ["digital signature"], "missing required usage for client certificate: client auth"],
    ["kube-apiserver-client-kubelet", node, client, "signs"],
    ["kube-apiserver-client-kubelet", { ...node, dns: ["one"] }, client, "DNS subjectAltNames are not allowed"],
    ["kube-apiserver-client-kubelet", { name: "CN=ann" }, client, "subject organization is not system:nodes"],
    ["kube-apiserver-client-kubelet", node, ["client auth"], "usages did not match [client auth digital signature key encipherment]"],
    ["kubelet-serving", { ...node, dns: ["one"] }, server, "signs"],
    ["kubelet-serving", node, server, "DNS or IP subjectAltName is required"],
    ["kubelet-serving", { ...node, addresses: ["10.0.0.1"], emails: ["a@b.c"] }, server, "Email subjectAltNames are not allowed"],
    ["kubelet-serving", { name: "O=system:nodes, CN=one", dns: ["one"] }, server, "subject common name does not begin with system:node:"],
    ["kubelet-serving", { ...node, dns: ["one"] }, client, "usages did not match [digital signature key encipherment server auth]"],
    ["legacy-unknown", { name: "CN=ann" }, client, undefined],
  ];
  for (const [signer, wish, usages, verdict] of table) {
    const found = judge(object({ request: of(wish), signerName: `kubernetes.io/${signer}`, usages }));
    assert.equal(found && (found.error ?? "signs"), verdict, `${signer} ${JSON.stringify(wish)} ${usages.join()}`);
  }
  const approved = { type: "Approved", status: "True" };
  const spec = { request: of({ name: "CN=ann" }), signerName: "kubernetes.io/kube-apiserver-client", usages: client };
  for (const status of [{}, { conditions: [{ type: "Denied", status: "True" }] }, { conditions: [approved, { type: "Failed", status: "True" }] }, { conditions: [approved], certificate: "QQ==" }]) assert.equal(judge(object(spec, status)), undefined, JSON.stringify(status));
  assert.equal(judge(object({ ...spec, signerName: "example.com/mine" })), undefined, "another's signer");
});

test("requests are kept as long as they are of use", () => {
  const table: [why: string, created: string, status: object, left: number | "gone" | undefined][] = [
    ["pending", ago(0), {}, 24 * 60],
    ["pending for long", ago(24 * 60), {}, "gone"],
    ["denied", ago(999), { conditions: [{ type: "Denied", status: "True", lastUpdateTime: ago(59) }] }, 1],
    ["denied long ago", ago(999), { conditions: [{ type: "Denied", status: "True", lastUpdateTime: ago(60) }] }, "gone"],
    ["approved and not signed", ago(9999), { conditions: [{ type: "Approved", status: "True", lastUpdateTime: ago(9999) }] }, undefined],
  ];
  for (const [why, creationTimestamp, status, left] of table) {
    const plan = planCleaning({ ...object({}, status), metadata: { name: "x", uid: "x", resourceVersion: "1", creationTimestamp } } as SigningRequest, nowMs);
    assert.equal(plan.actions.length > 0 ? "gone" : plan.requeueAfterMs && plan.requeueAfterMs / 60_000, left, why);
  }
});
