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
  return {
    id: `wherry://${artifact.image}@sha256:${createHash("sha256").update(JSON.stringify(artifact)).digest("hex")}`,
    entrypoint: artifact.entrypoint,
    cmd: artifact.cmd,
    env: artifact.env,
    workingDir: artifact.workingDir,
    user: artifact.user,
    users: artifact.users,
    mounts: layMounts(artifact),
    volumes: [],
    stopSignal: (artifact.stopSignal || "SIGTERM") as NodeJS.Signals,
    notices,
  };
}

/**
 * The mounts that put the live folder where the image has its copies. A copied file stands for its whole folder,
 * because what a skipped RUN would have made beside it (node_modules) lies there. A folder under another mount
 * needs a place to be mounted at; where the live folder has none, its entries are mounted one by one instead.
 */
export function layMounts(artifact: Pick<Artifact, "context" | "mounts" | "writable">): Mount[] {
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
  return [...laid].map(([target, source]) => ({ kind: "bind", source, target, readOnly: !artifact.writable }));
}

/** Replaces a folder's mount by mounts of its entries, down the way to `target`. */
function spread(laid: Map<string, string>, folder: string, target: string): void {
  const source = laid.get(folder)!;
  laid.delete(folder);
  for (const name of readdirSync(source)) {
    const path = posix.join(folder, name);
    if (laid.has(path)) continue;
    laid.set(path, join(source, name));
    if (below(target, path) && target !== path) spread(laid, path, target);
  }
}

const depth = (path: string) => path.split("/").length;
const below = (path: string, folder: string) => path !== folder && path.startsWith(folder === "/" ? "/" : `${folder}/`);
const isFile = (path: string) => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
