import { basename, dirname, join, relative, resolve } from "node:path";
import { statSync } from "node:fs";
import type { Artifact } from "../../api/artifacts.ts";
import type { Client } from "../../api/client.ts";
import { createEventRecorder } from "../../api/events.ts";
import type { HttpClient } from "../../api/http-client.ts";
import { namedFiles } from "../../api/reload.ts";
import { StatusError } from "../../api/status.ts";
import { systemClock } from "../../base/clock.ts";
import { limits } from "../../base/limits.ts";
import type { ApplyRequest } from "../internal-apply.ts";
import { followUntilReady } from "../progress.ts";
import { applyManifests, forget, identityOf, judgeManifests, kindsOf, linkArtifacts, locate } from "../sources/apply-project.ts";
import type { Manifest } from "../sources/manifests.ts";
import { type Project, readProject } from "../sources/project.ts";
import { warmUp } from "./check.ts";
import { FolderWatch } from "./folder.ts";
import { dockerIgnore, isNoise } from "./ignore.ts";
import { Reloader, runByNode } from "./reloader.ts";

export interface WatchInput {
  client: Client;
  request: ApplyRequest;
  project: Project;
  say(line: string): void;
}

/** Lines that are never painted over: others are said between them. */
const appended = { write: (text: string) => process.stdout.write(text) };

/** What decides about objects and images, beside code. */
const configuration = /\.(ya?ml|json|env|properties|conf)$|(^|\/)(Dockerfile[^/]*|[^/]+\.[Dd]ockerfile|Kustomization|\.dockerignore)$/;

/** Watches the folders given to `up` until the parent is gone; `tell` says which. */
export function watchProject(input: WatchInput): { tell(): void; ended: Promise<void> } {
  const watching = new ProjectWatch(input);
  const folders = watching.start();
  const ended = new Promise<void>((done) => {
    process.once("disconnect", done);
    process.once("SIGTERM", done);
  }).then(() => watching.close());
  return {
    tell: () => input.say(`\nwatching ${folders.map((folder) => relative(process.cwd(), folder) || ".").join(", ")}: saved code is reloaded, changed manifests are applied`),
    ended,
  };
}

export class ProjectWatch {
  readonly #input: WatchInput;
  readonly #client: HttpClient;
  readonly #reloader: Reloader;
  #project: Project;
  #covers: { artifact: Artifact; covers(path: string): boolean; ignores(folder: string): boolean }[] = [];
  #watches: FolderWatch[] = [];
  /** Every file, or folder of a kustomization, that is or was a manifest. */
  readonly #manifests: Set<string>;
  /** Manifests and Dockerfiles with an error, and which. */
  #broken: ReadonlyMap<string, string> = new Map();
  /** Changes of manifests are worked off one after the other; code does not wait for them unless both changed at once. */
  #applying: Promise<void> = Promise.resolve();

  constructor(input: WatchInput) {
    this.#input = input;
    this.#client = input.client as HttpClient;
    this.#project = input.project;
    this.#manifests = new Set(input.project.manifests.map(({ file }) => resolve(file)));
    this.#reloader = new Reloader(this.#client, createEventRecorder(input.client, { component: "wherry-up", clock: systemClock }), input.say);
  }

  /** Gives the folders that are watched, with all below them. */
  start(): string[] {
    this.#cover();
    const roots = this.#roots();
    for (const root of roots) this.#watch(root);
    return roots;
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
  }

  #cover(): void {
    this.#covers = this.#project.artifacts.map((artifact) => {
      const ignored = dockerIgnore(artifact.context, artifact.dockerfile);
      return { artifact, covers: coverOf(artifact), ignores: (folder: string) => ignored.folder(relative(artifact.context, folder)) };
    });
  }

  /** Folders to watch, none inside another; a file that was given is watched by its folder. */
  #roots(): string[] {
    const { paths, links } = this.#input.request;
    const given = [...paths, ...links].map((path) => resolve(path)).map((path) => (statSync(path, { throwIfNoEntry: false })?.isDirectory() ? path : dirname(path)));
    const all = [...new Set([...given, ...this.#project.artifacts.map(({ context }) => context), ...this.#project.manifests.map(({ file }) => (statSync(file, { throwIfNoEntry: false })?.isDirectory() ? resolve(file) : dirname(resolve(file))))])];
    return all.filter((path) => !all.some((other) => path !== other && path.startsWith(`${other}/`)));
  }

  #watch(root: string): void {
    const watch = new FolderWatch({
      root,
      wants: (path, isFolder) => !isNoise(relative(root, path)) && (isFolder ? this.#concerns(path) : configuration.test(path) || this.#covers.some(({ covers }) => covers(path))),
      onTooMany: (folder) => this.#input.say(`${relative(process.cwd(), root) || "."} has more than ${limits.watchedFoldersMax} folders; ${relative(process.cwd(), folder)} and others are not watched. A .dockerignore leaves out what no program is made of`),
      onStir: () => runByNode(this.#project.artifacts) && warmUp(),
      onChange: (files) => void this.#changed(files).catch((error: unknown) => this.#input.say(`not brought up to date: ${(error as Error).message}`)),
      onPolling: (reason) => this.#input.say(`${relative(process.cwd(), root) || "."} is looked through twice a second: the kernel gives no more watches (${reason}); to lift it: sysctl fs.inotify.max_user_watches=524288`),
    });
    this.#watches.push(watch);
    watch.start();
  }

  /** A folder that every image leaves out is not entered, unless something that counts is in it. */
  #concerns(folder: string): boolean {
    const holders = this.#covers.filter(({ artifact }) => folder.startsWith(`${artifact.context}/`));
    if (holders.length === 0 || !holders.every(({ ignores }) => ignores(folder)) || holders.some(({ covers }) => covers(folder))) return true;
    const counts = [...this.#manifests, ...holders.flatMap(({ artifact }) => [artifact.dockerfile, ...artifact.mounts.map(({ contextPath }) => join(artifact.context, contextPath))])];
    return counts.some((path) => path === folder || path.startsWith(`${folder}/`)) || [...this.#manifests].some((path) => folder.startsWith(`${path}/`));
  }

  async #changed(files: string[]): Promise<void> {
    const before = this.#project.artifacts;
    const touched = new Map<Artifact, Set<string>>();
    const touch = (artifact: Artifact, named: readonly string[]) => {
      const set = touched.get(artifact) ?? new Set();
      for (const file of named) set.add(file);
      touched.set(artifact, set);
    };
    /** What changed itself (a Dockerfile) → what it was: pods run either. */
    const relinked = new Map<Artifact, Artifact>();
    const configurations = files.filter((file) => configuration.test(file));
    if (configurations.length > 0) {
      // Code that was saved together with a manifest is reloaded all the same when the manifest has an error.
      const applied = (this.#applying = this.#applying.then(() => this.#configure(configurations)));
      await applied;
      const same = (a: Artifact, b: Artifact) => a.image === b.image && a.tag === b.tag;
      for (const artifact of this.#project.artifacts) {
        const old = before.find((candidate) => same(candidate, artifact));
        if (!old || JSON.stringify(old) === JSON.stringify(artifact)) continue;
        for (const which of [old, artifact]) touch(which, configurations);
        relinked.set(artifact, old).set(old, artifact);
      }
    }
    const code = files.filter((file) => !this.#isManifest(file));
    for (const { artifact, covers } of this.#covers) {
      const mine = code.filter(covers);
      if (mine.length > 0) for (const which of [artifact, relinked.get(artifact)]) if (which) touch(which, mine);
    }
    // Artifacts that changed by the same files are one reload, so that a pod with two of them restarts once.
    const groups = new Map<string, { artifacts: Artifact[]; files: string[] }>();
    for (const [artifact, names] of touched) {
      const key = [...names].sort().join("\0");
      const group = groups.get(key) ?? { artifacts: [], files: [...names] };
      groups.set(key, group);
      group.artifacts.push(artifact);
    }
    await Promise.all([...groups.values()].map((group) => this.#reloader.changed(group.artifacts, group.files, group.artifacts.some((artifact) => relinked.has(artifact)))));
  }

  /** Copied into an image with all the rest (`COPY . .`), and still not what its program is made of. */
  #isManifest(file: string): boolean {
    return /(^|\/)skaffold\.ya?ml$/.test(file) || this.#manifests.has(file) || [...this.#manifests].some((folder) => file.startsWith(`${folder}/`));
  }

  /**
   * Reads the project anew and brings the stack up to what changed in it. Never rejects: of a file with an error nothing is
   * applied and what it said before goes on, and so does everything else.
   */
  async #configure(files: readonly string[]): Promise<void> {
    const { request, say } = this.#input;
    const shown = namedFiles(files.map((file) => relative(process.cwd(), file)));
    const began = performance.now();
    try {
      const broken = new Map<string, Error>();
      const next = readProject(request.paths, request.links, (file, error) => void broken.set(file, error));
      for (const [file, error] of await judgeManifests(this.#client, next.manifests, request.dataDir)) broken.set(file, error);
      const good = next.manifests.filter(({ file }) => !broken.has(file));
      next.artifacts.push(...this.#project.artifacts.filter(({ dockerfile }) => broken.has(dockerfile)));
      next.manifests = [...good, ...this.#project.manifests.filter(({ file }) => broken.has(file))];
      const gone = removed(this.#project.manifests, next.manifests);
      this.#tellBroken(broken);
      for (const file of broken.keys()) this.#manifests.add(file);
      if (JSON.stringify(next.artifacts) !== JSON.stringify(this.#project.artifacts)) {
        say(`${shown} changed`);
        await linkArtifacts(this.#client, next.artifacts);
      }
      this.#project = next;
      for (const manifest of next.manifests) this.#manifests.add(resolve(manifest.file));
      this.#cover();
      const workloads = await applyManifests(this.#client, good, request.dataDir, { changedOnly: true, before: () => say(`${shown} changed:`), refused: (error) => say(`not applied: ${error.message}`) });
      await this.#forget(gone);
      // Code goes on being reloaded while a workload rolls out.
      if (workloads.length > 0) void followUntilReady(this.#client, workloads, appended).then((ready) => ready && say(`Ready in ${((performance.now() - began) / 1000).toFixed(1)} s`), () => {});
    } catch (error) {
      say(`${shown} changed, and nothing of it was applied: ${(error as Error).message}`);
    }
  }

  /** Each error once, and that it is gone. */
  #tellBroken(broken: ReadonlyMap<string, Error>): void {
    for (const [file, { message }] of broken) if (this.#broken.get(file) !== message) this.#input.say(`not applied: ${shorten(message)}`);
    for (const file of this.#broken.keys()) if (!broken.has(file)) this.#input.say(`${shorten(file)} has no error any more`);
    this.#broken = new Map([...broken].map(([file, { message }]) => [file, message]));
  }

  async #forget(gone: readonly Manifest[]): Promise<void> {
    const { request, say } = this.#input;
    if (gone.length === 0) return;
    const kinds = await kindsOf(this.#client, gone);
    const located = gone.map((manifest) => locate(manifest, kinds));
    forget(located, request.dataDir);
    for (const { manifest, shown, namespace, resource } of located) {
      const holdsData = holders.has(manifest.object.kind);
      if (!request.prune || holdsData) {
        const how = request.prune ? "is never pruned, because of what it holds" : "start `up` with --prune to have that done";
        say(`${shown} is in no manifest any more and goes on; to delete it: kubectl delete ${shown}${namespace === undefined ? "" : ` -n ${namespace}`} (${how})`);
        continue;
      }
      try {
        await this.#client.delete(resource, namespace, manifest.object.metadata.name, { propagationPolicy: "Background" });
        say(`${shown} pruned`);
      } catch (error) {
        say(error instanceof StatusError && error.code === 404 ? `${shown} was deleted already` : `${shown} not pruned: ${(error as Error).message}`);
      }
    }
  }
}

/** A branch without a manifest, checked out for a moment, must not cost anybody a database. */
const holders = new Set(["Namespace", "PersistentVolumeClaim", "PersistentVolume", "CustomResourceDefinition"]);

/** Paths as people see them from where they are. */
const shorten = (text: string) => text.replaceAll(`${process.cwd()}/`, "");

/** What stood in a manifest before and stands in none now. */
function removed(before: readonly Manifest[], now: readonly Manifest[]): Manifest[] {
  const present = new Set(now.map(identityOf));
  return before.filter((manifest) => !present.has(identityOf(manifest)));
}

/** Whether a file is part of what an artifact's program sees, and no .dockerignore leaves it out. */
export function coverOf(artifact: Artifact): (path: string) => boolean {
  const ignored = dockerIgnore(artifact.context, artifact.dockerfile);
  const sources = artifact.mounts.map(({ contextPath }) => join(artifact.context, contextPath)).filter((source) => !isNoise(relative(artifact.context, source)));
  return (path) => {
    const inside = relative(artifact.context, path);
    if (inside.startsWith("..") || path === artifact.dockerfile || basename(path) === ".dockerignore" || isNoise(inside)) return false;
    const source = sources.find((candidate) => path === candidate || path.startsWith(candidate.endsWith("/") ? candidate : `${candidate}/`));
    if (source === undefined) return false;
    // A folder that is copied by its name is meant, though a .dockerignore names it: a skipped RUN line makes it here (dist).
    const named = relative(artifact.context, source);
    return !ignored.file(inside) || (named !== "" && ignored.file(named));
  };
}
