import { watch } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { LogOptions, NodeAccess, PodKey } from "../../api/node.ts";
import { badRequestError } from "../../api/status.ts";
import type { ContainerStatus, Pod } from "../../api/types.ts";
import { type Clock, systemClock } from "../../base/clock.ts";
import { endMarker, rotatedFiles } from "./write.ts";

const chunkBytes = 64 * 1024;
/** File events can be lost on some file systems; followers look at least this often. */
const lookMs = 1000;

export interface LogReaderOptions {
  dataDir: string;
  /** The pod's object: which incarnation is meant, and why there is none yet. */
  podOf: (pod: PodKey) => Pod | undefined | Promise<Pod | undefined>;
  clock?: Clock;
}

/** Reads the logs that the agent writes. Runs in `wherry-api`, so that no log passes through the parent of the pods. */
export function createLogReader(options: LogReaderOptions): Pick<NodeAccess, "logs"> {
  return {
    async logs(key, request) {
      const pod = await options.podOf(key);
      const folder = join(options.dataDir, "pods", key.uid, "logs", request.container);
      const incarnation = pod ? incarnationOf(pod, key, request) : await latest(folder, request.previous);
      const path = join(folder, `${incarnation}.log`);
      if (request.previous && !(await stat(path).catch(() => undefined))) throw previousNotFound(key, request);
      return format(lines(path, folder, incarnation, request), request, (options.clock ?? systemClock).now());
    },
  };
}

const previousNotFound = (key: PodKey, { container }: LogOptions) => badRequestError(`previous terminated container ${JSON.stringify(container)} in pod ${JSON.stringify(key.name)} not found`);

/**
 * Which restart's log is asked for, by what the status says. Throws a 400 in upstream's words when there is none.
 * Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (validateContainerLogStatus).
 */
function incarnationOf(pod: Pod, key: PodKey, request: LogOptions): number {
  const spec = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? []), ...(pod.spec?.ephemeralContainers ?? [])];
  if (!spec.some(({ name }) => name === request.container)) throw badRequestError(`container ${request.container} is not valid for pod ${key.name}`);
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? []), ...(pod.status?.ephemeralContainerStatuses ?? [])] as ContainerStatus[];
  const status = statuses.find(({ name }) => name === request.container);
  const waits = (reason: string) => badRequestError(`container ${JSON.stringify(request.container)} in pod ${JSON.stringify(key.name)} is waiting to start: ${reason}`);
  if (!status) throw request.previous ? previousNotFound(key, request) : waits("ContainerCreating");
  const { running, terminated, waiting } = status.state ?? {};
  const last = status.lastState?.terminated;
  if (request.previous) {
    if (!last) throw previousNotFound(key, request);
    return running || terminated ? status.restartCount - 1 : status.restartCount;
  }
  if (running || terminated || last) return status.restartCount;
  switch (waiting?.reason) {
    case "ErrImagePull":
    case "ImagePullBackOff":
      throw waits("trying and failing to pull image");
    case "ErrImageNeverPull":
      throw waits("image is not present with pull policy of Never");
    case "InvalidImageName":
      throw waits("image name is invalid");
    default:
      throw waits(waiting?.reason ?? "ContainerCreating");
  }
}

async function latest(folder: string, previous: boolean): Promise<number> {
  const numbers = (await readdir(folder).catch(() => [])).flatMap((name) => /^(\d+)\.log$/.exec(name)?.[1] ?? []).map(Number);
  return Math.max(0, ...numbers) - (previous ? 1 : 0);
}

interface Line {
  /** As written: RFC 3339 with nanoseconds. */
  time: string;
  text: Buffer;
}

/** A place in one of an incarnation's files. Files are known by their inode: rotation renames them under the reader. */
interface Position {
  inode: number;
  offset: number;
}

/** The raw lines of one incarnation: rotated files first, then the growing one for as long as it is followed. */
async function* lines(path: string, folder: string, incarnation: number, { tailLines, follow, signal }: LogOptions): AsyncGenerator<Buffer> {
  let position = tailLines === undefined ? undefined : await tailOf(path, tailLines);
  let rest: Buffer = Buffer.alloc(0);
  using changes = follow ? watchFolder(folder, signal) : undefined;
  for (;;) {
    // Looked at before reading: what is written until then is read below.
    const ended = !changes || signal.aborted || (await isOver(folder, incarnation));
    for await (const { chunk, at } of chunksFrom(path, position)) {
      position = at;
      let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
        yield data.subarray(0, end);
        data = data.subarray(end + 1);
      }
      rest = data;
    }
    if (ended) return;
    await changes.next();
  }
}

/** Everything behind a position (or from the oldest file on), through as many rotations as happen meanwhile. */
async function* chunksFrom(path: string, from: Position | undefined): AsyncGenerator<{ chunk: Buffer; at: Position }> {
  let position = from;
  for (let moved = true; moved; ) {
    moved = false;
    const files = await filesOf(path);
    const known = files.findIndex(({ inode }) => inode === position?.inode);
    for (const file of files.slice(Math.max(0, known))) {
      const handle = await open(file.path).catch(() => undefined);
      if (!handle) continue;
      try {
        const { ino, size } = await handle.stat();
        // Rotated between the look and the opening: look again, so that no file is passed over.
        moved = ino !== file.inode;
        if (moved) break;
        let offset = position?.inode === ino && position.offset <= size ? position.offset : 0;
        for (;;) {
          const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, offset);
          if (bytesRead === 0) break;
          offset += bytesRead;
          position = { inode: ino, offset };
          yield { chunk: buffer.subarray(0, bytesRead), at: position };
        }
        position = { inode: ino, offset };
      } finally {
        await handle.close();
      }
    }
  }
}

/** The files of an incarnation, oldest first. */
async function filesOf(path: string): Promise<{ path: string; inode: number }[]> {
  // The growing one is looked at first: if it is rotated now, it is found again, under its other name, below.
  const growing = await stat(path).catch(() => undefined);
  const files: { path: string; inode: number }[] = [];
  for (const file of rotatedFiles(path)) {
    const found = await stat(file).catch(() => undefined);
    if (found) files.push({ path: file, inode: found.ino });
  }
  if (growing && !files.some(({ inode }) => inode === growing.ino)) files.push({ path, inode: growing.ino });
  return files;
}

/** The container's program has ended, a later one runs, or the pod is gone. */
async function isOver(folder: string, incarnation: number): Promise<boolean> {
  const names = await readdir(folder).catch(() => undefined);
  return names === undefined || names.includes(endMarker(incarnation)) || names.includes(`${incarnation + 1}.log`);
}

/** Where the last `count` lines begin, counted backwards over the files; undefined: at the very beginning. */
async function tailOf(path: string, count: number): Promise<Position | undefined> {
  let left = count;
  for (const { path: file } of (await filesOf(path)).toReversed()) {
    const handle = await open(file).catch(() => undefined);
    if (!handle) continue;
    try {
      const { size, ino } = await handle.stat();
      for (let end = size; end > 0; ) {
        const begin = Math.max(0, end - chunkBytes);
        const { buffer } = await handle.read(Buffer.alloc(end - begin), 0, end - begin, begin);
        for (let i = buffer.length - 1; i >= 0; i--) {
          // The newline that ends the line before the wanted ones.
          if (buffer[i] === 10 && left-- === 0) return { inode: ino, offset: begin + i + 1 };
        }
        end = begin;
      }
    } finally {
      await handle.close();
    }
  }
  return undefined;
}

async function* format(source: AsyncIterable<Buffer>, request: LogOptions, nowMs: number): AsyncGenerator<Buffer> {
  const sinceMs = request.sinceTime !== undefined ? Date.parse(request.sinceTime) : request.sinceSeconds !== undefined ? nowMs - request.sinceSeconds * 1000 : undefined;
  let left = request.limitBytes ?? Infinity;
  let midLine = false;
  for await (const raw of source) {
    const line = parse(raw);
    if (!line || (sinceMs !== undefined && Date.parse(line.time) < sinceMs)) continue;
    const prefix = request.timestamps && !midLine ? Buffer.from(`${line.time} `) : undefined;
    midLine = line.partial;
    let out = prefix ? Buffer.concat([prefix, line.text]) : line.text;
    if (!line.partial) out = Buffer.concat([out, newline]);
    if (out.length > left) out = out.subarray(0, left);
    left -= out.length;
    if (out.length > 0) yield out;
    if (left <= 0) return;
  }
}

const newline = Buffer.from("\n");

/** `<time> <stream> <F|P> <text>`; undefined for what is no such line (a file cut by a crash). */
function parse(raw: Buffer): (Line & { partial: boolean }) | undefined {
  const first = raw.indexOf(32);
  const second = raw.indexOf(32, first + 1);
  if (first < 0 || second < 0 || (raw[second + 1] !== 70 && raw[second + 1] !== 80)) return undefined;
  return { time: raw.toString("latin1", 0, first), text: raw.subarray(second + 3), partial: raw[second + 1] === 80 };
}

/** Wakes when something in the folder changes, at least every second, and at once when aborted. */
function watchFolder(folder: string, signal: AbortSignal): Disposable & { next(): Promise<void> } {
  let wake: (() => void) | undefined;
  let changed = false;
  const poke = () => {
    changed = true;
    wake?.();
  };
  let watcher: ReturnType<typeof watch> | undefined;
  try {
    watcher = watch(folder, { persistent: false }, poke);
    watcher.on("error", poke);
  } catch {
    // Not there yet: the regular look finds it.
  }
  signal.addEventListener("abort", poke);
  return {
    async next() {
      if (!changed) {
        const timer = setTimeout(poke, lookMs);
        await new Promise<void>((resolve) => (wake = resolve));
        clearTimeout(timer);
      }
      changed = false;
      wake = undefined;
    },
    [Symbol.dispose]() {
      watcher?.close();
      signal.removeEventListener("abort", poke);
    },
  };
}
