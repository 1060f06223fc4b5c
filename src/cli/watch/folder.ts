import { type Dirent, type FSWatcher, readdirSync, statSync, watch } from "node:fs";
import { join } from "node:path";
import { limits } from "../../base/limits.ts";

export interface FolderWatchOptions {
  root: string;
  foldersMax?: number;
  /** Whether a folder or file (absolute) concerns anybody. Folders that do not are not entered. */
  wants(path: string, isFolder: boolean): boolean;
  /** Files that were written, made or removed, absolute, in the order of their names. */
  onChange(files: string[]): void;
  /** The first event of a burst came: what follows may be prepared. */
  onStir?(): void;
  /** There are more folders than are watched; `folder` is the first that is not. */
  onTooMany?(folder: string): void;
  /** The kernel gives no (more) watches: the folder is looked through twice a second instead. */
  onPolling?(reason: string): void;
}

/** Nothing has changed for this long: what was saved together is one change. */
const debounceMs = 30;
/** A burst that does not end (a checkout of a large tree) is told in parts after this long. */
const burstMs = 1000;
const pollMs = 500;

/**
 * A folder with all that lies below, by one watch a folder: unlike fs.watch's own recursive mode it enters no folder that
 * nobody wants, and sees folders that are made, moved in, or replaced by another of the same name. An event only says where
 * to look: what changed is what differs from the last look (time, size, inode), so rename-saves, touches of folders and
 * events that the kernel dropped come out right.
 */
export class FolderWatch {
  readonly #options: FolderWatchOptions;
  readonly #folders = new Map<string, { inode: number; watcher: FSWatcher | undefined; files: Map<string, string> }>();
  readonly #dirty = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #sinceMs = 0;
  #poll: NodeJS.Timeout | undefined;
  #tooMany = false;
  #closed = false;

  constructor(options: FolderWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#enter(this.#options.root, undefined);
    if (!this.#folders.has(this.#options.root)) this.#lost();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#poll);
    for (const { watcher } of this.#folders.values()) watcher?.close();
    this.#folders.clear();
  }

  #stir(folder: string): void {
    if (this.#closed) return;
    const nowMs = performance.now();
    if (this.#dirty.size === 0) {
      this.#sinceMs = nowMs;
      this.#options.onStir?.();
    }
    this.#dirty.add(folder);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.max(0, Math.min(debounceMs, this.#sinceMs + burstMs - nowMs)));
  }

  #look(): void {
    const folders = [...this.#dirty].sort();
    this.#dirty.clear();
    const changed = new Set<string>();
    for (const folder of folders) this.#compare(folder, changed);
    if (!this.#folders.has(this.#options.root)) this.#lost();
    if (changed.size > 0) this.#options.onChange([...changed].sort());
  }

  /** The root is away (a checkout may replace it): asked for until it is there again. */
  #lost(): void {
    if (!this.#closed) setTimeout(() => this.#stir(this.#options.root), pollMs).unref();
  }

  /** Begins to watch a folder that was not known; its files count as changed when `changed` is given. */
  #enter(folder: string, changed: Set<string> | undefined): void {
    const inode = statSync(folder, { throwIfNoEntry: false })?.ino;
    if (inode === undefined || this.#closed) return;
    if (this.#folders.size >= (this.#options.foldersMax ?? limits.watchedFoldersMax)) {
      if (!this.#tooMany) this.#options.onTooMany?.(folder);
      this.#tooMany = true;
      return;
    }
    const known = { inode, watcher: this.#watch(folder), files: new Map<string, string>() };
    this.#folders.set(folder, known);
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (!this.#options.wants(path, entry.isDirectory())) continue;
      if (entry.isDirectory()) this.#enter(path, changed);
      else {
        const mark = markOf(path);
        if (mark === undefined) continue;
        known.files.set(path, mark);
        changed?.add(path);
      }
    }
  }

  #compare(folder: string, changed: Set<string>): void {
    const known = this.#folders.get(folder);
    if (!known) {
      if (folder === this.#options.root) this.#enter(folder, changed);
      return;
    }
    if (statSync(folder, { throwIfNoEntry: false })?.ino !== known.inode) {
      this.#leave(folder, changed);
      return this.#enter(folder, changed);
    }
    const seen = new Set<string>();
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (!this.#options.wants(path, entry.isDirectory())) continue;
      seen.add(path);
      if (entry.isDirectory()) {
        const below = this.#folders.get(path);
        if (!below) this.#enter(path, changed);
        else if (statSync(path, { throwIfNoEntry: false })?.ino !== below.inode) {
          this.#leave(path, changed);
          this.#enter(path, changed);
        }
        continue;
      }
      const mark = markOf(path);
      if (mark === undefined || known.files.get(path) === mark) continue;
      known.files.set(path, mark);
      changed.add(path);
    }
    for (const path of known.files.keys()) {
      if (seen.has(path)) continue;
      known.files.delete(path);
      changed.add(path);
    }
    for (const path of this.#folders.keys()) if (path.startsWith(`${folder}/`) && !path.slice(folder.length + 1).includes("/") && !seen.has(path)) this.#leave(path, changed);
  }

  #leave(folder: string, changed: Set<string>): void {
    for (const [path, { watcher, files }] of this.#folders) {
      if (path !== folder && !path.startsWith(`${folder}/`)) continue;
      watcher?.close();
      this.#folders.delete(path);
      for (const file of files.keys()) changed.add(file);
    }
  }

  #watch(folder: string): FSWatcher | undefined {
    if (this.#poll) return undefined;
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#stir(folder));
      watcher.on("error", () => this.#stir(folder));
      return watcher;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOSPC" && code !== "EMFILE") return undefined;
      this.#poll = setInterval(() => this.#scan(), pollMs).unref();
      this.#options.onPolling?.(code);
      return undefined;
    }
  }

  #scan(): void {
    const changed = new Set<string>();
    for (const folder of [...this.#folders.keys()].sort()) this.#compare(folder, changed);
    // What is being written now is told at the next look, as one change.
    if (changed.size > 0) this.#options.onChange([...changed].sort());
  }
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Two looks at a file that give the same mark saw the same file. */
function markOf(path: string): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? `${stat.mtimeMs} ${stat.size} ${stat.ino}` : undefined;
}
