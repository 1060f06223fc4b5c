import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { openPki } from "../../src/apiserver/pki.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";

/** Runs in a pod: labels what it is shown at /mutate, refuses at /validate what is named "forbidden". */
const program = `
import { createServer } from "node:https";
import { readFileSync } from "node:fs";
const tls = { key: readFileSync("/tls/tls.key"), cert: readFileSync("/tls/tls.crt") };
createServer(tls, (request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    if (request.method === "GET") return response.end("ok");
    const { apiVersion, kind, request: { uid, object } } = JSON.parse(body);
    const answer = request.url.startsWith("/mutate")
      ? { allowed: true, patchType: "JSONPatch", patch: Buffer.from(JSON.stringify([{ op: "add", path: "/metadata/labels", value: { guarded: "yes" } }])).toString("base64") }
      : object.metadata.name === "forbidden" ? { allowed: false, status: { code: 403, message: "nothing may be called that" } } : { allowed: true };
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ apiVersion, kind, response: { uid, ...answer } }));
  });
}).listen(8443);
`;

test("a webhook in a pod, behind a Service: asked, refusing, gone, back", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  const folder = mkdtempSync(join(tmpdir(), "wherry-guard-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const pki = await openPki(folder, { names: ["guard.hooks.svc"] });
  await using wherry = await startWherry({ test: t });
  const kubectl = async (command: string): Promise<string> => {
    const { stdout, stderr } = await wherry.kubectl(...command.split(" "));
    return `${stdout}${stderr}`.trim();
  };
  const apply = async (...items: object[]) => {
    const file = join(folder, "list.json");
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "List", items }));
    const { stdout, stderr, code } = await wherry.kubectl("apply", "-f", file);
    assert.equal(code, 0, `${stdout}${stderr}`);
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");

  const labels = { app: "guard" };
  const container = {
    name: "guard",
    image: "node:22",
    command: ["node", "/program/guard.mjs"],
    ports: [{ containerPort: 8443 }],
    readinessProbe: { httpGet: { port: 8443, path: "/", scheme: "HTTPS" }, periodSeconds: 1 },
    volumeMounts: [{ name: "program", mountPath: "/program" }, { name: "tls", mountPath: "/tls" }],
  };
  await apply(
    { apiVersion: "v1", kind: "Namespace", metadata: { name: "hooks" } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "guard", namespace: "hooks" }, data: { "guard.mjs": program } },
    { apiVersion: "v1", kind: "Secret", metadata: { name: "guard", namespace: "hooks" }, type: "kubernetes.io/tls", data: { "tls.crt": base64(pki.server.cert), "tls.key": base64(pki.server.key) } },
    { apiVersion: "v1", kind: "Service", metadata: { name: "guard", namespace: "hooks" }, spec: { selector: labels, ports: [{ port: 443, targetPort: 8443 }] } },
    { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "guard", namespace: "hooks" }, spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers: [container], volumes: [{ name: "program", configMap: { name: "guard" } }, { name: "tls", secret: { secretName: "guard" } }] } } } },
  );
  assert.match(await kubectl("rollout status deployment/guard -n hooks --timeout=60s"), /successfully rolled out/);

  const webhook = (name: string, path: string) => ({ name, clientConfig: { service: { namespace: "hooks", name: "guard", path }, caBundle: base64(pki.ca) }, rules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }], sideEffects: "None", admissionReviewVersions: ["v1"] });
  await apply(
    { apiVersion: "admissionregistration.k8s.io/v1", kind: "MutatingWebhookConfiguration", metadata: { name: "guard" }, webhooks: [webhook("label.guard.example.com", "/mutate")] },
    { apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: { name: "guard" }, webhooks: [webhook("names.guard.example.com", "/validate")] },
  );
  assert.equal(await kubectl("create configmap allowed --from-literal=a=b"), "configmap/allowed created");
  assert.equal(await kubectl("get configmap allowed -o jsonpath={.metadata.labels.guarded}"), "yes");
  assert.equal(await kubectl("create configmap forbidden"), 'error: failed to create configmap: admission webhook "names.guard.example.com" denied the request: nothing may be called that');

  // A drain evicts the pod; with nobody to ask, what needs asking is refused.
  assert.match(await kubectl("drain wherry --pod-selector=app=guard --timeout=30s"), /node\/wherry drained/);
  assert.equal(await kubectl("create configmap later"), 'error: failed to create configmap: Internal error occurred: failed calling webhook "label.guard.example.com": failed to call webhook: Post "https://guard.hooks.svc:443/mutate?timeout=10s": no endpoints available for service "guard"');
  await kubectl("uncordon wherry");
  assert.match(await kubectl("rollout status deployment/guard -n hooks --timeout=60s"), /successfully rolled out/);
  assert.equal(await kubectl("create configmap later"), "configmap/later created");

  // What a quota counts is reported soon after: kube-root-ca.crt and istio-ca-root-cert are among them.
  await kubectl("create quota maps --hard=configmaps=9,pods=3 -n hooks");
  await kubectl("wait quota/maps -n hooks --for=jsonpath={.status.used.pods}=1 --timeout=20s");
  await kubectl("create configmap another -n hooks");
  assert.match(await kubectl("wait quota/maps -n hooks --for=jsonpath={.status.used.configmaps}=4 --timeout=20s"), /condition met/);
});
