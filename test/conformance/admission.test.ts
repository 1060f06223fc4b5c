import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { resources } from "../../src/api/resources.ts";
import { hasKubectl, startApi, type TestApi } from "../harness-api.ts";
import { startWebhookServer } from "../webhook-server.ts";

/** What admission says, as a person at kubectl reads it. */
const minor = "1.33";

async function cluster(t: TestContext): Promise<{ api: TestApi; kubectl: (command: string, input?: string | object) => Promise<string> } | undefined> {
  if (!(await hasKubectl(t, minor))) return undefined;
  const api = await startApi();
  t.after(() => api[Symbol.asyncDispose]());
  return {
    api,
    kubectl: async (command, input) => {
      const { stdout, stderr } = await api.kubectl(minor, command.split(" "), { ...(input !== undefined && { input: typeof input === "string" ? input : JSON.stringify(input) }) });
      return `${stdout}${stderr}`.trim();
    },
  };
}
const pod = (name: string, namespace: string, container: object = {}, spec: object = {}) => ({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace }, spec: { containers: [{ name: "app", image: "busybox", ...container }], ...spec } });
const from = "Error from server (Forbidden): error when creating \"STDIN\": ";

test("kubectl create quota, and what it limits", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { kubectl } = on;
  assert.equal(await kubectl("create quota few --hard=pods=1,requests.cpu=1"), "resourcequota/few created");
  assert.equal(await kubectl("create -f -", pod("silent", "default")), `${from}pods "silent" is forbidden: failed quota: few: must specify requests.cpu for: app`);
  const asks = { resources: { requests: { cpu: "600m" } } };
  assert.equal(await kubectl("create -f -", pod("one", "default", asks)), "pod/one created");
  assert.equal(await kubectl("create -f -", pod("two", "default", asks)), `${from}pods "two" is forbidden: exceeded quota: few, requested: pods=1,requests.cpu=600m, used: pods=1,requests.cpu=600m, limited: pods=1,requests.cpu=1`);
  await kubectl("delete pod one --now");
  assert.equal(await kubectl("create -f -", pod("two", "default", asks)), "pod/two created");
});

test("a LimitRange fills in and refuses", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { kubectl } = on;
  const limits = [
    { type: "Container", max: { cpu: "1" }, min: { cpu: "10m", memory: "4Mi" }, default: { cpu: "500m" }, defaultRequest: { cpu: "100m", memory: "64Mi" }, maxLimitRequestRatio: { cpu: "5" } },
    { type: "Pod", max: { memory: "1Gi" } },
    { type: "PersistentVolumeClaim", max: { storage: "1Gi" }, min: { storage: "1Mi" } },
  ];
  assert.equal(await kubectl("create -f -", { apiVersion: "v1", kind: "LimitRange", metadata: { name: "range" }, spec: { limits } }), "limitrange/range created");
  assert.equal(await kubectl("create -f -", pod("a", "default", { resources: { limits: { memory: "128Mi" } } })), "pod/a created");
  assert.deepEqual(JSON.parse(await kubectl("get pod a -o jsonpath={.spec.containers[0].resources}")), { limits: { cpu: "500m", memory: "128Mi" }, requests: { cpu: "100m", memory: "128Mi" } });
  assert.equal(await kubectl("get pod a -o jsonpath={.metadata.annotations.kubernetes\\.io/limit-ranger}"), "LimitRanger plugin set: cpu request for container app; cpu limit for container app");
  const refused = async (container: object) => (await kubectl("create -f -", pod("b", "default", container))).replace(from, "");
  const memory = { memory: "128Mi" };
  assert.equal(await refused({ resources: { requests: { cpu: "1", ...memory }, limits: { cpu: "2", ...memory } } }), 'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2');
  assert.equal(await refused({ resources: { requests: { cpu: "1m", ...memory }, limits: { cpu: "4m", ...memory } } }), 'pods "b" is forbidden: minimum cpu usage per Container is 10m, but request is 1m');
  assert.equal(await refused({ resources: { requests: { cpu: "50m", ...memory }, limits: { cpu: "500m", ...memory } } }), 'pods "b" is forbidden: cpu max limit to request ratio per Container is 5, but provided ratio is 10.000000');
  assert.equal(await refused({ resources: { requests: { memory: "2Gi" }, limits: { memory: "2Gi" } } }), 'pods "b" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 2Gi');
  assert.equal(await refused({}), 'pods "b" is forbidden: maximum memory usage per Pod is 1Gi.  No limit is specified');
  const claim = { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "c" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "2Gi" } } } };
  assert.equal(await kubectl("create -f -", claim), `${from}persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi`);
});

test("pod security by labels of the namespace", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { kubectl } = on;
  await kubectl("create -f -", pod("old", "default"));
  assert.equal(
    await kubectl("label namespace default pod-security.kubernetes.io/enforce=restricted"),
    ['namespace/default labeled', 'Warning: existing pods in namespace "default" violate the new PodSecurity enforce level "restricted:latest"', "Warning: old: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"].join("\n"),
  );
  const why =
    'allowPrivilegeEscalation != false (container "app" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "app" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "app" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "app" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")';
  assert.equal(await kubectl("create -f -", pod("new", "default")), `${from}pods "new" is forbidden: violates PodSecurity "restricted:latest": ${why}`);
  const deployment = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web" }, spec: { selector: { matchLabels: { a: "b" } }, template: { metadata: { labels: { a: "b" } }, spec: { containers: [{ name: "app", image: "busybox" }] } } } };
  assert.equal(await kubectl("create -f -", deployment), `deployment.apps/web created\nWarning: would violate PodSecurity "restricted:latest": ${why}`);
  assert.match(await kubectl("label namespace default --overwrite pod-security.kubernetes.io/enforce=strict"), /^The Namespace "default" is invalid: metadata.labels\[pod-security.kubernetes.io\/enforce\]: Invalid value: "strict": must be one of privileged, baseline, restricted$/m);
  assert.equal(await kubectl("label namespace default --overwrite pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/enforce-version=v1.30"), "namespace/default labeled");
  assert.equal(await kubectl("create -f -", pod("new", "default")), "pod/new created");
  assert.equal(await kubectl("create -f -", pod("host", "default", {}, { hostNetwork: true })), `${from}pods "host" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)`);
});

test("priority classes", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { kubectl } = on;
  assert.equal(await kubectl("create -f -", pod("a", "default", {}, { priorityClassName: "none" })), `${from}pods "a" is forbidden: no PriorityClass with name none was found`);
  assert.equal(await kubectl("create priorityclass usual --value=7 --global-default=true --preemption-policy=Never"), "priorityclass.scheduling.k8s.io/usual created");
  assert.equal(await kubectl("create priorityclass other --value=8 --global-default=true"), 'error: failed to create priorityclass: priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. Only one default can exist');
  await kubectl("create -f -", pod("b", "default"));
  assert.equal(await kubectl("get pod b -o jsonpath={.spec.priorityClassName}:{.spec.priority}:{.spec.preemptionPolicy}"), "usual:7:Never");
  assert.match(await kubectl("create -f -", pod("c", "default", {}, { priority: 9 })), /the integer value of priority \(9\) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name$/);
});

test("runtime classes, default ingress class, claims that grow", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { api, kubectl } = on;
  assert.equal(await kubectl("create -f -", pod("a", "default", {}, { runtimeClassName: "kata" })), `${from}pods "a" is forbidden: pod rejected: RuntimeClass "kata" not found`);
  assert.equal(await kubectl("create -f -", pod("a", "default", {}, { overhead: { cpu: "1m" } })), `${from}pods "a" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead`);
  await kubectl("create -f -", { apiVersion: "node.k8s.io/v1", kind: "RuntimeClass", metadata: { name: "kata" }, handler: "kata", overhead: { podFixed: { cpu: "10m" } }, scheduling: { nodeSelector: { kata: "yes" } } });
  await kubectl("create -f -", pod("a", "default", {}, { runtimeClassName: "kata" }));
  assert.equal(await kubectl("get pod a -o jsonpath={.spec.overhead.cpu}:{.spec.nodeSelector.kata}"), "10m:yes");
  await kubectl("create -f -", { apiVersion: "networking.k8s.io/v1", kind: "IngressClass", metadata: { name: "usual", annotations: { "ingressclass.kubernetes.io/is-default-class": "true" } }, spec: { controller: "example.com/x" } });
  await kubectl("create ingress web --rule=a.example/=web:80");
  assert.equal(await kubectl("get ingress web -o jsonpath={.spec.ingressClassName}"), "usual");
  for (const [name, allowVolumeExpansion] of [["fixed", false], ["grows", true]] as const) {
    await api.client.create(resources.storageClasses, undefined, { metadata: { name }, provisioner: "p", allowVolumeExpansion });
    await api.client.create(resources.persistentVolumeClaims, "default", { metadata: { name }, spec: { storageClassName: name, accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } });
  }
  const grow = (name: string) => kubectl(`patch pvc ${name} -p {"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`);
  for (const name of ["fixed", "grows"]) await api.client.patch(resources.persistentVolumeClaims, "default", name, { status: { phase: "Bound" } }, { subresource: "status" });
  assert.equal(await grow("fixed"), 'Error from server (Forbidden): persistentvolumeclaims "fixed" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize');
  assert.equal(await grow("grows"), "persistentvolumeclaim/grows patched");
});

test("webhooks see exec, scale, eviction and binding as what they are", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { api, kubectl } = on;
  await using hooks = await startWebhookServer();
  hooks.on("/all", ({ operation, object, subResource }) => (operation === "CONNECT" || subResource === "eviction" ? { allowed: false, status: { code: 403, reason: "Forbidden", message: "not here" } } : subResource === "scale" ? { patch: [{ op: "replace", path: "/spec/replicas", value: object.spec.replicas + 1 }] } : {}));
  const rules = [{ operations: ["*"], apiGroups: ["*"], apiVersions: ["*"], resources: ["pods/exec", "pods/eviction", "pods/binding", "deployments/scale", "serviceaccounts/token"] }];
  await api.client.create({ group: "admissionregistration.k8s.io", version: "v1", resource: "mutatingwebhookconfigurations" }, undefined, { metadata: { name: "all" }, webhooks: [{ name: "all.test.example.com", clientConfig: { url: `${hooks.url}/all`, caBundle: hooks.caBundle }, rules, sideEffects: "None", admissionReviewVersions: ["v1"] }] });
  await kubectl("create -f -", pod("a", "default"));
  await api.client.create(resources.pods, "default", { target: { name: "n" }, metadata: { name: "a" } }, { name: "a", subresource: "binding" });
  assert.match(await kubectl("exec a -c app -- ls -l"), /admission webhook "all.test.example.com" denied the request: not here/);
  await assert.rejects(api.client.create(resources.pods, "default", { metadata: { name: "a" } }, { name: "a", subresource: "eviction" }), /denied the request: not here/);
  await kubectl("create deployment web --image=busybox --replicas=1");
  await kubectl("scale deployment web --replicas=3");
  assert.equal(await kubectl("get deployment web -o jsonpath={.spec.replicas}"), "4");
  assert.match(await kubectl("create token default"), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  // kubectl tries a WebSocket, then SPDY.
  assert.deepEqual(
    hooks.asked.filter((asked, index) => asked.request.operation !== "CONNECT" || hooks.asked[index - 1]?.request.operation !== "CONNECT").map(({ request }) => [request.operation, request.subResource, request.kind.kind, request.object.command ?? request.object.target?.name ?? request.object.spec?.replicas ?? null]),
    [["CREATE", "binding", "Binding", "n"], ["CONNECT", "exec", "PodExecOptions", ["ls", "-l"]], ["CREATE", "eviction", "Eviction", null], ["UPDATE", "scale", "Scale", 3], ["CREATE", "token", "TokenRequest", null]],
  );
});

test("kubectl drain keeps to the budget, and goes on when there is room again", async (t) => {
  const on = await cluster(t);
  if (!on) return;
  const { api, kubectl } = on;
  await api.client.create(resources.nodes, undefined, { metadata: { name: "n" } });
  for (const name of ["a", "b"]) {
    await kubectl("create -f -", { ...pod(name, "default", {}, { nodeName: "n" }), metadata: { name, namespace: "default", labels: { app: "web" } } });
    await api.client.patch(resources.pods, "default", name, { status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } }, { subresource: "status" });
  }
  await kubectl("create poddisruptionbudget web --selector=app=web --min-available=1");
  const allow = (disruptionsAllowed: number) => api.client.patch(resources.podDisruptionBudgets, "default", "web", { status: { observedGeneration: 1, disruptionsAllowed, currentHealthy: 1 + disruptionsAllowed, desiredHealthy: 1, expectedPods: 2 } }, { subresource: "status" });
  await allow(1);
  const output = await kubectl("drain n --force --grace-period=0 --timeout=2s");
  assert.match(output, /evicting pod default\/a/);
  assert.match(output, /error when evicting pods\/"[ab]" -n "default" \(will retry after 5s\): Cannot evict pod as it would violate the pod's disruption budget\./);
  assert.equal((await api.client.list(resources.pods, { namespace: "default" })).items.length, 1);
  await allow(1);
  assert.match(await kubectl("drain n --force --grace-period=0 --timeout=20s"), /node\/n drained/);
  assert.equal((await api.client.list(resources.pods, { namespace: "default" })).items.length, 0);
});
