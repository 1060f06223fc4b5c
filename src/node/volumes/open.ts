import { constants } from "node:fs";
import { type FileHandle, lchown, mkdir, open, readdir } from "node:fs/promises";
import { join } from "node:path";

/** A path that was reached step by step, and what was found there. */
export interface Opened {
  path: string;
  /** "dev:ino", which the sandbox compares with what it mounted. */
  identity: string;
  isDirectory: boolean;
}

/** Whom a volume belongs to on this machine. */
export interface Owner {
  uid: number;
  gid: number;
  /** The group may do what the user may (fsGroup): its bits are set, and what is made in a folder is its too. */
  shared: boolean;
}
/** What the group gets in a volume that it shares: k8s.io/kubernetes/pkg/volume/volume_linux.go. */
const sharedFile = 0o660;
const sharedFolder = 0o2770;

const directory = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const anything = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** A child of an open folder, by the kernel's own link to it: no part of the way can be exchanged meanwhile. */
const child = (parent: FileHandle, name: string) => `/proc/self/fd/${parent.fd}/${name}`;

/**
 * Opens `relative` below `base` one name at a time and never through a symbolic link, because a pod may have
 * written the tree. `create` makes what is missing, owned by `owner`: folders, and at the end a folder or an empty
 * file. `base` itself is the agent's word.
 */
export async function openBelow(base: string, relative: string, options: { create?: "folder" | "file" | undefined; owner?: Owner } = {}): Promise<Opened> {
  const parts = relative.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new Error(`subPath ${JSON.stringify(relative)} must not contain ".."`);
  let handle = await open(base, directory);
  try {
    for (const [index, part] of parts.entries()) {
      const next = await open(child(handle, part), index < parts.length - 1 ? directory : anything).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code === "ELOOP" || error.code === "ENOTDIR") throw new Error(`subPath ${JSON.stringify(relative)}: ${parts.slice(0, index + 1).join("/")} is a symbolic link or no folder; it is not followed`);
        if (error.code !== "ENOENT" || !options.create) throw error;
        if (options.create === "file" && index === parts.length - 1) return await open(child(handle, part), constants.O_RDONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o644);
        await mkdir(child(handle, part), { mode: 0o755 });
        const made = await open(child(handle, part), directory);
        if (options.owner) await give(made, options.owner, sharedFolder);
        return made;
      });
      await handle.close();
      handle = next;
    }
    const stat = await handle.stat({ bigint: true });
    if (!stat.isDirectory() && !stat.isFile()) throw new Error(`${join(base, relative)} is neither a folder nor a file`);
    return { path: join(base, ...parts), identity: `${stat.dev}:${stat.ino}`, isDirectory: stat.isDirectory() };
  } finally {
    await handle.close();
  }
}

/**
 * Gives a whole tree to `owner`, links themselves and not what they point to. The top comes last, so that a tree
 * half done is done again; a tree whose top is the owner's already is left alone, unless `always`.
 */
export async function giveTree(path: string, owner: Owner, always = false): Promise<void> {
  const handle = await open(path, directory);
  try {
    const { uid, gid, mode } = await handle.stat();
    const isGiven = uid === owner.uid && (!owner.shared || (gid === owner.gid && (mode & sharedFolder) === sharedFolder));
    if (isGiven && !always) return;
    await giveChildren(handle, owner);
    await give(handle, owner, sharedFolder);
  } finally {
    await handle.close();
  }
}

async function giveChildren(parent: FileHandle, owner: Owner): Promise<void> {
  for (const entry of await readdir(`/proc/self/fd/${parent.fd}`, { withFileTypes: true })) {
    await lchown(child(parent, entry.name), owner.uid, owner.gid).catch(ignoreMissing);
    if (!entry.isDirectory() && !(entry.isFile() && owner.shared)) continue;
    const handle = await open(child(parent, entry.name), entry.isDirectory() ? directory : anything).catch(ignoreMissing);
    if (!handle) continue;
    try {
      if (entry.isDirectory()) await giveChildren(handle, owner);
      if (owner.shared) await give(handle, owner, entry.isDirectory() ? sharedFolder : sharedFile);
    } finally {
      await handle.close();
    }
  }
}

/** A change of owner takes bits away, so the group's come after it. */
async function give(handle: FileHandle, { uid, gid, shared }: Owner, bits: number): Promise<void> {
  const { mode } = await handle.stat();
  await handle.chown(uid, gid);
  if (shared) await handle.chmod((mode & 0o7777) | bits);
}

/** What the pod took away meanwhile, or exchanged for a link, needs no new owner. */
function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT" && error.code !== "ELOOP" && error.code !== "ENOTDIR") throw error;
  return undefined;
}

/** Makes a folder of the agent's own and gives it to the pod; what is there already keeps the mode its program gave it. */
export async function makeFolder(path: string, mode: number, owner: Owner | undefined): Promise<void> {
  if ((await mkdir(path, { recursive: true, mode })) === undefined) return;
  const handle = await open(path, directory);
  try {
    // The umask took its share.
    await handle.chmod(mode);
    if (owner) await give(handle, owner, sharedFolder);
  } finally {
    await handle.close();
  }
}
