import { createHash } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, join, posix } from "node:path";
import type { Artifact } from "../../api/artifacts.ts";
import type { Mount } from "../sandbox/sandbox.ts";
import type { Image } from "./image.ts";

/** An image that is a folder of this machine: what its Dockerfile says, with the folder in the place of its copies. */
export function artifactImage(artifact: Artifact, asked: string): Image {
  const notices: Image["notices"][number][] = [];
  const tagOf = (tag: string) => (tag === "" ? "" : `:${tag}`);
  if (artifact.tag !== "" && asked !== `${artifact.image}${tagOf(artifact.tag)}`) {
    notices.push({ type: "Normal", reason: "AnyTagLinked", message: `No artifact is linked as ${JSON.stringify(asked)}; running the live folder linked as ${JSON.stringify(`${artifact.image}${tagOf(artifact.tag)}`)}, whatever the tag says` });
  }
  if (artifact.skippedRun.length > 0) {
    notices.push({ type: "Normal", reason: "RunSkipped", message: `Not executed, its results are looked for in ${artifact.context}: ${artifact.skippedRun.map((line) => `RUN ${line}`).join("; ")}`.slice(0, 1000) });
  }
  // Where Wherry is root, pods are other users of the machine.
  if (process.getuid?.() === 0 && ((statSync(artifact.context, { throwIfNoEntry: false })?.mode ?? 0) & 0o005) !== 0o005) {
    notices.push({ type: "Warning", reason: "FolderUnreadable", message: `Pods run as users of their own and cannot read ${artifact.context}: chmod -R o+rX ${artifact.context}` });
  }
  const mounts = layMounts(artifact);
  const holdsCode = (path: string) => mounts.some(({ target }) => target === path || below(target, path));
  for (const path of artifact.volumes.filter(holdsCode)) notices.push({ type: "Warning", reason: "VolumeHoldsCode", message: `VOLUME ${path} holds the live folder ${artifact.context}, which is never written; name the folder below it that the program writes to` });
  return {
    id: `wherry://${artifact.image}@sha256:${createHash("sha256").update(JSON.stringify(artifact)).digest("hex")}`,
    entrypoint: artifact.entrypoint,
    cmd: artifact.cmd,
    env: artifact.env,
    workingDir: artifact.workingDir,
    user: artifact.user,
    users: artifact.users,
    mounts,
    volumes: artifact.volumes.filter((path) => !holdsCode(path)),
    stopSignal: (artifact.stopSignal || "SIGTERM") as NodeJS.Signals,
    notices,
  };
}

/**
 * The mounts that put the live folder where the image has its copies. A copied file stands for its whole folder,
 * because what a skipped RUN would have made beside it (node_modules) lies there. A folder under another mount
 * needs a place to be mounted at; where the live folder has none, its entries are mounted one by one instead.
 */
export function layMounts(artifact: Pick<Artifact, "context" | "mounts">): Mount[] {
  const sources = new Map<string, string>();
  const put = (imagePath: string, contextPath: string) => {
    const target = posix.normalize(imagePath).replace(/(?<=.)\/$/, "");
    if (!sources.has(target)) sources.set(target, join(artifact.context, contextPath));
  };
  for (const { imagePath, contextPath } of artifact.mounts) put(imagePath, contextPath);
  for (const { imagePath, contextPath } of artifact.mounts) {
    const folder = posix.dirname(imagePath);
    // /usr/local/bin/tool ← tool says nothing about /usr/local/bin.
    if (isFile(join(artifact.context, contextPath)) && basename(imagePath) === basename(contextPath) && !/^\/($|usr|bin|sbin|lib|etc|opt$|home$|var$|tmp$|srv$)/.test(folder)) put(folder, dirname(contextPath));
  }
  // Parents first; an entry that its parent shows anyway is dropped.
  const laid = new Map<string, string>();
  for (const [target, source] of [...sources].sort(([a], [b]) => depth(a) - depth(b) || (a < b ? -1 : 1))) {
    if (!existsSync(source)) continue;
    const parent = [...laid.keys()].filter((path) => below(target, path)).sort((a, b) => b.length - a.length)[0];
    if (parent !== undefined) {
      const shown = join(laid.get(parent)!, posix.relative(parent, target));
      if (shown === source) continue;
      if (!existsSync(shown)) spread(laid, parent, target);
    }
    if (target === "/") for (const name of readdirSync(source)) laid.set(`/${name}`, join(source, name));
    else laid.set(target, source);
  }
  return [...laid].map(([target, source]) => ({ kind: "bind", source, target, readOnly: true }));
}

/**
 * The mounts of an image with a place for another one at `target`: where it lies in a live folder that has nothing
 * there, the folder is mounted by its entries, since nothing may be made in it.
 */
export function makeRoom(mounts: readonly Mount[], target: string): Mount[] {
  const outer = mounts.filter((mount) => below(target, mount.target)).sort((a, b) => b.target.length - a.target.length)[0];
  if (!outer?.readOnly || outer.source === undefined || liveFolder(mounts, target) !== undefined || isFile(outer.source)) return [...mounts];
  // What is mounted already keeps its place.
  const laid = new Map(mounts.map((mount) => [mount.target, mount.source ?? ""]));
  spread(laid, outer.target, target);
  const others = mounts.filter((mount) => mount !== outer);
  for (const { target: path } of mounts) laid.delete(path);
  return [...others, ...[...laid].map(([path, source]): Mount => ({ kind: "bind", source, target: path, readOnly: true }))];
}

/** What a live folder shows at a path of the image; undefined: nothing. */
export function liveFolder(mounts: readonly Mount[], path: string): string | undefined {
  const outer = mounts.filter((mount) => below(path, mount.target)).sort((a, b) => b.target.length - a.target.length)[0];
  const shown = outer?.source === undefined ? undefined : join(outer.source, posix.relative(outer.target, path));
  return shown !== undefined && existsSync(shown) ? shown : undefined;
}

/** Replaces a folder's mount by mounts of its entries, down the way to `target`. */
function spread(laid: Map<string, string>, folder: string, target: string): void {
  const source = laid.get(folder)!;
  laid.delete(folder);
  for (const name of readdirSync(source)) {
    const path = posix.join(folder, name);
    // A link that leads nowhere cannot be mounted.
    if (laid.has(path) || !existsSync(join(source, name))) continue;
    laid.set(path, join(source, name));
    if (below(target, path) && !isFile(join(source, name))) spread(laid, path, target);
  }
}

const depth = (path: string) => path.split("/").length;
const below = (path: string, folder: string) => path !== folder && path.startsWith(folder === "/" ? "/" : `${folder}/`);
const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
