import type { Client } from "../api/client.ts";
import { Informers } from "../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import type { Kind } from "../api/kind.ts";
import type { KindRegistry } from "../api/registry.ts";
import { resources } from "../api/resources.ts";
import type { MeshAuthority } from "../api/x509/mesh-authority.ts";
import type { Clock } from "../base/clock.ts";
import type { Component } from "../base/lifecycle.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { HorizontalAutoscaler } from "./autoscaling/autoscaler.ts";
import type { RawGet } from "./autoscaling/metrics.ts";
import { bootstrap } from "./bootstrap.ts";
import { Certificates } from "./certificates/serving.ts";
import type { CertificateOptions } from "./certificates/running.ts";
import { certificateCleaner, certificateSigner, type SignCertificate } from "./certificates/signer.ts";
import { clusterRoleAggregationController } from "./cluster-role-aggregation/plan.ts";
import { cronJobController } from "./cronjob/plan.ts";
import { daemonSetController } from "./daemonset/plan.ts";
import { deploymentController } from "./deployment/plan.ts";
import { disruptionController } from "./disruption.ts";
import { eventExpiryController } from "./event-expiry.ts";
import { GarbageCollector } from "./garbage/collector.ts";
import { jobOrphanController } from "./job/orphans.ts";
import { jobController } from "./job/plan.ts";
import { finishedJobController } from "./job/ttl.ts";
import { MeshIdentity } from "./mesh/identity.ts";
import { podCertificateCleaner } from "./mesh/pod-certificates.ts";
import { rootCertificateName } from "./mesh/root-certificate.ts";
import { rootCaController, rootCaName, serviceAccountController } from "./namespace/defaults.ts";
import { namespaceController } from "./namespace/namespace.ts";
import { nodeController } from "./node/lifecycle.ts";
import { podGarbageController } from "./node/pod-gc.ts";
import { quotaController } from "./quota/quota.ts";
import { replicaSetController } from "./replicaset.ts";
import { replicationController } from "./replication/plan.ts";
import { type Controller, Runner, type RunnerCounters } from "./runner.ts";
import { schedulerController } from "./scheduler/scheduler.ts";
import { endpointsController } from "./service/endpoints.ts";
import { endpointSliceController } from "./service/endpointslice.ts";
import { statefulSetController } from "./statefulset/plan.ts";
import { unservedControllers } from "./unserved.ts";
import { claimController } from "./volume/claim.ts";
import { ephemeralVolumeController } from "./volume/ephemeral.ts";
import { Snapshots } from "./volume/snapshot/serving.ts";
import { plainStorage, type VolumeStorage } from "./volume/storage.ts";
import { VerticalAutoscaling } from "./vpa/vertical.ts";
import { claimProtectionController, volumeController } from "./volume/volume.ts";

export interface ControllersOptions {
  client: Client;
  /** The kinds that are served: what a namespace may hold and the garbage collector must watch. */
  registry: KindRegistry;
  clock: Clock;
  random: Random;
  log: Log;
  /** Where the folders of local volumes lie: one per volume, named as it is. */
  volumesDir: string;
  /** Removes the folder of a volume that is reclaimed. Default: with all that is in it, from the disk. */
  removeVolume?: (name: string) => Promise<void>;
  /** Who makes, copies and removes the folders of volumes; without it nothing is copied, so that there are no snapshots. */
  storage?: VolumeStorage;
  /** PEM, for the ConfigMap `kube-root-ca.crt` of every namespace. */
  rootCa: string;
  /** Signs for the signers of `kubernetes.io`; without it, nobody does. */
  signCertificate?: SignCertificate;
  /** The authority that signs for ClusterIssuers which this machine cannot have; made at first need. Without it there are no cert-manager certificates. */
  localAuthority?: CertificateOptions["authority"];
  /** Signs for programs of the mesh; without it they get no certificates. */
  meshAuthority?: Promise<MeshAuthority>;
  /** Answers ACME servers; without it they are not spoken to. */
  challengeSolver?: NonNullable<CertificateOptions["solver"]>;
  /** GET of what foreign API servers serve: custom and external metrics. */
  rawGet?: RawGet;
  /** Names of controllers that do not run. For test environments: without "scheduler" pods stay where they are put. */
  withoutControllers?: readonly string[];
}

const storageOf = (options: ControllersOptions): VolumeStorage => options.storage ?? plainStorage(options.volumesDir, options.removeVolume);

/** To add a controller: write one file, add one line. */
function listControllers(options: ControllersOptions): Controller[] {
  return [
    deploymentController,
    replicaSetController,
    statefulSetController,
    daemonSetController,
    replicationController,
    jobController,
    jobOrphanController,
    finishedJobController,
    cronJobController,
    disruptionController,
    schedulerController,
    endpointSliceController,
    endpointsController,
    serviceAccountController,
    rootCaController(options.rootCa),
    namespaceController(() => contentsOf(options.registry)),
    claimController(storageOf(options)),
    volumeController((name) => storageOf(options).removeVolume(name)),
    claimProtectionController,
    ephemeralVolumeController,
    nodeController(options.clock.now()),
    podGarbageController,
    quotaController(() => contentsOf(options.registry)),
    eventExpiryController,
    clusterRoleAggregationController,
    ...(options.signCertificate ? [certificateSigner(options.signCertificate, (object) => options.client.update(resources.certificateSigningRequests, undefined, object.metadata.name, object, { subresource: "status", fieldManager: "kube-controller-manager" }))] : []),
    certificateCleaner,
    podCertificateCleaner,
    ...unservedControllers,
  ];
}

export interface Controllers extends Component {
  /** By controller: what it did, and how many keys wait. */
  counters(): Record<string, RunnerCounters & { depth: number }>;
}

/** Creates what every cluster has, fills the caches, then runs all controllers until stopped. */
export function startControllers(options: ControllersOptions): Controllers {
  const { client, registry, clock, random } = options;
  const log = options.log.child("controllers");
  // What may be large, and is not read here: of a ConfigMap's data only that of the root certificates.
  const metadataOnly = ({ group, resource }: GroupVersionResource) => group === "apiextensions.k8s.io" || (group === "" && (resource === "secrets" || (resource === "configmaps" && (({ metadata }: KubeObject) => metadata.name !== rootCaName && metadata.name !== rootCertificateName))));
  const informers = new Informers({ client, clock, random, log, metadataOnly });
  const run = (definition: Controller): Runner => new Runner(definition, { client, informers, clock, random, log, fieldManager: definition === schedulerController ? "kube-scheduler" : "kube-controller-manager" });
  const runners = listControllers(options).filter(({ name }) => !options.withoutControllers?.includes(name)).map(run);
  const snapshots = new Snapshots({ client, informers, storage: storageOf(options), log, run });
  const kindOf = (apiVersion: string, name: string) => {
    const [group, version] = apiVersion.includes("/") ? (apiVersion.split("/") as [string, string]) : ["", apiVersion];
    const kind = registry.byKind(group, version, name);
    return kind && { resource: resourceOf(kind), kind: kind.kind, namespaced: kind.scope === "Namespaced", scalable: kind.scale !== undefined };
  };
  const collector = new GarbageCollector({ client, informers, kindOf, clock, random, log: log.child("garbage-collector") });
  const autoscaler = new HorizontalAutoscaler({ client: options.client, informers, kindOf, clock, random, log: log.child("horizontal-pod-autoscaler"), ...(options.rawGet && { rawGet: options.rawGet }) });
  const vertical = new VerticalAutoscaling({ client, informers, kindOf, clock, random, log: log.child("vertical-pod-autoscaler") });
  const certificates = options.localAuthority && new Certificates({ client, informers, clock, random, log: log.child("certificates"), authority: options.localAuthority, ...(options.challengeSolver && { solver: options.challengeSolver }) });
  const mesh = options.meshAuthority && new MeshIdentity({ client, informers, run, authority: options.meshAuthority });
  const collected = new Map<string, GroupVersionResource>();
  /** Kinds come and go with their CustomResourceDefinitions. */
  const collect = (start: boolean) => {
    const served = new Map(preferred(registry).filter(isCollected).map((kind) => [`${kind.group}/${kind.version}/${kind.resource}`, resourceOf(kind)]));
    for (const [name, resource] of collected) {
      if (served.has(name)) continue;
      collected.delete(name);
      collector.forget(resource);
      void informers.drop(resource);
    }
    for (const [name, resource] of served) {
      if (collected.has(name)) continue;
      collected.set(name, resource);
      collector.observe(resource);
      if (start) informers.for(resource).start();
    }
    vertical.served(served.has("autoscaling.k8s.io/v1/verticalpodautoscalers"));
    if (start) snapshots.served((kind) => served.has(kind));
    if (start) certificates?.served((kind) => served.has(kind));
  };
  let unsubscribe = () => {};

  return {
    name: "controllers",
    async start() {
      collect(false);
      await Promise.all([bootstrap(client), informers.start()]);
      unsubscribe = registry.onChange(() => collect(true));
      // What bootstrap defined, and what others did meanwhile.
      collect(true);
      for (const runner of runners) runner.start();
      collector.start();
      autoscaler.start();
      mesh?.start();
    },
    async stop(deadline) {
      unsubscribe();
      const late = new Promise<void>((resolve) => (deadline.aborted ? resolve() : deadline.addEventListener("abort", () => resolve(), { once: true })));
      const drained = Promise.all([...runners.map((runner) => runner.stop()), collector.stop(), autoscaler.stop(), vertical.stop(), snapshots.stop(), certificates?.stop(), mesh?.stop()]).then(() => informers.stop());
      await Promise.race([drained, late]);
    },
    counters: () => Object.fromEntries(runners.map((runner) => [runner.name, { ...runner.counters, depth: runner.depth }])),
  };
}

const resourceOf = ({ group, version, resource }: Kind): GroupVersionResource => ({ group, version, resource });

/** Each stored resource once, in its preferred version; views of another resource hold nothing of their own. */
function preferred(registry: KindRegistry): Kind[] {
  const kinds = new Map<string, Kind>();
  for (const kind of registry.all()) if (!kind.storedAs && !kinds.has(`${kind.group}/${kind.resource}`)) kinds.set(`${kind.group}/${kind.resource}`, kind);
  return [...kinds.values()];
}

/** What can be listed, watched and deleted. Events own nothing and are owned by nothing; they would only cost. */
const isCollected = (kind: Kind): boolean => !kind.storedAs && (["list", "watch", "delete"] as const).every((verb) => kind.verbs.includes(verb)) && kind.resource !== "events";

/** Namespaced resources, for emptying a namespace; Events too. */
const contentsOf = (registry: KindRegistry): GroupVersionResource[] =>
  preferred(registry)
    .filter((kind) => kind.scope === "Namespaced" && (isCollected(kind) || (kind.resource === "events" && kind.group === "")))
    .map(resourceOf);
