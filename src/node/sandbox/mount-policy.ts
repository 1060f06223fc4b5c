import { posix } from "node:path";
import { SandboxRefusal } from "./sandbox.ts";

/** Folders of the image that a pod may cover although they lie below a protected one. */
const allowed = ["/usr/local/share", "/usr/local/etc", "/usr/share", "/dev/shm", "/dev/termination-log"];

/**
 * Between leaving the host's files and dropping the last capability, the start sequence runs setpriv, unshare and a
 * shell from the pod's own tree. Whoever could put files under those paths would have them run with capabilities, so
 * no mount may lie at, above or below them.
 */
const protectedFolders = ["/usr", "/bin", "/sbin", "/proc", "/sys", "/dev", "/.old", "/.wherry"];

/** Files of /etc that the loader and the C library read while the start sequence still holds capabilities. */
const protectedFiles = ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives", "/etc/shadow"];

const below = (path: string, folder: string) => path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);

/**
 * The path at which a mount will be made, or a refusal saying why not. `/var/run` is `/run` in a pod, as in every
 * current distribution.
 */
export function checkMountTarget(target: string): string {
  const refuse = (why: string) => new SandboxRefusal("CreateContainerConfigError", `mountPath ${JSON.stringify(target)} ${why}`);
  if (!target.startsWith("/")) throw refuse("must be an absolute path");
  if (/[\0\n]/.test(target)) throw refuse("holds a character that no path may have");
  if (target.split("/").includes("..")) throw refuse('must not contain ".."');
  let path = posix.normalize(target).replace(/(?<=.)\/+$/, "");
  if (below(path, "/var/run")) path = path.slice("/var".length);
  if (path === "/") throw refuse("would replace the pod's whole file system");
  if (path === "/etc") throw refuse("would replace /etc, which holds the names the pod is started with; mount single files or folders below it");
  if (allowed.some((folder) => below(path, folder))) return path;
  const hit = [...protectedFolders, ...protectedFiles].find((folder) => below(path, folder) || below(folder, path)) ?? (/^\/lib[^/]*(\/|$)/.test(path) ? "the system's libraries" : undefined);
  if (hit) throw refuse(`would cover ${hit}, from which the pod is started`);
  return path;
}

/** Whether `path` lies at or below `folder`. */
export const isBelow = below;
