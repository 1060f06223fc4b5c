import { chmodSync, constants, existsSync, mkdirSync, realpathSync } from "node:fs";
import { cp, mkdir, rm } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { quantityValue } from "../../api/quantity.ts";
import type { Container, PersistentVolume, Pod, Volume } from "../../api/types.ts";
import type { Timer } from "../../base/clock.ts";
import { ContainerError, formatPod, type NodeContext } from "../context.ts";
import { expand } from "../env/expand.ts";
import type { PodGroups } from "../pod/groups.ts";
import type { Mount } from "../sandbox/sandbox.ts";
import { writePayload } from "./atomic.ts";
import { giveTree, makeFolder, openBelow, type Owner } from "./open.ts";
import { PodCertificates } from "./certificate.ts";
import { volumePayload } from "./payload.ts";
import { PodTokens } from "./token.ts";

type VolumeMount = NonNullable<Container["volumeMounts"]>[number];

interface Mounted {
  /** Folder (or file) on this machine; undefined for memory. */
  path: string | undefined;
  /** Written by the agent only: pods see it read-only, and it is renewed when its objects change. */
  generated: boolean;
  /** Nothing in it may be created for a subPath. */
  readOnly: boolean;
  /** The pod owns what it makes in it. */
  owned: boolean;
  sizeBytes?: number;
  /** `path` is empty on the machine: the sandbox mounts memory there, for all containers of the pod. */
  inMemory?: { sizeBytes?: number; group?: number };
  identity?: string;
}

/** The volumes of one pod: set up before its sandbox, renewed while it lives, gone with it. */
export class PodVolumes {
  readonly #ctx: NodeContext;
  readonly #dir: string;
  /** What the agent writes lies in memory: tokens and secrets never touch the disk, and a start waits for none. */
  readonly #generatedDir: string;
  /** Of what is the pod's alone; undefined where Wherry gives nothing away. */
  readonly #own: Owner | undefined;
  /** Of volumes that a group of the pod shares (fsGroup). */
  readonly #owner: Owner | undefined;
  readonly #mounted = new Map<string, Mounted>();
  readonly #tokens: PodTokens;
  readonly #certificates: PodCertificates;
  #pod: Pod;
  #renewal: Timer | undefined;
  #refreshing: Promise<void> = Promise.resolve();

  constructor(ctx: NodeContext, pod: Pod, dir: string, hostUid: number, groups: PodGroups = []) {
    this.#ctx = ctx;
    this.#pod = pod;
    this.#dir = join(dir, "volumes");
    this.#generatedDir = join(ctx.sandbox.scratch, "volumes", pod.metadata.uid);
    this.#own = ctx.root ? { uid: hostUid, gid: hostUid, shared: false } : undefined;
    const { fsGroup } = pod.spec?.securityContext ?? {};
    const group = groups.find(({ inside }) => inside === fsGroup);
    this.#owner = group && this.#own ? { ...this.#own, gid: group.host, shared: true } : this.#own;
    this.#tokens = new PodTokens(ctx, pod);
    this.#certificates = new PodCertificates(ctx, pod);
  }

  /** The pod's labels or annotations may have changed: downward API files follow at the next refresh. */
  update(pod: Pod): void {
    this.#pod = pod;
  }

  /** Sets up all volumes. Throws ContainerError("FailedMount") with kubelet's text for the first that cannot be. */
  async mount(): Promise<void> {
    for (const volume of this.#pod.spec!.volumes ?? []) {
      try {
        this.#mounted.set(volume.name, await this.#setUp(volume));
      } catch (error) {
        throw new ContainerError("FailedMount", `MountVolume.SetUp failed for volume ${JSON.stringify(volume.name)} : ${(error as Error).message}`);
      }
    }
    this.#scheduleRenewal();
  }

  async #setUp(volume: Volume): Promise<Mounted> {
    const generated = await volumePayload(volume, this.#payloadInput);
    if (generated) {
      const path = join(this.#generatedDir, volume.name);
      await this.#makeGeneratedDir();
      mkdirSync(path, { recursive: true, mode: 0o755 });
      writePayload(path, generated, this.#ctx.clock.now(), this.#owner);
      return { path, generated: true, readOnly: true, owned: false };
    }
    const path = join(this.#dir, volume.name);
    if (volume.emptyDir) {
      const { sizeLimit } = volume.emptyDir;
      const size = sizeLimit === undefined ? 0 : quantityValue(String(sizeLimit));
      if (volume.emptyDir.medium === "Memory" && this.#ctx.sandbox.mode === "isolated") {
        await makeFolder(path, 0o700, undefined);
        return { path, generated: false, readOnly: false, owned: true, inMemory: { ...(size > 0 && { sizeBytes: size }), ...(this.#owner?.shared && { group: this.#owner.gid }) } };
      }
      // In plain mode memory is of one container; where several share the volume, a folder does what they need.
      if (volume.emptyDir.medium === "Memory" && this.#usersOf(volume.name) <= 1) return { path: undefined, generated: false, readOnly: false, owned: true, ...(size > 0 && { sizeBytes: size }) };
      await makeFolder(path, 0o777, this.#owner);
      if (this.#owner) await giveTree(path, this.#owner);
      return { path, generated: false, readOnly: false, owned: true };
    }
    if (volume.persistentVolumeClaim) return await this.#claim(volume.persistentVolumeClaim.claimName, volume.persistentVolumeClaim.readOnly ?? false);
    if (volume.ephemeral) return await this.#claim(`${this.#pod.metadata.name}-${volume.name}`, false);
    if (volume.hostPath) return await this.#hostPath(volume.hostPath.path, volume.hostPath.type ?? "");
    throw new Error(`volumes of type ${Object.keys(volume).find((key) => key !== "name") ?? "(none)"} are not supported here`);
  }

  /** The pod's own: in plain mode nothing but its mode keeps other pods out. */
  async #makeGeneratedDir(): Promise<void> {
    const parent = dirname(this.#generatedDir);
    if (mkdirSync(parent, { recursive: true, mode: 0o711 }) !== undefined) chmodSync(parent, 0o711);
    await makeFolder(this.#generatedDir, 0o700, this.#own);
  }

  #usersOf(volume: string): number {
    const { initContainers = [], containers } = this.#pod.spec!;
    return [...initContainers, ...containers].filter((container) => container.volumeMounts?.some(({ name }) => name === volume)).length;
  }

  async #claim(name: string, readOnly: boolean): Promise<Mounted> {
    const claim = await this.#ctx.objects.claim(this.#pod.metadata.namespace!, name);
    if (!claim) throw new Error(`persistentvolumeclaim ${JSON.stringify(name)} not found`);
    const volumeName = claim.spec?.volumeName;
    const volume = volumeName && claim.status?.phase === "Bound" ? await this.#ctx.objects.volume(volumeName) : undefined;
    if (!volume) throw new Error(`persistentvolumeclaim ${JSON.stringify(name)} is not bound`);
    const path = volumePath(volume);
    if (path === undefined) throw new Error(`persistentvolume ${JSON.stringify(volumeName)} names no folder of this machine (hostPath or local)`);
    const own = join(this.#ctx.dataDir, "volumes");
    if (!isBelow(own, path)) {
      if (volume.spec?.local && this.#owner?.shared) this.#ctx.event(this.#pod, "Warning", "NotHonoured", `fsGroup in volume ${JSON.stringify(volumeName)}: ${path} is a folder of yours, which keeps its owners`);
      return await this.#hostPath(path, "");
    }
    await makeFolder(path, 0o777, this.#owner);
    // Its last user may have been another uid; a database wants to own its files.
    if (this.#owner) await giveTree(path, this.#owner, this.#owner.shared && this.#pod.spec!.securityContext?.fsGroupChangePolicy !== "OnRootMismatch");
    return { path, generated: false, readOnly, owned: true };
  }

  /** A folder or file of the user's, below those given to `up`, reached without following links in them. */
  async #hostPath(path: string, type: string): Promise<Mounted> {
    const root = this.#ctx.hostPathRoots.map((folder) => realpathSync(folder)).find((folder) => isBelow(folder, path));
    if (root === undefined) throw new Error(`hostPath ${path} lies outside of the folders given to "wherry up"${this.#ctx.hostPathRoots.length > 0 ? ` (${this.#ctx.hostPathRoots.join(", ")})` : ""}`);
    const below = relative(root, resolve(path));
    const opened = await openBelow(root, below, { create: type === "DirectoryOrCreate" ? "folder" : type === "FileOrCreate" ? "file" : undefined }).catch((error: NodeJS.ErrnoException) => {
      throw error.code === "ENOENT" ? new Error(`hostPath type check failed: ${path} does not exist`) : error;
    });
    const wanted = type.startsWith("Directory") ? "directory" : type.startsWith("File") ? "file" : type === "" ? undefined : "unsupported";
    if (wanted === "unsupported") throw new Error(`hostPath type ${type} is not supported here`);
    if (wanted && (wanted === "directory") !== opened.isDirectory) throw new Error(`hostPath type check failed: ${path} is not a ${wanted}`);
    return { path: opened.path, generated: false, readOnly: false, owned: false, identity: opened.identity };
  }

  /** What the sandbox mounts once for the pod. */
  get inMemory(): { path: string; sizeBytes?: number; group?: number }[] {
    return [...this.#mounted.values()].flatMap(({ path, inMemory }) => (inMemory ? [{ path: path!, ...inMemory }] : []));
  }

  /** What a container mounts at one place. Throws ContainerError("CreateContainerConfigError"). */
  async source(mount: VolumeMount, env: Readonly<Record<string, string>>): Promise<Mount> {
    const volume = this.#mounted.get(mount.name);
    if (!volume) throw new ContainerError("CreateContainerConfigError", `cannot find volume ${JSON.stringify(mount.name)} to mount into container`);
    const readOnly = (mount.readOnly ?? false) || volume.readOnly;
    const target = mount.mountPath.replace(/(?<=.)\/+$/, "");
    if ((volume.path === undefined || volume.inMemory) && (mount.subPath || mount.subPathExpr)) throw new ContainerError("CreateContainerConfigError", `volume ${JSON.stringify(mount.name)} is memory: it has no subPath`);
    if (volume.path === undefined) {
      return { kind: "tmpfs", target, readOnly, ...(volume.sizeBytes !== undefined && { sizeBytes: volume.sizeBytes }) };
    }
    let subPath = mount.subPath ?? "";
    if (mount.subPathExpr) {
      const missing: string[] = [];
      subPath = expand(mount.subPathExpr, (name) => {
        if (!(name in env)) missing.push(name);
        return env[name];
      });
      if (missing.length > 0) throw new ContainerError("CreateContainerConfigError", `missing value for ${JSON.stringify(missing[0])}`);
    }
    if (subPath === "") return { kind: "bind", source: volume.path, target, readOnly, ...(volume.identity !== undefined && { identity: volume.identity }) };
    // Behind `..data` of a generated volume lies what only the agent wrote: the file itself is bound, and so does
    // not follow later changes, as in Kubernetes.
    const base = volume.generated ? realpathSync(join(volume.path, "..data")) : volume.path;
    try {
      const opened = await openBelow(base, subPath, { create: volume.generated || volume.readOnly ? undefined : "folder", ...(volume.owned && this.#owner && { owner: this.#owner }) });
      return { kind: "bind", source: opened.path, identity: opened.identity, target, readOnly };
    } catch (error) {
      throw new ContainerError("CreateContainerConfigError", `failed to prepare subPath for volumeMount ${JSON.stringify(mount.name)} of pod ${formatPod(this.#pod)}: ${(error as Error).message}`);
    }
  }

  /** A folder for what an image declares as VOLUME; lives as long as the pod. Its first content is what the image has there. */
  async anonymous(container: string, target: string, first?: string): Promise<Mount> {
    const path = join(this.#dir, `.image-${container}`, target.replaceAll("/", "_"));
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (first !== undefined && !existsSync(path)) await cp(first, path, { recursive: true, verbatimSymlinks: true, mode: constants.COPYFILE_FICLONE });
    await makeFolder(path, 0o777, this.#own);
    if (this.#own) await giveTree(path, this.#own);
    return { kind: "bind", source: path, target, readOnly: false };
  }

  get #payloadInput() {
    return { pod: this.#pod, objects: this.#ctx.objects, hostIP: this.#ctx.hostIP, tokens: this.#tokens, certificates: this.#certificates };
  }

  /** Brings generated volumes up to date; what cannot be read now keeps its last content. */
  refresh(): Promise<void> {
    this.#refreshing = this.#refreshing.then(async () => {
      for (const volume of this.#pod.spec!.volumes ?? []) {
        const mounted = this.#mounted.get(volume.name);
        if (!mounted?.generated) continue;
        try {
          const payload = await volumePayload(volume, this.#payloadInput);
          if (payload) writePayload(mounted.path!, payload, this.#ctx.clock.now(), this.#owner);
        } catch (error) {
          this.#ctx.event(this.#pod, "Warning", "FailedMount", `MountVolume.SetUp failed for volume ${JSON.stringify(volume.name)} : ${(error as Error).message}`);
        }
      }
      this.#scheduleRenewal();
    });
    return this.#refreshing;
  }

  #scheduleRenewal(): void {
    this.#renewal?.cancel();
    const atMs = Math.min(this.#tokens.renewAtMs, this.#certificates.renewAtMs);
    // Never in a tight loop, whatever life the API gave the token.
    if (atMs < Infinity) this.#renewal = this.#ctx.clock.setTimer(Math.max(1000, atMs - this.#ctx.clock.now()), () => void this.refresh());
  }

  /** Generated volumes (tokens, secrets) leave the disk; what the pod wrote stays until its object goes. */
  async unmount(): Promise<void> {
    this.#renewal?.cancel();
    this.#certificates.stop();
    await this.#refreshing;
    for (const [name, { generated }] of this.#mounted) if (generated) this.#mounted.delete(name);
    await rm(this.#generatedDir, { recursive: true, force: true });
  }
}

/** Where a persistent volume lies on this machine. */
export function volumePath(volume: PersistentVolume): string | undefined {
  return volume.spec?.local?.path ?? volume.spec?.hostPath?.path;
}

function isBelow(folder: string, path: string): boolean {
  const way = relative(folder, resolve(path));
  return way === "" || (!way.startsWith("..") && !way.startsWith("/"));
}
