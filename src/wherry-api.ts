import { Socket } from "node:net";
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ApiOptions, NetworkFacts } from "./api-process.ts";
import { strategies } from "./api/kinds/index.ts";
import type { EdgeBinding, HostAddress, NetSnapshot } from "./api/network.ts";
import type { NodeAccess } from "./api/node.ts";
import { createBuiltinRegistry } from "./api/registry.ts";
import { resources, systemNamespace } from "./api/resources.ts";
import type { MeshAccount } from "./api/mesh-identity.ts";
import type { MeshAuthority } from "./api/x509/mesh-authority.ts";
import type { TrafficPatch } from "./api/traffic.ts";
import { ChallengeRoutes } from "./proxy/challenges.ts";
import type { Pod } from "./api/types.ts";
import { Aggregator } from "./apiserver/aggregation/aggregator.ts";
import { createApi } from "./apiserver/api.ts";
import { issuer, Tokens } from "./apiserver/authn/tokens.ts";
import { Rbac } from "./apiserver/authz/rbac.ts";
import { registerReviews } from "./apiserver/authz/reviews.ts";
import { loadCustomKinds } from "./apiserver/crd/definitions.ts";
import { Fairness } from "./apiserver/fairness/fairness.ts";
import { type ApiServer, createApiServer } from "./apiserver/http/server.ts";
import { serveMetrics } from "./apiserver/metrics/metrics.ts";
import { moveServices, publishOwnAddress } from "./apiserver/own-address.ts";
import { makeFakeCertificate } from "./apiserver/certificate.ts";
import { kubeconfigFor, openFrontProxy, openPki } from "./apiserver/pki.ts";
import { systemIdentity } from "./apiserver/rest/context.ts";
import type { Client } from "./api/client.ts";
import type { ApiObject } from "./api/product/kinds.ts";
import { Channel, type Endpoint, type RawHandle } from "./base/channel.ts";
import { systemClock } from "./base/clock.ts";
import { WherryError } from "./base/errors.ts";
import { writeFilesAtomic } from "./base/files.ts";
import { lazyModule } from "./base/lazy.ts";
import { createLog } from "./base/log.ts";
import { collectWhenQuiet } from "./base/quiet-collector.ts";
import { systemRandom } from "./base/random.ts";
import { socketPath } from "./base/socket-path.ts";
import { createFirstObjects, fillFirstObjects, loadFirstObjects } from "./first-objects.ts";
import { serveCopies } from "./store/copy-server.ts";
import { openSqliteStore, prepareSqliteStore } from "./store/sqlite-store.ts";
import { type HealthReport, healthConfigMap, healthReportsMax } from "./api/traffic-health.ts";
import type { RuleCount } from "./policy/tally.ts";
import type { QuotaCount } from "./policy/quotas/counters.ts";
import type { TransformingJournal } from "./store/transform.ts";

const localAuthorities = lazyModule<typeof import("./api/x509/local-authority.ts")>(import.meta.url, "./api/x509/local-authority.ts");

export { makeFirstObjects } from "./first-objects.ts";

/** What `wherry api document` prints. */
export const documentInCluster = async (client: Client, api: ApiObject, stage: string): Promise<object> => (await import("./proxy/product/portal-in-cluster.ts")).documentInCluster(client, api, stage);

/**
 * The `wherry-api` process: store → API server → controllers → snapshot compiler. `wherry` tells it what to serve
 * and hands it listening handles; it ends when the channel to `wherry` does.
 */
export async function runApi(): Promise<void> {
  // Plain mode opens the data directory's door a crack for pods: what this process writes stays its own.
  process.umask(0o077);
  prepareSqliteStore();
  // `wherry` still finds out what the machine can give: time to load what every start needs.
  setImmediate(() => {
    loadFirstObjects();
    loadCustomKinds();
  });
  const channel = new Channel(process as unknown as Endpoint);
  const log = createLog("wherry-api");
  const handles: RawHandle[] = [];
  let server: ApiServer | undefined;
  let shutdown: () => Promise<void> = async () => {};
  let report: (addresses: HostAddress[]) => void = () => {};
  let addresses: HostAddress[] = [];
  let bound: (bindings: EdgeBinding[]) => void = () => {};
  let edgeBindings: EdgeBinding[] = [];
  let quitting = false;
  let learned: (facts: NetworkFacts) => void = () => {};
  const network = new Promise<NetworkFacts>((resolve) => (learned = resolve));
  let openedMesh: (authority: MeshAuthority) => void = () => {};
  const mesh = new Promise<MeshAuthority>((resolve) => (openedMesh = resolve));
  const quit = async (code: number) => {
    if (quitting) return;
    quitting = true;
    await shutdown().catch((error: unknown) => log.error("stopping", { error }));
    process.exit(code);
  };

  channel.on("api/listen", (_: unknown, handle) => {
    handles.push(handle!);
    server?.listen(handle!);
  });
  channel.on("net/edge-bindings", (list: EdgeBinding[]) => bound((edgeBindings = list)));
  channel.on("net/addresses", (list: HostAddress[]) => report((addresses = list)));
  channel.on("api/network", (facts: NetworkFacts) => learned(facts));
  channel.on("mesh/identity", async (account: MeshAccount) => ({ body: (await import("./proxy/mesh/issue-identity.ts")).issueIdentity(await mesh, account) }));
  channel.on("api/stop", () => void quit(0));
  process.once("disconnect", () => void quit(0));
  process.on("SIGTERM", () => void quit(0));
  channel.on("api/start", async (options: ApiOptions) => {
    try {
      await start(options);
      return { body: {} };
    } catch (error) {
      if (error instanceof WherryError) return { body: { error: { code: error.code, message: error.message } } };
      throw error;
    }
  });

  async function start(options: ApiOptions): Promise<void> {
    const { dataDir, serviceNetwork, gatewayIP, access = {} } = options;
    const clock = systemClock;
    const random = systemRandom;
    const registry = createBuiltinRegistry(strategies);
    // A store that lost its thread cannot say what is durable: this process ends, and the next one reads the disk.
    const encryption = access.encryption === undefined ? undefined : await import("./apiserver/encryption/encryption.ts");
    let transforming: TransformingJournal | undefined;
    const opening = openSqliteStore({ dataDir, log: log.child("store"), clock, ...(encryption && { transform: new encryption.Encryption(access.encryption!), onTransforming: (journal) => (transforming = journal) }), onFatal: (error) => (log.error("the store failed", { error }), process.exit(71)) });
    const opened = openPki(dataDir, { nowMs: clock.now(), addresses: ["10.244.0.1", "127.96.0.1", "127.97.0.1", `${serviceNetwork}0.1`, gatewayIP] });
    // At the same time, for the disk's sake.
    const frontProxy = openFrontProxy(dataDir, clock.now());
    for (const keys of [opened, frontProxy]) keys.catch(() => {}); // whoever waits for them hears of it
    // What a new store begins with becomes durable while the keys do.
    const store = await opening;
    const filling = fillFirstObjects(store, clock.now());
    const [pki, isNew] = await Promise.all([opened, filling]);
    if (transforming) encryption!.reportStale(transforming, log.child("encryption"));
    const following = transforming && access.encryptionReload ? encryption!.followEncryptionFile({ file: access.encryption!, journal: transforming, clock, log: log.child("encryption") }) : undefined;
    await moveServices(store, serviceNetwork);
    const tokens = new Tokens({ store, clock, key: pki.serviceAccountKey });
    const issuers = access.authentication === undefined ? undefined : (await import("./apiserver/authn/oidc/follow.ts")).followAuthentication(tokens, { file: access.authentication, clock, log: log.child("authentication"), ownIssuers: [issuer] });
    const rbac = new Rbac(store);
    rbac.start();
    const node = nodeAccess(dataDir, (key) => client.get<Pod>(resources.pods, key.namespace, key.name).catch(() => undefined));
    const api = createApi({ store, registry, clock, random, log: log.child("api"), serviceNetwork, issueToken: (account, request, annotations) => tokens.issue(account, request, annotations), dialPod: node.dial });
    registerReviews(api, rbac, tokens);
    serveMetrics(api, node.usage);
    const client = api.client(systemIdentity("controllers"), "kube-controller-manager");

    const aggregator = new Aggregator({ api, client, clock, random, log: log.child("aggregator"), dialPod: node.dial, frontProxy: () => frontProxy, clientCa: pki.ca });
    const fairness = new Fairness(store, clock);
    fairness.start();
    const audit = access.auditPolicy === undefined ? undefined : (await import("./apiserver/audit/audit.ts")).openAudit(access.auditPolicy, { file: access.auditLog ?? join(dataDir, "audit.log"), clock, log: log.child("audit"), registry, ...(access.auditRotation && { rotation: access.auditRotation }) });
    // What every cluster has is there before anybody is answered.
    if (isNew) await aggregator.start();
    else await createFirstObjects(client, aggregator);
    server = createApiServer({ api, aggregator, ...(audit && { audit: audit.audit }), fairness, pki, tokens, rbac, random, log: log.child("http"), node, address: options.apiUrl.replace("https://", "") });
    for (const handle of handles) server.listen(handle);
    await server.listenLocal(socketPath(dataDir, "api.sock"));
    const copies = await serveCopies(socketPath(dataDir, "store.sock"), store, log.child("copies"));
    await writeFilesAtomic(new Map([[join(dataDir, "kubeconfig"), kubeconfigFor({ name: options.name, url: options.apiUrl, ca: pki.ca, ...pki.admin })]]));

    fairness.report(client);

    const challenges = new ChallengeRoutes((patch: TrafficPatch) => channel.notify("net/traffic", patch));
    // Loaded when somebody is answered already; while it is not there, nobody gets an identity, and the log says why.
    const meshAuthority = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => (await import("./api/x509/mesh-authority.ts")).openMeshAuthority({ client, clock, random, log: log.child("mesh-authority") }));
    meshAuthority.catch((error: unknown) => log.error("the mesh's certificate authority was not opened", { error }));
    void meshAuthority.then((authority) => {
      openedMesh(authority);
      channel.notify("mesh/roots", authority.rootsPem);
      authority.onRootsChange((roots) => channel.notify("mesh/roots", roots));
    }, () => {});
    // The API answers; what moves things comes after.
    let stopControllers = async () => {};
    const filled = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      const { startControllers } = await import("./controllers/index.ts");
      const volumesDir = join(dataDir, "volumes");
      mkdirSync(volumesDir, { recursive: true });
      chmodSync(volumesDir, 0o711); // pods pass through to the one folder that is theirs
      const { VolumeFolders } = await import("./node/volumes/folders.ts");
      const storage = new VolumeFolders({ folder: volumesDir, clock, pause: async (claim) => (await import("./node/streams/client.ts")).pauseClaim(socketPath(dataDir, "agent.sock"), claim) });
      const controllers = startControllers({ meshAuthority, localAuthority: () => localAuthorities().localAuthority(dataDir, clock.now()), challengeSolver: challenges, storage, client, registry, clock, random, log, volumesDir, rootCa: pki.ca, signCertificate: (wish) => pki.sign(wish), rawGet: (path) => aggregator.get(path) });
      stopControllers = () => controllers.stop(AbortSignal.timeout(2_000));
      await controllers.start();
    });
    filled.catch((error: unknown) => {
      log.error("the controllers did not start", { error });
      void quit(70);
    });
    void Promise.all([network, filled]).then(([facts]) => serveNetwork(facts)).catch((error: unknown) => log.error("the pod network is not served", { error }));

    let stopNetwork = async () => {};
    let writing = Promise.resolve();
    async function serveNetwork({ mode, gatewayIP, reserved }: NetworkFacts): Promise<void> {
    await publishOwnAddress(client, { gatewayIP, port: 6443, serviceNetwork });
    const { startServiceCompiler } = await import("./proxy/services.ts");
    const { startLoadBalancerStatus } = await import("./proxy/load-balancer-status.ts");
    const compiler = startServiceCompiler({ client, clock, random, log: log.child("services"), reserved, publish: (snapshot: NetSnapshot) => channel.notify("net/snapshot", snapshot) });
    const { startGateways } = await import("./proxy/gateway/start.ts");
    const gateways = startGateways({ client, clock, random, log: log.child("gateways"), publish: challenges.pass, inForce: () => channel.request("net/in-force"), usage: async (prefix) => (await channel.request<QuotaCount[]>("net/quota-counts", prefix)).body, ruleCounts: async (share) => (await channel.request<RuleCount[]>("net/rule-counts", share)).body, purge: async (cache, prefix) => (await channel.request<number>("net/empty-cache", { cache, prefix })).body });
    const { startIngresses } = await import("./proxy/ingress/start.ts");
    const ingresses = startIngresses({ client, clock, random, log: log.child("ingresses"), fakeCertificate: () => makeFakeCertificate(clock.now()), publish: challenges.pass });
    const { startIstio } = await import("./proxy/istio/start.ts");
    const istio = startIstio({ client, clock, random, log: log.child("istio"), publish: challenges.pass, definitions: gateways.definitions, isEnforced: mode === "isolated", inForce: () => channel.request("net/in-force") });
    bound = (bindings) => {
      challenges.bound(bindings);
      gateways.bound(bindings);
      ingresses.bound(bindings);
      publishAddresses();
    };
    bound(edgeBindings);
    const loadBalancers = startLoadBalancerStatus({ client, clock, random, log: log.child("load-balancers") });
    report = (list) => {
      loadBalancers.report(list);
      publishAddresses();
    };
    report(addresses);
    stopNetwork = async () => {
      await compiler.stop();
      await gateways.stop();
      await ingresses.stop();
      await istio.stop();
      await loadBalancers.stop();
    };

    // What `wherry route explain` says of endpoints that are checked.
    channel.on("net/health", (reports: HealthReport[]) => publish(healthConfigMap, { endpoints: JSON.stringify(reports.slice(0, healthReportsMax)) }));
    channel.notify("net/health-again");

    // What `wherry status` prints.
    function publishAddresses(): void {
      publish("wherry-addresses", { addresses: JSON.stringify(addresses), edges: JSON.stringify(edgeBindings) });
    }
    // Written in turn, the last state always.
    function publish(name: string, data: Record<string, string>): void {
      const of = { metadata: { name, namespace: systemNamespace }, data };
      writing = writing.then(() => client.update(resources.configMaps, systemNamespace, name, of).catch(() => client.create(resources.configMaps, systemNamespace, of))).then(
        () => {},
        (error: unknown) => log.warn("what the data plane says was not published", { name, error }),
      );
    }
    }

    const stopCollecting = collectWhenQuiet(clock);
    shutdown = async () => {
      stopCollecting();
      await server!.close();
      copies.close();
      await stopNetwork();
      await filled.catch(() => {});
      await stopControllers();
      void meshAuthority.then((authority) => authority.close(), () => {});
      aggregator.close();
      fairness.close();
      rbac.close();
      api.close();
      following?.close();
      issuers?.close();
      await store.close();
      await audit?.close();
    };
  }

  /** Logs from the files, exec and attach from the agent's socket, connections from the data plane through `wherry`. */
  function nodeAccess(dataDir: string, podOf: (key: { namespace: string; name: string }) => Promise<Pod | undefined>): Required<NodeAccess> {
    let streams: Promise<Pick<Required<NodeAccess>, "exec" | "attach" | "usage">> | undefined;
    const agent = () => (streams ??= import("./node/streams/client.ts").then(({ createStreamClient }) => createStreamClient(socketPath(dataDir, "agent.sock"))));
    let reader: Promise<Pick<NodeAccess, "logs">> | undefined;
    const logs = () => (reader ??= import("./node/logs/read.ts").then(({ createLogReader }) => createLogReader({ dataDir, podOf })));
    return {
      logs: async (pod, request) => (await logs()).logs(pod, request),
      exec: async (pod, request) => (await agent()).exec(pod, request),
      attach: async (pod, request) => (await agent()).attach(pod, request),
      usage: async () => (await agent()).usage(),
      async dial(key, port) {
        const ip = (await podOf(key))?.status?.podIP;
        if (!ip) throw new Error(`pod ${key.name} has no address yet`);
        const { handle } = await channel.request("net/dial", { ip, port });
        return new Socket({ handle: handle as never, readable: true, writable: true } as never);
      },
    };
  }
}
