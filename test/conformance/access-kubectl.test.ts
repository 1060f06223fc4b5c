import { symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { makeRequest } from "../../src/api/kinds/certificates/testing/request.ts";
import { resources } from "../../src/api/resources.ts";
import { certificateSigner } from "../../src/controllers/certificates/signer.ts";
import { runControllers } from "../controllers.ts";
import { hasKubectl, startApi } from "../harness-api.ts";
import { kubectl } from "../needs.ts";
import { runTranscript } from "../scenarios/transcript.ts";

const roles = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads, namespace: default}
rules: [{apiGroups: [""], resources: [pods], verbs: [watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: bob}]
`;
const others = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: counts}
rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: counts}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: counts}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: team}]
`;

for (const minor of ["1.33", "1.30"]) {
  const skip = minor === "1.33" || process.env["WHERRY_CONFORMANCE"] ? false : "one version is enough for every day: npm run conformance";
  test(`kubectl ${minor} asks who may what, and changes it`, { skip }, async (t) => {
    if (!(await hasKubectl(t, minor))) return;
    await using api = await startApi();
    await using _controllers = await runControllers(api.client, [certificateSigner((wish) => api.pki.sign(wish), (object) => api.client.update(resources.certificateSigningRequests, undefined, object.metadata.name, object, { subresource: "status" }))]);
    const { folder } = api;
    const { request, key } = await makeRequest({ name: "CN=ann" });
    const asked = (name: string) => JSON.stringify({ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest", metadata: { name }, spec: { request: Buffer.from(request).toString("base64"), signerName: "kubernetes.io/kube-apiserver-client", usages: ["client auth"], expirationSeconds: 3600 } });
    for (const [name, text] of Object.entries({ "roles.yaml": roles, "others.yaml": others, "request.yaml": asked("ann"), "request-two.yaml": asked("two"), "ann.key": key, "ca.crt": api.pki.ca })) writeFileSync(join(folder, name), text);
    symlinkSync(kubectl(minor)!, join(folder, "kubectl"));
    symlinkSync(api.kubeconfig("nobody", {}), join(folder, "nobody"));
    await runTranscript(join(import.meta.dirname, "access.transcript"), { cwd: folder, env: { KUBECONFIG: join(folder, "admin.kubeconfig"), HOME: folder, PATH: `${folder}:${process.env["PATH"] ?? ""}:${dirname(process.execPath)}`, LANG: "C" }, variables: { API: api.url } });
  });
}
