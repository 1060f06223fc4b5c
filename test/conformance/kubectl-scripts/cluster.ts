import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resources } from "../../../src/api/resources.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { silentLog } from "../../../src/base/log.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { startControllers } from "../../../src/controllers/index.ts";
import { startApi, type TestApi } from "../../harness-api.ts";

/**
 * What kubectl's own scripts are written for: an API server and the controllers, but no scheduler and no node agent.
 * Pods stay Pending, and the one node, 127.0.0.1, is an object that nobody stands behind. `admin-token` may do all.
 */
export interface ScriptCluster extends AsyncDisposable {
  readonly server: TestApi;
  readonly port: number;
  readonly kubeconfig: string;
  /** The server's own identity in a new namespace, as upstream's script tests have it. */
  scriptKubeconfig(): Promise<string>;
}

const users = new Map(Object.entries({ "admin-token": "admin", "loopback-token": "system:apiserver" }).map(([token, name]) => [token, { name, groups: ["system:masters", "system:authenticated"] }]));
// As hack/make-rules/test-cmd.sh of Kubernetes has them; the steps have upstream's names. And ours, which keeps pods from
// the machine: no pod runs there, and the suites of `kubectl debug` are about what kubectl asks for.
const withoutAdmission = ["ServiceAccount", "DefaultStorageClass", "DefaultTolerationSeconds", "StorageObjectInUseProtection", "PodRefusals"];

/** `controllers` and the admission that is left out are as test-cmd.sh has them; the newer scripts have the API server alone. */
export async function startScriptCluster({ controllers: running = true } = {}): Promise<ScriptCluster> {
  const server = await startApi({ aggregation: true, alwaysAllow: running, api: { serviceNetwork: "10.0.", withoutAdmission: running ? withoutAdmission : [] } });
  server.tokens.structured = { authenticate: async (token) => users.get(token), mayBeAnonymous: undefined };
  const volumesDir = join(server.folder, "volumes");
  mkdirSync(volumesDir);
  const controllers = startControllers({
    client: server.client,
    registry: server.api.registry,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    volumesDir,
    rootCa: server.pki.ca,
    signCertificate: (wish) => server.pki.sign(wish),
    withoutControllers: ["default-scheduler"],
  });
  if (running) await controllers.start();
  // Upstream's server has the authorizer AlwaysAllow, which also says so when it is asked for rules.
  await server.client.create(resources.clusterRoleBindings, undefined, { metadata: { name: "always-allow" }, subjects: [{ kind: "Group", apiGroup: "rbac.authorization.k8s.io", name: "system:authenticated" }], roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" } });
  if (running) {
    // What a stack brings with it and a bare cluster has not.
    await server.client.delete(resources.storageClasses, undefined, "standard");
    const { items } = await server.client.list(resources.customResourceDefinitions);
    for (const { metadata } of items) await server.client.delete(resources.customResourceDefinitions, undefined, metadata.name);
  }
  await server.client.create(resources.nodes, undefined, { metadata: { name: "127.0.0.1", annotations: { "save-managers": "true" } }, status: { capacity: { memory: "1Gi" } } });
  await server.client.create(resources.services, "default", { metadata: { name: "kubernetes" }, spec: { clusterIP: "10.0.0.1", ports: [{ name: "https", port: 443, targetPort: 6443 }] } });
  const port = Number(new URL(server.url).port);
  const kubeconfigOf = (token: string, namespace: string) => {
    const file = join(server.folder, `${token}.kubeconfig`);
    const contexts = [{ name: "test", context: { cluster: "local", user: "test-admin", namespace } }];
    const users = [{ name: "test-admin", user: { token } }];
    const clusters = [{ name: "local", cluster: { server: server.url, "insecure-skip-tls-verify": true } }];
    writeFileSync(file, JSON.stringify({ apiVersion: "v1", kind: "Config", clusters, users, contexts, "current-context": "test" }));
    return file;
  };
  return {
    server,
    port,
    kubeconfig: kubeconfigOf("admin-token", "default"),
    async scriptKubeconfig() {
      await server.client.create(resources.namespaces, undefined, { metadata: { name: "scripts" } });
      await server.client.create(resources.serviceAccounts, "scripts", { metadata: { name: "default" } });
      return kubeconfigOf("loopback-token", "scripts");
    },
    async [Symbol.asyncDispose]() {
      if (running) await controllers.stop(AbortSignal.timeout(2_000));
      await server[Symbol.asyncDispose]();
    },
  };
}
