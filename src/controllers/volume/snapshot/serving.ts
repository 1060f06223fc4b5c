import type { Client } from "../../../api/client.ts";
import type { Informers } from "../../../api/informer.ts";
import { resources } from "../../../api/resources.ts";
import { snapshotGroup, type VolumeSnapshot, volumeSnapshotClasses, volumeSnapshotContents, volumeSnapshots } from "../../../api/snapshot/types.ts";
import { StatusError } from "../../../api/status.ts";
import type { PersistentVolumeClaim } from "../../../api/types.ts";
import type { Log } from "../../../base/log.ts";
import { claimsOfVolume, keyOf, planClaim, unboundClaims } from "../claim.ts";
import { isOfSnapshot, referenceOf } from "../data-source.ts";
import { driverName } from "../names.ts";
import type { VolumeStorage } from "../storage.ts";
import { type Controller, controller, type Runner } from "../../runner.ts";
import { snapshotContentController } from "./content.ts";
import { snapshotController } from "./snapshot.ts";

const kinds = [volumeSnapshots, volumeSnapshotContents, volumeSnapshotClasses];

/** Claims that are made of snapshots: as others, and woken by snapshots. */
const restoreController = (storage: VolumeStorage): Controller =>
  controller<PersistentVolumeClaim>({
    name: "persistentvolume-controller",
    for: resources.persistentVolumeClaims,
    watches: [
      { resource: resources.persistentVolumes, keys: claimsOfVolume },
      { resource: volumeSnapshots, keys: (snapshot: VolumeSnapshot, cache) => unboundClaims(cache).filter((claim) => isOfSnapshot(claim) && claim.metadata.namespace === snapshot.metadata.namespace && referenceOf(claim)!.name === snapshot.metadata.name).map(keyOf) },
    ],
    reads: [resources.storageClasses, volumeSnapshotContents],
    plan: ({ object, cache }) => (isOfSnapshot(object) ? planClaim(object, cache, storage) : { actions: [] }),
  });

export interface SnapshotOptions {
  client: Client;
  informers: Informers;
  storage: VolumeStorage;
  log: Log;
  run(definition: Controller): Runner;
}

/** The controllers of snapshots, while their definitions are there: who owns the stack may take them away, and bring others. */
export class Snapshots {
  readonly #options: SnapshotOptions;
  #runners: Runner[] | undefined;
  #count = 0;

  constructor(options: SnapshotOptions) {
    this.#options = options;
  }

  /**
   * `has` says whether a kind ("group/version/resource") is served. They begin when all are, and end with the last: while
   * definitions are deleted one by one, what is left of their objects waits for its finalizers.
   */
  served(has: (kind: string) => boolean): void {
    const count = kinds.filter(({ group, version, resource }) => has(`${group}/${version}/${resource}`)).length;
    if (count === this.#count) return;
    this.#count = count;
    if (count === 0) void this.stop();
    if (count < kinds.length) return;
    // A kind that came back has another informer.
    void this.stop();
    const { informers, storage, run, log } = this.#options;
    const runners = [snapshotController, snapshotContentController(storage), restoreController(storage)].map(run);
    this.#runners = runners;
    // Who has not seen all snapshots yet would take a content for nobody's.
    const seen = Promise.all(kinds.map((kind) => informers.for(kind).synced));
    void seen.then(() => this.#runners === runners && runners.forEach((runner) => runner.start()), () => {});
    void this.#defaultClass().catch((error: unknown) => log.warn("the default VolumeSnapshotClass was not created", { error }));
  }

  async #defaultClass(): Promise<void> {
    const object = { apiVersion: `${snapshotGroup}/v1`, kind: "VolumeSnapshotClass", metadata: { name: "standard", annotations: { "snapshot.storage.kubernetes.io/is-default-class": "true" } }, driver: driverName, deletionPolicy: "Delete" };
    await this.#options.client.create(volumeSnapshotClasses, undefined, object, { fieldManager: "kube-apiserver" }).catch((error: unknown) => {
      if (!(error instanceof StatusError && error.reason === "AlreadyExists")) throw error;
    });
  }

  async stop(): Promise<void> {
    const runners = this.#runners ?? [];
    this.#runners = undefined;
    await Promise.all(runners.map((runner) => runner.stop()));
  }
}
