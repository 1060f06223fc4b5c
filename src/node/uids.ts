import { createHash } from "node:crypto";
import { resources, systemNamespace } from "../api/resources.ts";
import { controllerOf } from "../api/meta.ts";
import { StatusError } from "../api/status.ts";
import type { ConfigMap, Pod } from "../api/types.ts";
import { Backoff } from "../base/backoff.ts";
import type { Claim } from "../base/claimed-name.ts";
import { delay } from "../base/clock.ts";
import { WherryError } from "../base/errors.ts";
import type { NodeContext, Uids } from "./context.ts";

/** The uids that the pod network's user namespace maps; the first is the data plane's. */
const range = { first: 100_100, last: 165_500 } as const;
/** More than a stack's pods, a few groups and the remembered places: hardly any stack needs a second block. */
const blockSize = 600;
const blockCount = Math.floor((range.last - range.first + 1) / blockSize);
const configMapName = "wherry-uids";
/** Places without a pod that are remembered: Jobs come and go under ever new names. Forgetting one costs a chown. */
const freePlacesMax = 500;
/** Holds the places of groups, which many pods may use. */
const groupHolder = "-";

/**
 * One uid of the machine for each pod, sticky per namespace, workload and place in it, so that the next pod of a
 * StatefulSet's ordinal (or of a Deployment's one replica) finds its volume its own. Kept in ConfigMap
 * `wherry-uids` of `wherry-system`: place → "uid holder"; losing it costs a chown, nothing else.
 *
 * Who may signal whom goes by the uid alone where pods have no process namespace of their own (plain mode as root), and the
 * uids are one range for all stacks of a machine: each claims a block of them, the one that its data directory's name chooses
 * or the next that nobody has, and gives out no other. Only root gives pods uids, and only there is anything to claim.
 */
export class UidAllocator implements Uids {
  readonly #ctx: Pick<NodeContext, "client" | "clock" | "log" | "dataDir">;
  readonly #claim: (name: string) => Promise<Claim | undefined>;
  readonly #places = new Map<string, { uid: number; holder: string }>();
  /** Pods that use a group, by its place. */
  readonly #groupUsers = new Map<string, Set<string>>();
  /** Those that are ours alone, by number. */
  readonly #blocks = new Map<number, Claim>();
  #isGrowing = false;
  #saving = false;
  #dirty = false;

  constructor(ctx: Pick<NodeContext, "client" | "clock" | "log" | "dataDir">, claim: (name: string) => Promise<Claim | undefined>) {
    this.#ctx = ctx;
    this.#claim = claim;
  }

  /** To be called before all else. */
  async claim(): Promise<void> {
    if (!(await this.#grow())) throw new WherryError("TOO_MANY_STACKS", `all ${blockCount} blocks of user ids for pods belong to other stacks on this machine`);
  }
  /** To be called when no pod is left. */
  releaseAll(): void {
    for (const claim of this.#blocks.values()) claim.release();
    this.#blocks.clear();
  }

  async #grow(): Promise<boolean> {
    const chosen = createHash("sha256").update(this.#ctx.dataDir).digest().readUInt32LE(0) % blockCount;
    for (let n = 0; n < blockCount; n++) {
      const block = (chosen + n) % blockCount;
      if (this.#blocks.has(block)) continue;
      const claim = await this.#claim(`wherry-uids-${block}`);
      if (!claim) continue;
      this.#blocks.set(block, claim);
      return true;
    }
    return false;
  }

  /** Reads what was given out before; pods that are gone no longer hold their places. */
  async load(livePods: ReadonlySet<string>): Promise<void> {
    const saved = await this.#ctx.client.get<ConfigMap>(resources.configMaps, systemNamespace, configMapName).catch((error: unknown) => {
      if (error instanceof StatusError && error.code === 404) return undefined;
      throw error;
    });
    for (const [place, text] of Object.entries(saved?.data ?? {})) {
      const [uid = "", holder = ""] = text.split(" ");
      // Another stack's by now, perhaps: the next pod there gets a uid of ours, and its volume with it.
      if (this.#blocks.has(Math.floor((Number(uid) - range.first) / blockSize))) this.#places.set(place, { uid: Number(uid), holder: livePods.has(holder) ? holder : "" });
    }
  }

  acquire(pod: Pod): number {
    const holder = pod.metadata.uid;
    const { workload, ordinal } = placeOf(pod);
    for (const [place, entry] of this.#places) if (entry.holder === holder && place.startsWith(`${workload}.`)) return entry.uid;
    for (let slot = ordinal ?? 0; ; slot++) {
      const place = `${workload}.${slot}`;
      const entry = this.#places.get(place);
      // A StatefulSet's ordinal is its own even while the one before is still ending; they share the volume too.
      if (entry && entry.holder !== "" && ordinal === undefined) continue;
      const uid = entry?.uid ?? this.#freeUid();
      this.#places.set(place, { uid, holder });
      this.#save();
      return uid;
    }
  }

  group(pod: Pod, gid: number): number {
    const place = `${pod.metadata.namespace}.Group.${gid}`;
    const users = this.#groupUsers.get(place) ?? new Set();
    this.#groupUsers.set(place, users.add(pod.metadata.uid));
    const known = this.#places.get(place);
    if (known?.holder) return known.uid;
    const uid = known?.uid ?? this.#freeUid();
    // Whose it is matters to nobody, but it is somebody's.
    this.#places.set(place, { uid, holder: groupHolder });
    this.#save();
    return uid;
  }

  release(pod: Pod): void {
    for (const [place, users] of this.#groupUsers) {
      if (!users.delete(pod.metadata.uid) || users.size > 0) continue;
      this.#groupUsers.delete(place);
      const { uid } = this.#places.get(place)!;
      this.#places.delete(place);
      this.#places.set(place, { uid, holder: "" });
    }
    const held = [...this.#places].find(([, { holder }]) => holder === pod.metadata.uid);
    if (held) {
      // Behind all others: what has been free the longest is forgotten first.
      this.#places.delete(held[0]);
      this.#places.set(held[0], { ...held[1], holder: "" });
    }
    const free = [...this.#places].filter(([, { holder }]) => holder === "");
    for (const [place] of free.slice(0, Math.max(0, free.length - freePlacesMax))) this.#places.delete(place);
    this.#save();
  }

  #freeUid(): number {
    const taken = new Set([...this.#places.values()].map(({ uid }) => uid));
    const held = [...this.#places.values()].filter(({ holder }) => holder !== "").length;
    // In good time: pods cannot wait for a claim.
    if (held > (this.#blocks.size * blockSize) / 2 && !this.#isGrowing) {
      this.#isGrowing = true;
      void this.#grow()
        .catch((error: unknown) => this.#ctx.log.warn("no further block of uids", { error }))
        .finally(() => (this.#isGrowing = false));
    }
    for (const block of this.#blocks.keys()) {
      const first = range.first + block * blockSize;
      for (let uid = first; uid < first + blockSize; uid++) if (!taken.has(uid)) return uid;
    }
    // Every uid was given out once: a place that nobody holds gives up its own.
    for (const [place, { uid, holder }] of this.#places) {
      if (holder !== "") continue;
      this.#places.delete(place);
      return uid;
    }
    throw new Error("no uid is free for another pod");
  }

  #save(): void {
    this.#dirty = true;
    if (!this.#saving) void this.#write();
  }
  async #write(): Promise<void> {
    const retry = new Backoff(200, 10_000);
    this.#saving = true;
    while (this.#dirty) {
      this.#dirty = false;
      const object = {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: configMapName, namespace: systemNamespace },
        data: Object.fromEntries([...this.#places].map(([place, { uid, holder }]) => [place, `${uid} ${holder}`.trim()])),
      };
      try {
        await this.#ctx.client.update(resources.configMaps, systemNamespace, configMapName, object).catch(async (error: unknown) => {
          if (!(error instanceof StatusError) || error.code !== 404) throw error;
          await this.#ctx.client.create(resources.configMaps, systemNamespace, object);
        });
      } catch (error) {
        this.#ctx.log.debug("uids not saved", { error });
        this.#dirty = true;
        await delay(this.#ctx.clock, retry.next());
      }
    }
    this.#saving = false;
  }
}

/** Which workload a pod belongs to, and its ordinal if it has one. Keys of a ConfigMap: no "/". */
export function placeOf(pod: Pod): { workload: string; ordinal: number | undefined } {
  const { namespace, name, labels } = pod.metadata;
  const owner = controllerOf(pod);
  const hash = labels?.["pod-template-hash"];
  const base = !owner ? name : owner.kind === "ReplicaSet" && hash && owner.name.endsWith(`-${hash}`) ? owner.name.slice(0, -hash.length - 1) : owner.name;
  const ordinal = owner?.kind === "StatefulSet" ? /-(\d+)$/.exec(name)?.[1] : undefined;
  return { workload: `${namespace}.${owner?.kind ?? "Pod"}.${base}`.slice(0, 240), ordinal: ordinal === undefined ? undefined : Number(ordinal) };
}
