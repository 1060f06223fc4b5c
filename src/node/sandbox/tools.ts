import { findProgram } from "./command.ts";

/** The system's programs that isolated mode is made of, by absolute path. */
export interface Tools {
  isRoot: boolean;
  setpriv: string;
  unshare: string;
  nsenter: string;
  ip: string;
  mount: string;
  umount: string;
  pivotRoot: string;
  sh: string;
  env: string;
  mkfifo: string;
  /** Absent: the pod keeps the machine's hostname, or has no terminal, and findings say so. */
  hostname: string | undefined;
  script: string | undefined;
  stty: string | undefined;
  tini: string | undefined;
  /** Absent: guarded pods can be dialled by other pods at ports that routing rules must leave open; a finding says so. */
  tc: string | undefined;
  bwrap: string | undefined;
}

/** Program → Debian package, for messages. */
const required: Record<string, string> = { setpriv: "util-linux", unshare: "util-linux", nsenter: "util-linux", mount: "mount", umount: "mount", pivot_root: "util-linux", ip: "iproute2", sh: "dash", env: "coreutils", mkfifo: "coreutils" };

/** Finds them, or names those that are missing with the packages that have them. */
export function findTools(isRoot: boolean, without: readonly string[] = []): { tools: Tools } | { missing: { program: string; package: string }[] } {
  const find = (name: string) => (without.includes(name) ? undefined : findProgram(name));
  const missing = Object.entries(required).filter(([program]) => !find(program)).map(([program, name]) => ({ program, package: name }));
  if (missing.length > 0) return { missing };
  return {
    tools: {
      isRoot,
      setpriv: find("setpriv")!, unshare: find("unshare")!, nsenter: find("nsenter")!, ip: find("ip")!, mount: find("mount")!, umount: find("umount")!,
      pivotRoot: find("pivot_root")!, sh: find("sh")!, env: find("env")!, mkfifo: find("mkfifo")!,
      hostname: find("hostname"), script: find("script"), stty: find("stty"), tini: find("tini"), tc: find("tc"), bwrap: find("bwrap"),
    },
  };
}
