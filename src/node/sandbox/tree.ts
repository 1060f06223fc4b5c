import { copyFileSync, lstatSync, mkdirSync, readdirSync, readlinkSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type MountEntry, mountOf, mountsBelow, readMounts } from "./mountinfo.ts";
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
  /** Path of the first table: everything; of the second ("" for none): files whose mount point must first be made in a fresh tmpfs. */
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

/** Taken over from the host's /etc when they exist: nothing in them is private (so not all of ssl), and programs expect them. */
const hostFiles = ["ssl/openssl.cnf", "pki/tls/openssl.cnf", "ld.so.cache", "ld.so.conf", "services", "protocols", "mime.types", "localtime", "os-release", "debian_version", "ethertypes", "rpc"];
const hostFolders = ["alternatives", "ssl/certs", "pki/ca-trust", "pki/tls/certs", "ca-certificates", "crypto-policies", "fonts", "python3"];
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
  /** Whether pods have uids of their own, who then own their writable mounts. */
  ownUids: boolean;
  /** How many skeletons were begun. */
  trees: number;
  /** By shape. */
  skeletons: Map<string, Skeleton>;
}
interface Skeleton {
  root: string;
  /** Its part of the table of mounts. */
  lines: string;
}

export function makeTreeBase(dir: string, programs: Readonly<Record<string, string>>, ownUids: boolean): TreeBase {
  const etc = join(dir, "etc");
  const bin = join(dir, "bin");
  mkdirSync(etc, { recursive: true });
  mkdirSync(bin, { recursive: true });
  const base: TreeBase = { dir, links: [], folders: [], etcFiles: [], etcFolders: [], proc: { files: [], folders: [] }, programs: {}, ownUids, trees: 0, skeletons: new Map() };
  for (const name of readdirSync("/").filter((name) => /^(usr|bin|sbin|lib[a-z0-9]*)$/.test(name))) {
    if (lstatSync(`/${name}`).isSymbolicLink()) base.links.push({ name, to: readlinkSync(`/${name}`) });
    else base.folders.push(`/${name}`);
  }
  for (const name of hostFiles) {
    try {
      mkdirSync(dirname(join(etc, name)), { recursive: true });
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

/** Files of /etc that belong to the pod, written once and bound into each of its containers. */
export function writePodFiles(dir: string, pod: PodSandboxSpec, ip: string): void {
  writeFileSync(join(dir, "hostname"), `${pod.hostname}\n`);
  writeFileSync(join(dir, "hosts"), hostsFile(pod, ip));
  writeFileSync(join(dir, "resolv.conf"), resolvConf(pod.dns));
}
const podFiles = ["hostname", "hosts", "resolv.conf"];

/**
 * Writes the table of mounts for one container into `dir`. The skeleton depends on little (which mount points, whose
 * home) and is never written to by anybody, so containers of one shape share it: replicas cost no file operations.
 */
export function makeTree(base: TreeBase, dir: string, podDir: string, pod: PodSandboxSpec, container: ContainerSpec, hostMounts: readonly MountEntry[]): Tree {
  const wanted = container.mounts
    .map((mount) => ({ ...mount, target: checkMountTarget(mount.target), isFile: mount.kind === "bind" && !isFolder(mount.source!) }))
    .sort((a, b) => a.target.split("/").length - b.target.split("/").length);
  wanted.forEach(({ target }, index) => {
    if (wanted.findIndex((other) => other.target === target) !== index) throw new SandboxRefusal("CreateContainerConfigError", `two mounts at ${target}`);
  });
  const placed: Placed[] = scratchFolders(container, wanted).map(({ target }) => ({ target, kind: "scratch", late: false }));
  const points: MountPoint[] = placed.map(({ target }) => ({ target, isFile: false }));
  const late: string[] = [];
  const lines: string[] = [];
  const tree: Tree = { root: "", fstab: "", lateFstab: "", lateFiles: [], expected: [] };
  const owner = base.ownUids ? `uid=${pod.hostUid},gid=${hostGid(pod, container.gid)},` : "";
  const made: { target: string; line: (at: string) => string; late: boolean }[] = [];
  for (const { target, size, mode } of scratchFolders(container, wanted)) made.push({ target, line: (at) => `tmpfs ${escape(at)} tmpfs nosuid,nodev,${owner}mode=${mode},size=${size} 0 0`, late: false });
  for (const mount of wanted) {
    const { target, isFile } = mount;
    const parent = placed.reduce<Placed | undefined>((best, other) => (isBelow(target, other.target) && (!best || other.target.length > best.target.length) ? other : best), undefined);
    let isLate = parent?.late ?? false;
    let makeFolder = false;
    if (!parent) points.push({ target, isFile });
    else if (parent.kind === "bind") makeMountPoint(parent.mount!, target.slice(parent.target.length + 1), isFile, target);
    else if (!isFile) makeFolder = true;
    else {
      tree.lateFiles.push(target);
      isLate = true;
    }
    const options = ["nosuid", "nodev", ...(makeFolder ? ["X-mount.mkdir"] : [])];
    if (mount.kind === "tmpfs") {
      made.push({ target, late: isLate, line: (at) => `tmpfs ${escape(at)} tmpfs ${[...options, mount.readOnly ? "ro" : "rw"].join(",")},${owner}mode=1777,size=${mount.sizeBytes ?? 64 * 1024 * 1024} 0 0` });
    } else {
      const source = mount.source!;
      const inner = mountsBelow(hostMounts, source);
      if (mount.readOnly && inner.some((other) => !other.options.includes("ro"))) throw new SandboxRefusal("CreateContainerConfigError", `mountPath ${target} is read-only, but ${inner[0]!.target} is mounted inside its source and would stay writable`);
      const words = [inner.length > 0 ? "rbind" : "bind", ...(mount.readOnly ? ["ro"] : []), ...options, ...lockedOptions(hostMounts, source)];
      made.push({ target, late: isLate, line: (at) => `${escape(source)} ${escape(at)} none ${words.join(",")} 0 0` });
      tree.expected.push({ target, identity: mount.identity });
    }
    placed.push({ target, kind: mount.kind, mount, late: isLate });
  }
  // Docker makes a missing working directory; below a mount it must be there.
  if (container.workingDir.startsWith("/") && !isBelow(container.workingDir, "/usr") && !placed.some(({ target }) => isBelow(container.workingDir, target))) points.push({ target: container.workingDir, isFile: false });

  const skeleton = skeletonFor(base, points, container);
  tree.root = skeleton.root;
  const at = (path: string) => join(tree.root, path);
  for (const name of podFiles) lines.push(bindLine(join(podDir, name), at(`etc/${name}`), hostMounts));
  for (const { target, line, late: isLate } of made) (isLate ? late : lines).push(line(at(target)));
  tree.lateFiles = tree.lateFiles.map(at);
  tree.expected = tree.expected.map(({ target, identity }) => ({ target: at(target), identity }));
  tree.fstab = join(dir, "fstab");
  writeFileSync(tree.fstab, `${skeleton.lines}${lines.join("\n")}\n`);
  if (late.length > 0) writeFileSync((tree.lateFstab = join(dir, "fstab.late")), `${late.join("\n")}\n`);
  return tree;
}

/** The machine's group that a container's own is: its pod's, or one that the pod shares with others. */
export const hostGid = (pod: Pick<PodSandboxSpec, "groups" | "hostUid">, gid: number): number => pod.groups?.find(({ inside }) => inside === gid)?.host ?? pod.hostUid;

interface Placed {
  target: string;
  kind: "scratch" | Mount["kind"];
  mount?: Mount;
  /** Mounted by the second table. */
  late: boolean;
}
interface MountPoint {
  target: string;
  isFile: boolean;
}

/** The writable places in memory that a container gets besides its volumes. */
function scratchFolders(container: ContainerSpec, wanted: readonly Mount[]): { target: string; size: string; mode: string }[] {
  const sizes = new Map<string, string>(Object.entries(container.readOnlyRoot ? {} : tmpfsSizes));
  sizes.set("/dev/shm", sharedMemorySize);
  const home = container.homeDir;
  // A home below a volume or the live folder is that volume's business.
  if (!container.readOnlyRoot && home !== "/" && !sizes.has(home) && !isBelow(home, "/usr") && !wanted.some(({ target }) => isBelow(home, target)) && isAcceptable(home)) {
    if (isBelow(home, "/home")) sizes.delete("/home");
    sizes.set(home, tmpfsSizes["/home"]!);
  }
  return [...sizes].filter(([target]) => !wanted.some((mount) => mount.target === target)).map(([target, size]) => ({ target, size, mode: ["/tmp", "/var/tmp", "/dev/shm"].includes(target) ? "1777" : "0755" }));
}

function skeletonFor(base: TreeBase, points: readonly MountPoint[], container: ContainerSpec): Skeleton {
  const { passwd, group } = userFiles(container);
  const key = JSON.stringify([points, passwd, group]);
  const known = base.skeletons.get(key);
  if (known) return known;
  const root = join(base.dir, "trees", String(base.trees++));
  const at = (path: string) => join(root, path);
  for (const name of ["dev/pts", "dev/shm", "etc", "proc", "tmp", "run", "home", "opt", "srv", "mnt", "var/tmp", "var/cache", "var/log", "var/lib", ".old", ".wherry/bin", ...base.folders]) mkdirSync(at(name), { recursive: true });
  for (const { name, to } of base.links) symlinkSync(to, at(name));
  symlinkSync("/run", at("var/run"));
  for (const [name, to] of Object.entries({ fd: "/proc/self/fd", stdin: "/proc/self/fd/0", stdout: "/proc/self/fd/1", stderr: "/proc/self/fd/2", ptmx: "pts/ptmx" })) symlinkSync(to, at(`dev/${name}`));
  for (const name of devices) writeFileSync(at(`dev/${name}`), "");
  for (const name of base.etcFolders) mkdirSync(at(`etc/${name}`), { recursive: true });
  for (const name of base.etcFiles) {
    mkdirSync(dirname(at(`etc/${name}`)), { recursive: true });
    copyFileSync(join(base.dir, "etc", name), at(`etc/${name}`));
  }
  for (const name of podFiles) writeFileSync(at(`etc/${name}`), "");
  writeFileSync(at("etc/passwd"), passwd);
  writeFileSync(at("etc/group"), group);
  for (const { target, isFile } of points) {
    if (isFile) touch(at(target));
    // A working directory may name a file; entering it then says so.
    else if (!exists(at(target))) mkdirSync(at(target), { recursive: true });
  }
  const skeleton = { root, lines: systemMounts(base, root) };
  base.skeletons.set(key, skeleton);
  return skeleton;
}

const readOnlyOptions = (mounts: readonly MountEntry[], path: string) => ["ro", "nosuid", "nodev", ...lockedOptions(mounts, path).filter((option) => option !== "ro")].join(",");
const bindLine = (source: string, target: string, mounts: readonly MountEntry[]) => `${escape(source)} ${escape(target)} none ${mountsBelow(mounts, source).length > 0 ? "rbind" : "bind"},${readOnlyOptions(mounts, source)} 0 0`;

/** The part of the table that every container has: root, /proc with its masks, programs, devices. */
function systemMounts(base: TreeBase, root: string): string {
  const mounts = readMounts();
  const lines: string[] = [];
  const at = (path: string) => join(root, path);
  const bind = (source: string, target: string) => lines.push(bindLine(source, target, mounts));
  const add = (source: string, target: string, type: string, options: string) => lines.push(`${escape(source)} ${escape(target)} ${type} ${options} 0 0`);
  bind(root, root);
  add("proc", at("proc"), "proc", "nosuid,nodev,noexec");
  for (const folder of base.folders) bind(folder, at(folder));
  if (Object.keys(base.programs).length > 0) {
    bind("/usr/local/bin", at(".wherry/bin"));
    bind(join(base.dir, "bin"), at("usr/local/bin"));
    for (const [name, path] of Object.entries(base.programs)) bind(path, at(`usr/local/bin/${name}`));
  }
  for (const name of base.etcFolders) bind(`/etc/${name}`, at(`etc/${name}`));
  for (const name of devices) add(`/dev/${name}`, at(`dev/${name}`), "none", "bind");
  add("devpts", at("dev/pts"), "devpts", "newinstance,ptmxmode=0666,mode=0620,nosuid,noexec");
  for (const name of base.proc.folders) add(at(`proc/${name}`), at(`proc/${name}`), "none", "bind,ro,nosuid,nodev,noexec");
  for (const name of base.proc.files) add("/dev/null", at(`proc/${name}`), "none", "bind");
  return `${lines.join("\n")}\n`;
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

