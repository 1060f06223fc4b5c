import { createHash } from "node:crypto";
import { relative } from "node:path";
import type { Artifact } from "../../api/artifacts.ts";
import type { EventRecorder } from "../../api/events.ts";
import type { HttpClient } from "../../api/http-client.ts";
import { namedFiles, reloadAnnotation, reloadFailedAnnotation, reloadValue } from "../../api/reload.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";
import { workloadOf } from "../workload.ts";
import { syntaxError } from "./check.ts";
import { lastWords } from "./last-words.ts";
import { type Marks, marksOf, patienceMs, type Verdict, verdictOf } from "./verdict.ts";

/** A workload whose pods run changed code; its replicas are reloaded one after the other. */
interface Queue {
  name: string;
  files: Set<string>;
  artifacts: Set<Artifact>;
  relinked: boolean;
  /** Aborted by the next change: what is waited for then is out of date. */
  superseded: AbortController;
  running: Promise<void> | undefined;
}

interface Round {
  files: string[];
  artifacts: Artifact[];
  relinked: boolean;
}

/**
 * Brings pods to the code that their folders hold now: each workload on its own, in each one replica at a time, and the next
 * only when the one before is Ready again. A replica that does not come up with the new code ends the round, so that the
 * others go on with the old one; the next change begins a new round, with those that are not Ready.
 */
export class Reloader {
  readonly #client: HttpClient;
  readonly #events: EventRecorder;
  readonly #say: (line: string) => void;
  readonly #queues = new Map<string, Queue>();
  /** Saved with an error that is not mended yet: what is saved beside it cannot run either. */
  readonly #unreadable = new Set<string>();

  constructor(client: HttpClient, events: EventRecorder, say: (line: string) => void) {
    this.#client = client;
    this.#events = events;
    this.#say = say;
  }

  /** Resolves when every pod that runs one of the artifacts is done, or the round was given up. */
  async changed(artifacts: readonly Artifact[], files: readonly string[], relinked = false): Promise<void> {
    const suspects = [...this.#unreadable].filter((file) => artifacts.some(({ context }) => !relative(context, file).startsWith("..")));
    const [{ items }, broken] = await Promise.all([patiently(() => this.#client.list<Pod>(resources.pods)), runByNode(artifacts) ? syntaxError([...files, ...suspects]) : undefined]);
    if (broken === undefined) for (const file of suspects) this.#unreadable.delete(file);
    else for (const file of files) this.#unreadable.add(file);
    const pods = items.filter((pod) => containersRunning(pod, artifacts).length > 0);
    if (pods.length === 0) return;
    const shown = shownFiles(files, artifacts);
    if (broken !== undefined) {
      // Replicas that a round has not come to would start with it too.
      for (const pod of pods) this.#queues.get(workloadOf(pod).key)?.superseded.abort();
      const message = `${namedFiles(shown)} changed, and cannot be read; the old code goes on:\n${broken}`.slice(0, messageMax);
      for (const pod of pods) this.#events.event({ ...pod, apiVersion: "v1", kind: "Pod" }, "Warning", "ReloadFailed", message);
      await Promise.all(pods.map((pod) => this.#note(pod, message)));
      this.#say(`${namedFiles(shown)} changed: not reloaded, because Node cannot read it; the old code goes on\n${indent(broken)}`);
      return;
    }
    const rounds = new Set<Promise<void>>();
    for (const pod of pods) {
      const { key, name } = workloadOf(pod);
      const queue = this.#queues.get(key) ?? { name, files: new Set(), artifacts: new Set(), relinked: false, superseded: new AbortController(), running: undefined };
      this.#queues.set(key, queue);
      for (const file of shown) queue.files.add(file);
      for (const artifact of artifacts) queue.artifacts.add(artifact);
      queue.relinked ||= relinked;
      queue.superseded.abort();
      queue.running ??= this.#work(key, queue).finally(() => {
        queue.running = undefined;
        if (queue.artifacts.size === 0) this.#queues.delete(key);
      });
      rounds.add(queue.running);
    }
    await Promise.all(rounds);
  }

  async #work(key: string, queue: Queue): Promise<void> {
    // What else changed in this moment belongs to the same round.
    await Promise.resolve();
    while (queue.files.size > 0) {
      const round: Round = { files: [...queue.files], artifacts: [...queue.artifacts], relinked: queue.relinked };
      Object.assign(queue, { files: new Set(), artifacts: new Set(), relinked: false, superseded: new AbortController() });
      let done: "all" | "superseded" | "failed" = "failed";
      try {
        done = await this.#round(key, queue, round);
      } catch (error) {
        this.#say(`${queue.name} was not reloaded: ${(error as Error).message}`);
      }
      if (done === "all") continue;
      // Replicas that still run what these were before are the next round's, whatever it was that changed then.
      for (const artifact of round.artifacts) queue.artifacts.add(artifact);
      queue.relinked ||= round.relinked;
    }
  }

  async #round(key: string, queue: Queue, round: Round): Promise<"all" | "superseded" | "failed"> {
    const { files, artifacts } = round;
    const { items } = await patiently(() => this.#client.list<Pod>(resources.pods));
    const pods = items.filter((pod) => workloadOf(pod).key === key && containersRunning(pod, artifacts).length > 0).sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || (a.metadata.name < b.metadata.name ? -1 : 1));
    const began = performance.now();
    this.#say(`${namedFiles(files)} changed: reloading ${queue.name}${pods.length > 1 ? ` (${pods.length} replicas, one at a time)` : ""}`);
    for (const [index, pod] of pods.entries()) {
      const start = performance.now();
      const since = new Date();
      const verdict = await this.#reload(pod, round, queue.superseded.signal);
      const { name } = pod.metadata;
      if (verdict.kind === "superseded") return "superseded";
      if (verdict.kind === "gone") continue;
      if (verdict.kind === "ready") {
        this.#say(`  ✓ ${name}  Ready after ${seconds(start)}`);
        continue;
      }
      const rest = pods.slice(index + 1).filter(isReady).length;
      const words = await lastWords(this.#client, pod, verdict.container, since);
      const message = `${namedFiles(files)} changed, and ${verdict.why}${words && `:\n${words}`}`.slice(0, messageMax);
      await Promise.all(pods.slice(index).map((behind) => this.#note(behind, message)));
      this.#say(`  ✗ ${name}  ${verdict.why}; ${rest > 0 ? `the old code goes on in ${rest} other replica${rest > 1 ? "s" : ""}` : "no other replica serves"}. Save again to try again.${words && `\n${indent(words)}`}`);
      return "failed";
    }
    this.#say(`${queue.name} runs the new code (${seconds(began)})`);
    return "all";
  }

  /** For whoever asks later: `wherry status`, `kubectl describe`. The next reload takes it away. */
  async #note(pod: Pod, message: string): Promise<void> {
    const annotations = { [reloadFailedAnnotation]: message };
    await this.#client.patch<Pod>(resources.pods, pod.metadata.namespace, pod.metadata.name, { metadata: { uid: pod.metadata.uid, annotations } }, { type: "merge" }).catch(() => {});
  }

  async #reload(pod: Pod, { artifacts, files, relinked }: Round, superseded: AbortSignal): Promise<Verdict> {
    const containers = containersRunning(pod, artifacts);
    let before: Marks;
    let version: string | undefined;
    try {
      const now = await patiently(() => this.#client.get<Pod>(resources.pods, pod.metadata.namespace, pod.metadata.name));
      before = marksOf(now, containers);
      const annotations = { [reloadAnnotation]: reloadValue({ containers, files: files.slice(0, 10), ...(relinked && { relinked }), at: new Date().toISOString() }), [reloadFailedAnnotation]: null };
      const asked = await patiently(() => this.#client.patch<Pod>(resources.pods, pod.metadata.namespace, pod.metadata.name, { metadata: { uid: pod.metadata.uid, annotations } }, { type: "merge" }));
      version = asked.metadata.resourceVersion;
    } catch (error) {
      if (error instanceof StatusError && (error.code === 404 || error.code === 409)) return { kind: "gone" };
      throw error;
    }
    const timeout = AbortSignal.timeout(patienceMs(pod, containers));
    const signal = AbortSignal.any([superseded, timeout]);
    // Without a probe it is Ready as soon as it runs: it gets a moment to fall over.
    const unproved = pod.spec!.containers.some(({ name, readinessProbe }) => containers.includes(name) && readinessProbe === undefined);
    let settle: AbortSignal | undefined;
    let good: Verdict | undefined;
    for (;;) {
      try {
        const watching = settle ? AbortSignal.any([signal, settle]) : signal;
        for await (const { type, object } of this.#client.watch<Pod>(resources.pods, { namespace: pod.metadata.namespace!, fieldSelector: `metadata.name=${pod.metadata.name}`, signal: watching, ...(version !== undefined && { resourceVersion: version }) })) {
          version = object.metadata.resourceVersion;
          const verdict = type === "DELETED" || object.metadata.uid !== pod.metadata.uid ? ({ kind: "gone" } as const) : verdictOf(object, before);
          if (verdict?.kind === "ready" && unproved) {
            good = verdict;
            settle ??= AbortSignal.timeout(provingMs);
            break;
          }
          if (verdict) return verdict;
        }
      } catch (error) {
        if (error instanceof StatusError && error.code === 410) version = undefined;
        if (!signal.aborted && !settle?.aborted) await new Promise((resolve) => setTimeout(resolve, 100));
      }
      if (superseded.aborted) return { kind: "superseded" };
      if (settle?.aborted && good) return good;
      if (timeout.aborted) return { kind: "failed", container: containers[0]!, why: `is not Ready after ${Math.round(patienceMs(pod, containers) / 1000)} s` };
    }
  }
}

const unreachableMs = 15_000;

/** The API server may be restarting; what it answers is an answer. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (const deadline = performance.now() + unreachableMs; ; ) {
    try {
      return await ask();
    } catch (error) {
      if (error instanceof StatusError || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

const provingMs = 700;
/** Of an Event and an annotation: a stack trace, not a log. */
const messageMax = 1000;

/** Names of the containers of a pod that run one of the artifacts; none when the pod is not to be reloaded. */
export function containersRunning(pod: Pod, artifacts: readonly Artifact[]): string[] {
  if (pod.metadata.deletionTimestamp || (pod.spec!.restartPolicy ?? "Always") !== "Always" || pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed") return [];
  const initialized = pod.status?.conditions?.some(({ type, status }) => type === "Initialized" && status === "True");
  const sidecars = new Set((pod.spec!.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always").map(({ name }) => name));
  return [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? []).filter(({ name }) => sidecars.has(name))].filter(({ image, imageID }) => artifacts.some((artifact) => (imageID === "" ? initialized && isNamed(image, artifact) : runs(imageID, artifact)))).map(({ name }) => name);
}

/** One that is just starting may have read the old code, and does not say yet what it runs. */
function isNamed(image: string, { image: name, tag }: Artifact): boolean {
  return image === name || (image.startsWith(`${name}:`) && (tag === "" || image === `${name}:${tag}`));
}

/** As the node names an image that is a linked folder: by what it is made of, or an earlier state of that. */
function runs(imageID: string, artifact: Artifact): boolean {
  const prefix = `wherry://${artifact.image}@sha256:`;
  if (!imageID.startsWith(prefix)) return false;
  return artifact.tag === "" || imageID === prefix + createHash("sha256").update(JSON.stringify(artifact)).digest("hex");
}

export function runByNode(artifacts: readonly Artifact[]): boolean {
  return artifacts.every(({ entrypoint, cmd }) => /(^|\/)node$/.test([...entrypoint, ...cmd][0] ?? ""));
}

function shownFiles(files: readonly string[], artifacts: readonly Artifact[]): string[] {
  return files.map((file) => {
    const inside = artifacts.map(({ context }) => relative(context, file)).filter((path) => !path.startsWith(".."));
    return inside.sort((a, b) => a.length - b.length)[0] ?? relative(process.cwd(), file);
  });
}

export const isReady = (pod: Pod) => pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
export const indent = (text: string) => text.split("\n").map((line) => `      ${line}`).join("\n");
const seconds = (since: number) => `${((performance.now() - since) / 1000).toFixed(2)} s`;
