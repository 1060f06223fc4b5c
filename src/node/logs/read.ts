import { watch } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
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
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])] as ContainerStatus[];
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
    case "InvalidImageName":
      throw waits("trying and failing to pull image");
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

/** The raw lines of one incarnation, rotated files first, then the growing one for as long as it is followed. */
async function* lines(path: string, folder: string, incarnation: number, { tailLines, follow, signal }: LogOptions): AsyncGenerator<Buffer> {
  const start = await startOf(path, tailLines);
  let rest: Buffer = Buffer.alloc(0);
  const cut = function* (chunk: Buffer): Generator<Buffer> {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
      yield data.subarray(0, end);
      data = data.subarray(end + 1);
    }
    rest = data;
  };

  for (const file of start.rotated) {
    const handle = await open(file.path).catch(() => undefined);
    if (!handle) continue;
    try {
      for await (const chunk of chunksOf(handle, file.offset)) yield* cut(chunk);
    } finally {
      await handle.close();
    }
  }
  let handle = await open(path).catch(() => undefined);
  let offset = start.offset;
  using changes = follow ? watchFolder(folder, signal) : undefined;
  try {
    for (;;) {
      // Looked at before reading: what is written until then is read below.
      const ended = !changes || signal.aborted || (await isOver(folder, incarnation));
      const rotated = handle && changes ? (await inode(path)) !== (await handle.stat()).ino : false;
      if (handle) {
        for await (const chunk of chunksOf(handle, offset)) {
          offset += chunk.length;
          yield* cut(chunk);
        }
      }
      if (rotated || (!handle && changes)) {
        await handle?.close();
        handle = await open(path).catch(() => undefined);
        offset = 0;
        if (handle && rotated) continue;
      }
      if (ended) return;
      await changes.next();
    }
  } finally {
    await handle?.close();
  }
}

async function* chunksOf(handle: FileHandle, from: number): AsyncGenerator<Buffer> {
  for (let offset = from; ; ) {
    const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(chunkBytes), 0, chunkBytes, offset);
    if (bytesRead === 0) return;
    offset += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

const inode = async (path: string) => (await stat(path).catch(() => undefined))?.ino;

/** The container's program has ended, a later one runs, or the pod is gone. */
async function isOver(folder: string, incarnation: number): Promise<boolean> {
  const names = await readdir(folder).catch(() => undefined);
  return names === undefined || names.includes(endMarker(incarnation)) || names.includes(`${incarnation + 1}.log`);
}

/** Where reading begins: everything, or `tailLines` lines before the end, counted backwards over the files. */
async function startOf(path: string, tailLines: number | undefined): Promise<{ rotated: { path: string; offset: number }[]; offset: number }> {
  const files = [...rotatedFiles(path), path];
  if (tailLines === undefined) return { rotated: files.slice(0, -1).map((file) => ({ path: file, offset: 0 })), offset: 0 };
  let left = tailLines;
  for (let at = files.length - 1; at >= 0; at--) {
    const handle = await open(files[at]!).catch(() => undefined);
    if (!handle) continue;
    try {
      const { size } = await handle.stat();
      for (let end = size; end > 0; ) {
        const begin = Math.max(0, end - chunkBytes);
        const { buffer } = await handle.read(Buffer.alloc(end - begin), 0, end - begin, begin);
        for (let i = buffer.length - 1; i >= 0; i--) {
          if (buffer[i] !== 10) continue;
          // The newline that ends line number left+1 from the end is where the tail begins.
          if (left-- === 0) {
            const found = { path: files[at]!, offset: begin + i + 1 };
            if (at === files.length - 1) return { rotated: [], offset: found.offset };
            return { rotated: [found, ...files.slice(at + 1, -1).map((file) => ({ path: file, offset: 0 }))], offset: 0 };
          }
        }
        end = begin;
      }
    } finally {
      await handle.close();
    }
  }
  return { rotated: files.slice(0, -1).map((file) => ({ path: file, offset: 0 })), offset: 0 };
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
