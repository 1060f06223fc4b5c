import { copyFileSync, linkSync, lstatSync, mkdirSync, readdirSync, readlinkSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type MountEntry, mountOf, mountsBelow } from "./mountinfo.ts";
import { checkMountTarget, isBelow } from "./mount-policy.ts";
import { type ContainerSpec, type Mount, type PodSandboxSpec, SandboxRefusal } from "./sandbox.ts";

/**
 * The files a container sees. Node makes a skeleton folder (mount points, links, /etc) that is later bound read-only as
 * the root, and one fstab that a single `mount` works off; building the root with mkdir and ln in the stage would
 * cost 20–30 ms a pod.
 */
export interface Tree {
  /** The skeleton on the host. */
  root: string;
  /** First table: everything; second: file mounts whose mount point must first be made in a fresh tmpfs. */
  fstab: string;
  lateFstab: string;
  /** Paths (in the skeleton's tree) of the empty files to be made between the two. */
  lateFiles: string[];
  /** Mounts asked for in the spec, as they must appear; compared by the agent before the pod goes on. */
  expected: { target: string; identity: string | undefined }[];
}

/** Sizes of the writable places that every container gets. Full: ENOSPC in the pod, nowhere else. */
const tmpfsSizes: Record<string, string> = { "/tmp": "512m", "/run": "64m", "/home": "256m", "/var/tmp": "256m", "/var/cache": "256m", "/var/log": "64m", "/var/lib": "256m" };
const sharedMemorySize = "64m";

/** Taken over from the host's /etc when they exist: nothing in them is private, and programs expect them. */
const hostFiles = ["ld.so.cache", "ld.so.conf", "services", "protocols", "mime.types", "localtime", "os-release", "debian_version", "ethertypes", "rpc"];
const hostFolders = ["alternatives", "ssl", "pki", "ca-certificates", "crypto-policies", "fonts", "python3"];
const devices = ["null", "zero", "full", "random", "urandom", "tty"];
const maskedFiles = ["kcore", "keys", "key-users", "timer_list", "sysrq-trigger", "kallsyms", "kpagecount", "kpageflags", "kpagecgroup", "latency_stats", "sched_debug"];
const readOnlyProc = ["bus", "irq", "fs", "acpi", "scsi", "asound", "driver"];

/** What every container's tree shares; made once at start. */
export interface TreeBase {
  /** Folder of /etc files to link into skeletons, and the folder that becomes /usr/local/bin. */
  dir: string;
  /** Top-level entries: a link as on the host, or a folder to bind. */
  links: { name: string; to: string }[];
  folders: string[];
  etcFiles: string[];
  etcFolders: string[];
  proc: { files: string[]; folders: string[] };
  /** Name in /usr/local/bin → file of the host outside /usr that is bound there. */
  programs: Record<string, string>;
  /** Uid that owns writable mounts as seen from the pod network's user namespace; undefined when there is one uid only. */
  ownUids: boolean;
}

export function makeTreeBase(dir: string, programs: Readonly<Record<string, string>>, ownUids: boolean): TreeBase {
  const etc = join(dir, "etc");
  const bin = join(dir, "bin");
  mkdirSync(etc, { recursive: true });
  mkdirSync(bin, { recursive: true });
  const base: TreeBase = { dir, links: [], folders: [], etcFiles: [], etcFolders: [], proc: { files: [], folders: [] }, programs: {}, ownUids };
  for (const name of readdirSync("/").filter((name) => /^(usr|bin|sbin|lib[a-z0-9]*)$/.test(name))) {
    if (lstatSync(`/${name}`).isSymbolicLink()) base.links.push({ name, to: readlinkSync(`/${name}`) });
    else base.folders.push(`/${name}`);
  }
  for (const name of hostFiles) {
    try {
      copyFileSync(realpathSync(`/etc/${name}`), join(etc, name));
      base.etcFiles.push(name);
    } catch {
      // Not on this distribution.
    }
  }
  writeFileSync(join(etc, "nsswitch.conf"), "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n");
  base.etcFiles.push("nsswitch.conf");
  base.etcFolders = hostFolders.filter((name) => isFolder(`/etc/${name}`));
  base.proc.files = maskedFiles.filter((name) => exists(`/proc/${name}`));
  // `user` stays: its max_user_namespaces is written once more inside, and is the pod's own.
  base.proc.folders = [...readOnlyProc.filter((name) => isFolder(`/proc/${name}`)), ...readdirSync("/proc/sys").filter((name) => name !== "user" && isFolder(`/proc/sys/${name}`)).map((name) => `sys/${name}`)];
  if (isFolder("/usr/local/bin") && !lstatSync("/usr/local/bin").isSymbolicLink()) {
    // The folder is covered by one of ours, in which the host's programs appear as links and ours as mount points.
    for (const name of readdirSync(bin)) if (lstatSync(join(bin, name)).isSymbolicLink()) linkOver(join(bin, name), undefined);
    for (const name of readdirSync("/usr/local/bin")) {
      if (name in programs) continue;
      // A relative link stays right where it is; a file is reached through a second bind of the folder.
      const isLink = lstatSync(join("/usr/local/bin", name)).isSymbolicLink();
      linkOver(join(bin, name), isLink ? readlinkSync(join("/usr/local/bin", name)) : `/.wherry/bin/${name}`);
    }
    for (const [name, path] of Object.entries(programs)) {
      const real = realpathSync(path);
      if (isBelow(real, "/usr") && !isBelow(real, "/usr/local/bin")) linkOver(join(bin, name), real);
      else {
        linkOver(join(bin, name), undefined);
        writeFileSync(join(bin, name), "");
        base.programs[name] = real;
      }
    }
  }
  return base;
}

/** Writes the skeleton for one container below `root` (which must not exist) and returns its mounts. */
export function makeTree(base: TreeBase, root: string, pod: PodSandboxSpec, ip: string, container: ContainerSpec, hostMounts: readonly MountEntry[]): Tree {
  const owner = base.ownUids ? `uid=${pod.hostUid},gid=${pod.hostUid},` : "";
  const lines: string[] = [];
  const add = (source: string, target: string, type: string, options: string) => lines.push(`${escape(source)} ${escape(target)} ${type} ${options} 0 0`);
  const at = (path: string) => join(root, path);
  for (const name of ["dev/pts", "dev/shm", "etc", "proc", "tmp", "run", "home", "opt", "srv", "mnt", "var/tmp", "var/cache", "var/log", "var/lib", ".old", ".wherry/bin", ...base.folders]) mkdirSync(at(name), { recursive: true });
  for (const { name, to } of base.links) symlinkSync(to, at(name));
  symlinkSync("/run", at("var/run"));
  for (const [name, to] of Object.entries({ fd: "/proc/self/fd", stdin: "/proc/self/fd/0", stdout: "/proc/self/fd/1", stderr: "/proc/self/fd/2", ptmx: "pts/ptmx" })) symlinkSync(to, at(`dev/${name}`));
  for (const name of devices) writeFileSync(at(`dev/${name}`), "");
  writeEtc(base, at("etc"), pod, ip, container);

  const readOnly = (path: string) => ["ro", "nosuid", "nodev", ...lockedOptions(hostMounts, path)].join(",");
  const bindWord = (path: string) => (mountsBelow(hostMounts, path).length > 0 ? "rbind" : "bind");
  add(root, root, "none", `bind,${readOnly(root)}`);
  add("proc", at("proc"), "proc", "nosuid,nodev,noexec");
  for (const folder of base.folders) add(folder, at(folder), "none", `${bindWord(folder)},${readOnly(folder)}`);
  if (Object.keys(base.programs).length > 0) {
    add("/usr/local/bin", at(".wherry/bin"), "none", `bind,${readOnly("/usr/local/bin")}`);
    add(join(base.dir, "bin"), at("usr/local/bin"), "none", `bind,${readOnly(base.dir)}`);
    for (const [name, path] of Object.entries(base.programs)) add(path, at(`usr/local/bin/${name}`), "none", `bind,${readOnly(path)}`);
  }
  for (const name of base.etcFolders) {
    mkdirSync(at(`etc/${name}`), { recursive: true });
    add(`/etc/${name}`, at(`etc/${name}`), "none", `${bindWord(`/etc/${name}`)},${readOnly(`/etc/${name}`)}`);
  }
  for (const name of devices) add(`/dev/${name}`, at(`dev/${name}`), "none", "bind");
  add("devpts", at("dev/pts"), "devpts", `newinstance,ptmxmode=0666,mode=0620,nosuid,noexec`);
  for (const name of base.proc.folders) add(at(`proc/${name}`), at(`proc/${name}`), "none", "bind,ro,nosuid,nodev,noexec");
  for (const name of base.proc.files) add("/dev/null", at(`proc/${name}`), "none", "bind");

  const wanted = container.mounts.map((mount) => ({ ...mount, target: checkMountTarget(mount.target) })).sort((a, b) => a.target.split("/").length - b.target.split("/").length);
  const seen = new Set<string>();
  for (const { target } of wanted) {
    if (seen.has(target)) throw new SandboxRefusal("CreateContainerConfigError", `two mounts at ${target}`);
    seen.add(target);
  }
  const scratch = new Map<string, string>(Object.entries(container.readOnlyRoot ? {} : tmpfsSizes));
  scratch.set("/dev/shm", sharedMemorySize);
  if (!container.readOnlyRoot && container.homeDir !== "/" && !isBelow(container.homeDir, "/usr") && !scratch.has(container.homeDir)) {
    if (isBelow(container.homeDir, "/home")) scratch.delete("/home");
    // A home below a volume or the live folder is that volume's business.
    if (!wanted.some(({ target }) => isBelow(container.homeDir, target)) && isAcceptable(container.homeDir)) scratch.set(container.homeDir, tmpfsSizes["/home"]!);
  }
  for (const [target, size] of scratch) {
    if (seen.has(target) || target === "/dev/shm" ? seen.has(target) : wanted.some((mount) => mount.target === target)) continue;
    mkdirSync(at(target), { recursive: true });
    const mode = ["/tmp", "/var/tmp", "/dev/shm"].includes(target) ? "1777" : "0755";
    add("tmpfs", at(target), "tmpfs", `nosuid,nodev,${owner}mode=${mode},size=${size}`);
  }

  const tree: Tree = { root, fstab: "", lateFstab: "", lateFiles: [], expected: [] };
  const late: string[] = [];
  const placed: { target: string; kind: "scratch" | Mount["kind"]; mount?: Mount; late: boolean }[] = [...scratch.keys()].filter((target) => !seen.has(target)).map((target) => ({ target, kind: "scratch", late: false }));
  for (const mount of wanted) {
    const { target } = mount;
    const isFile = mount.kind === "bind" && !isFolder(mount.source!);
    const parent = placed.reduce<(typeof placed)[number] | undefined>((best, other) => (isBelow(target, other.target) && (!best || other.target.length > best.target.length) ? other : best), undefined);
    let isLate = parent?.late ?? false;
    let makeFolder = false;
    if (!parent && isFile) touch(at(target));
    else if (!parent) mkdirSync(at(target), { recursive: true });
    else if (parent.kind === "bind") makeMountPoint(parent.mount!, target.slice(parent.target.length + 1), isFile, target);
    else if (!isFile) makeFolder = true;
    else {
      tree.lateFiles.push(at(target));
      isLate = true;
    }
    const options = ["nosuid", "nodev", ...(makeFolder ? ["X-mount.mkdir"] : [])];
    let line: string;
    if (mount.kind === "tmpfs") line = `tmpfs ${escape(at(target))} tmpfs ${[...options, mount.readOnly ? "ro" : "rw"].join(",")},${owner}mode=1777,size=${mount.sizeBytes ?? 64 * 1024 * 1024} 0 0`;
    else {
      const source = mount.source!;
      const inner = mountsBelow(hostMounts, source);
      if (mount.readOnly && inner.some((other) => !other.options.includes("ro"))) throw new SandboxRefusal("CreateContainerConfigError", `mountPath ${target} is read-only, but ${inner[0]!.target} is mounted inside its source and would stay writable`);
      const locked = lockedOptions(hostMounts, source);
      line = `${escape(source)} ${escape(at(target))} none ${[inner.length > 0 ? "rbind" : "bind", ...(mount.readOnly ? ["ro"] : []), ...options, ...locked].join(",")} 0 0`;
      tree.expected.push({ target: at(target), identity: mount.identity });
    }
    (isLate ? late : lines).push(line);
    placed.push({ target, kind: mount.kind, mount, late: isLate });
  }
  if (!placed.some(({ target }) => isBelow(container.workingDir, target))) {
    // Docker makes a missing working directory; below a mount it must be there.
    if (container.workingDir.startsWith("/") && !exists(at(container.workingDir)) && !isBelow(container.workingDir, "/usr")) mkdirSync(at(container.workingDir), { recursive: true });
  }
  tree.fstab = `${lines.join("\n")}\n`;
  tree.lateFstab = late.length > 0 ? `${late.join("\n")}\n` : "";
  return tree;
}

function writeEtc(base: TreeBase, etc: string, pod: PodSandboxSpec, ip: string, container: ContainerSpec): void {
  for (const name of base.etcFiles) {
    try {
      linkSync(join(base.dir, "etc", name), join(etc, name));
    } catch {
      copyFileSync(join(base.dir, "etc", name), join(etc, name));
    }
  }
  const { passwd, group } = userFiles(container);
  writeFileSync(join(etc, "passwd"), passwd);
  writeFileSync(join(etc, "group"), group);
  writeFileSync(join(etc, "hostname"), `${pod.hostname}\n`);
  writeFileSync(join(etc, "hosts"), hostsFile(pod, ip));
  writeFileSync(join(etc, "resolv.conf"), resolvConf(pod.dns));
}

/** /etc/passwd and /etc/group: root, the container's user, nobody. A name that would break the format becomes "app". */
export function userFiles(container: Pick<ContainerSpec, "uid" | "gid" | "userName" | "homeDir">): { passwd: string; group: string } {
  // A name made of digits would be taken for an id by tools that look names up first.
  const name = container.uid === 0 ? "root" : /^[a-z_][a-z0-9_.-]{0,31}\$?$/i.test(container.userName) && container.userName !== "root" ? container.userName : "app";
  const home = /[:\n]/.test(container.homeDir) ? "/" : container.homeDir;
  const users = [`${name}:x:${container.uid}:${container.gid}:${name}:${home}:/bin/sh`];
  if (container.uid !== 0) users.unshift("root:x:0:0:root:/root:/bin/sh");
  if (container.uid !== 65_534 && name !== "nobody") users.push("nobody:x:65534:65534:nobody:/nonexistent:/bin/false");
  const groups = [`${container.gid === 0 ? "root" : name}:x:${container.gid}:`];
  if (container.gid !== 0) groups.unshift("root:x:0:");
  if (container.gid !== 65_534) groups.push("nogroup:x:65534:");
  return { passwd: `${users.join("\n")}\n`, group: `${groups.join("\n")}\n` };
}

export function hostsFile(pod: Pick<PodSandboxSpec, "hostname" | "hostAliases">, ip: string): string {
  const lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback", `${ip}\t${pod.hostname}`];
  if (pod.hostAliases.length > 0) lines.push("", "# Entries added by HostAliases.", ...pod.hostAliases.map((alias) => `${alias.ip}\t${alias.hostnames.join("\t")}`));
  return `${lines.join("\n")}\n`;
}

export function resolvConf(dns: PodSandboxSpec["dns"]): string {
  const lines = dns.nameservers.map((server) => `nameserver ${server}`);
  if (dns.searches.length > 0) lines.unshift(`search ${dns.searches.join(" ")}`);
  if (dns.options.length > 0) lines.push(`options ${dns.options.join(" ")}`);
  return `${lines.join("\n")}\n`;
}

/**
 * A mount point inside another mounted folder: it must be there already as a real entry, or is made when the outer
 * mount is writable. No component may be a link, because the path is resolved on the host's side of the wall.
 */
function makeMountPoint(outer: Mount, path: string, isFile: boolean, target: string): void {
  const refuse = (why: string) => new SandboxRefusal("CreateContainerConfigError", `mountPath ${target} lies inside the mount at ${outer.target}, ${why}`);
  let at = outer.source!;
  const parts = path.split("/");
  parts.forEach((part, index) => {
    at = join(at, part);
    const last = index === parts.length - 1;
    const kind = lstatSync(at, { throwIfNoEntry: false });
    if (!kind) {
      if (outer.readOnly) throw refuse(`which is read-only and has no ${path} to mount on`);
      if (last && isFile) writeFileSync(at, "", { flag: "wx" });
      else mkdirSync(at);
    } else if (kind.isSymbolicLink()) throw refuse("where a symbolic link is in the way");
    else if (last ? kind.isDirectory() === isFile : !kind.isDirectory()) throw refuse(`where ${part} is ${kind.isDirectory() ? "a folder" : "not a folder"}`);
  });
}

/** Flags that a bind of `path` must repeat, or the kernel refuses the remount: they are locked from outside. */
function lockedOptions(mounts: readonly MountEntry[], path: string): string[] {
  const options = mountOf(mounts, path)?.options ?? [];
  return ["noexec", "ro"].filter((option) => options.includes(option));
}

function isAcceptable(path: string): boolean {
  try {
    return checkMountTarget(path) === path;
  } catch {
    return false;
  }
}
const escape = (path: string) => path.replace(/[\s\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, "0")}`);
const exists = (path: string) => lstatSync(path, { throwIfNoEntry: false }) !== undefined;
const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
function touch(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, "");
}
function linkOver(path: string, to: string | undefined): void {
  rmSync(path, { force: true });
  if (to !== undefined) symlinkSync(to, path);
}

