import { readFileSync } from "node:fs";
import type { Clock } from "../../base/clock.ts";
import { isBelow } from "./mount-policy.ts";

export interface MountEntry {
  /** Where it is mounted, unescaped. */
  target: string;
  /** "ro", "nosuid", "noexec", …: flags of this mount, not of the file system. */
  options: string[];
  type: string;
}

const unescape = (field: string) => field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** The mounts that a process sees, in the order they were made. */
export function readMounts(pid: number | "self" = "self"): MountEntry[] {
  return readFileSync(`/proc/${pid}/mountinfo`, "latin1")
    .split("\n")
    .filter(Boolean)
    .map((line) => {
      const [head, tail] = line.split(" - ");
      const fields = head!.split(" ");
      return { target: Buffer.from(unescape(fields[4]!), "latin1").toString(), options: fields[5]!.split(","), type: tail!.split(" ")[0]! };
    });
}

let cached: { mounts: MountEntry[]; untilMs: number } | undefined;
/** Wherry's own mounts, at most a second old: a wrong answer makes a start fail, which is tried again. */
export function ownMounts(clock: Clock): readonly MountEntry[] {
  const nowMs = clock.monotonicMs();
  if (!cached || nowMs > cached.untilMs) cached = { mounts: readMounts(), untilMs: nowMs + 1000 };
  return cached.mounts;
}

/** The mount that `path` is on: the longest target above it; of equals the last, which covers the others. */
export function mountOf(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  return mounts.reduce<MountEntry | undefined>((best, mount) => (isBelow(path, mount.target) && (!best || mount.target.length >= best.target.length) ? mount : best), undefined);
}

/** Whether something else is mounted below `path`: then the kernel refuses a plain bind and wants a recursive one. */
export function mountsBelow(mounts: readonly MountEntry[], path: string): MountEntry[] {
  return mounts.filter((mount) => mount.target !== path && isBelow(mount.target, path));
}
