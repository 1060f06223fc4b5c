import { lstatSync, mkdirSync, readdirSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { checkMountTarget, isBelow } from "./mount-policy.ts";
import { type ContainerSpec, type Mount, SandboxRefusal } from "./sandbox.ts";

/** Where every pod finds its API token; a program that needs it in plain mode reads the folder from this variable. */
const tokenFolder = "/run/secrets/kubernetes.io/serviceaccount";
export const tokenVariable = "WHERRY_SERVICEACCOUNT";

/**
 * Plain mode has no mounts: a folder of links stands for the pod's files, and paths in the program's words and variables
 * are rewritten to lie in it. A mount whose path is mentioned nowhere could only be meant literally by the program, which
 * cannot be had here, so the pod is refused instead of running without its files.
 */
export interface PlainTree {
  root: string;
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  /** Rewrites a word of a later exec in the same way. */
  rewrite(word: string): string;
}

export function makePlainTree(root: string, spec: ContainerSpec): PlainTree {
  mkdirSync(join(root, "tmp"), { recursive: true });
  const mounts = spec.mounts.map((mount) => ({ ...mount, target: checkMountTarget(mount.target) })).sort((a, b) => a.target.split("/").length - b.target.split("/").length);
  for (const mount of mounts) place(root, mount, mounts);
  const targets = new Set(mounts.map((mount) => mount.target));
  const workingDir = spec.workingDir === "/" ? undefined : spec.workingDir;
  if (workingDir && !targets.has(workingDir) && !isBelow(workingDir, "/usr")) {
    if (!mounts.some((mount) => isBelow(workingDir, mount.target))) mkdirSync(join(root, workingDir), { recursive: true });
    targets.add(workingDir);
  }
  if (spec.homeDir !== "/" && !targets.has(spec.homeDir) && !mounts.some((mount) => isBelow(spec.homeDir, mount.target))) {
    mkdirSync(join(root, spec.homeDir), { recursive: true });
    targets.add(spec.homeDir);
  }
  // Longest first, so that /app/data is not taken for /app with something after it.
  const sorted = [...targets].sort((a, b) => b.length - a.length);
  const mentioned = new Set<string>();
  const pattern = sorted.length === 0 ? undefined : new RegExp(`(?<![\\w./-])(?:/var(?=/run/))?(${sorted.map((target) => target.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})(?=$|[/\\s:;,'"=)&|<>])`, "g");
  const rewrite = (word: string) => (pattern ? word.replace(pattern, (_, target: string) => (mentioned.add(target), join(root, target))) : word);

  const argv = spec.argv.map(rewrite);
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(spec.env)) env[name] = rewrite(value);
  env["HOME"] = spec.homeDir === "/" ? root : rewrite(spec.homeDir);
  env["TMPDIR"] ??= join(root, "tmp");
  const cwd = workingDir ? join(root, workingDir) : root;
  for (const { target, source } of mounts) {
    if (target === tokenFolder) {
      env[tokenVariable] = join(root, target);
      continue;
    }
    const used = [...mentioned].some((other) => isBelow(other, target) || isBelow(target, other)) || (workingDir !== undefined && (isBelow(workingDir, target) || isBelow(target, workingDir)));
    if (!used) throw new SandboxRefusal("CreateContainerConfigError", `mountPath ${target} cannot be given to the program in plain mode (no namespaces on this machine), and neither its command nor its environment names the path, so that it could be told another${source ? "" : " one"}`);
  }
  return { root, argv, env, cwd, rewrite };
}

/** Puts a link for one mount. A mount inside another folder turns that one into a folder of links to its entries. */
function place(root: string, mount: Mount, all: readonly Mount[]): void {
  const at = join(root, mount.target);
  mkdirSync(dirname(at), { recursive: true });
  const hasInner = all.some((other) => other.target !== mount.target && isBelow(other.target, mount.target));
  if (lstatSync(at, { throwIfNoEntry: false })?.isSymbolicLink()) throw new SandboxRefusal("CreateContainerConfigError", `two mounts at ${mount.target}`);
  if (mount.kind === "tmpfs") mkdirSync(at, { recursive: true });
  else if (!hasInner) symlinkSync(mount.source!, at);
  else {
    mkdirSync(at, { recursive: true });
    const inner = new Set(all.filter((other) => other.target !== mount.target && isBelow(other.target, mount.target)).map((other) => other.target.slice(mount.target.length + 1).split("/")[0]));
    for (const name of statSync(mount.source!).isDirectory() ? readdirSync(mount.source!) : []) if (!inner.has(name)) symlinkSync(join(mount.source!, name), join(at, name));
  }
}
