import { Backoff } from "../base/backoff.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { type Log, silentLog } from "../base/log.ts";
import { type Random, randomInt, systemRandom } from "../base/random.ts";
import type { Client } from "./client.ts";
import { type ObjectMeta, timestamp } from "./meta.ts";
import { resources } from "./resources.ts";
import { StatusError } from "./status.ts";

/**
 * Tells people what happened to an object. Nobody waits for an Event: `event` returns at once, writes go out in
 * batches behind everything else, and when the API is away for long the oldest are dropped.
 *
 * As upstream's recorder: the same Event again raises `count`; many that differ only in their message become one
 * `(combined from similar events)`; a source that talks too much about one object is cut off.
 * Source: k8s.io/client-go/tools/record/{event,events_cache}.go.
 */
export interface EventRecorder {
  event(about: EventSubject, type: "Normal" | "Warning", reason: string, message: string, options?: EventOptions): void;
  /** Resolves when nothing waits to be written, or writing must wait for the API to come back. */
  flush(): Promise<void>;
  stop(): void;
}

export interface EventSubject {
  apiVersion: string;
  kind: string;
  metadata: Pick<ObjectMeta, "name"> & Partial<Pick<ObjectMeta, "namespace" | "uid" | "resourceVersion">>;
}

export interface EventOptions {
  /** Which part of the object: "spec.containers{app}". */
  fieldPath?: string;
  annotations?: Record<string, string>;
}

export interface EventRecorderOptions {
  /** Who speaks: "deployment-controller", "default-scheduler", "kubelet". */
  component: string;
  /** The node's name, for the kubelet. */
  host?: string;
  clock: Clock;
  random?: Random;
  log?: Log;
}

/** Events remembered for counting, and waiting to be written. Older ones are forgotten: counted anew, or lost. */
const rememberedMax = 4096;
const pendingMax = 1000;
/** Written at a time: enough to share a commit, few enough to stay behind what somebody waits for. */
const batchSize = 32;
const attemptsMax = 12;
const similarMax = 10;
const similarWindowMs = 10 * 60 * 1000;
const burst = 25;
const refillMs = 5 * 60 * 1000;

interface Remembered {
  readonly key: string;
  readonly namespace: string;
  name: string;
  body: Record<string, unknown>;
  count: number;
  firstMs: number;
  lastMs: number;
  /** Whether the server has it, so that a change is a patch. */
  stored: boolean;
  attempts: number;
}

export function createEventRecorder(client: Client, options: EventRecorderOptions): EventRecorder {
  const { component, host = "", clock } = options;
  const random = options.random ?? systemRandom;
  const log = (options.log ?? silentLog).child("events");
  const remembered = new Map<string, Remembered>();
  const similar = new Map<string, { messages: Set<string>; sinceMs: number }>();
  const buckets = new Map<string, { tokens: number; atMs: number }>();
  const pending = new Set<Remembered>();
  const backoff = new Backoff(500, 30_000);
  let writing: Promise<void> | undefined;
  let retry: Timer | undefined;
  let stopped = false;

  function allowed(subject: string): boolean {
    const nowMs = clock.monotonicMs();
    const bucket = recent(buckets, subject, () => ({ tokens: burst, atMs: nowMs }));
    bucket.tokens = Math.min(burst, bucket.tokens + (nowMs - bucket.atMs) / refillMs);
    bucket.atMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  /** The message to use: the given one, or the common one when there are too many kinds of it. */
  function combined(group: string, message: string): { message: string; key: string } {
    const nowMs = clock.monotonicMs();
    const seen = recent(similar, group, () => ({ messages: new Set<string>(), sinceMs: nowMs }));
    if (nowMs - seen.sinceMs > similarWindowMs) seen.messages.clear();
    seen.sinceMs = nowMs;
    if (seen.messages.has(message) || seen.messages.size < similarMax - 1) {
      seen.messages.add(message);
      return { message, key: `${group}\0${message}` };
    }
    return { message: `(combined from similar events): ${message}`, key: group };
  }

  /** Unique without asking: the object's name and the time in nanoseconds, the part below a millisecond by chance. */
  const unique = (prefix: string): string => `${prefix}.${(BigInt(Math.floor(clock.now())) * 1_000_000n + BigInt(randomInt(random, 1_000_000))).toString(16)}`;

  function event(about: EventSubject, type: "Normal" | "Warning", reason: string, text: string, { fieldPath, annotations }: EventOptions = {}): void {
    if (stopped) return;
    const { namespace, name, uid = "", resourceVersion } = about.metadata;
    const subject = [about.kind, namespace ?? "", name, uid, about.apiVersion].join("\0");
    if (!allowed(subject)) return log.debug("too many events about one object", { reason, name });
    const { message, key } = combined([subject, fieldPath ?? "", type, reason].join("\0"), truncated(text));
    const nowMs = clock.now();
    let entry = remembered.get(key);
    if (entry) {
      remembered.delete(key);
      entry.count++;
      entry.body["message"] = message;
    } else {
      const involvedObject = { kind: about.kind, ...(namespace && { namespace }), name, ...(uid && { uid }), apiVersion: about.apiVersion, ...(resourceVersion && { resourceVersion }), ...(fieldPath && { fieldPath }) };
      const body = { involvedObject, reason, message, source: { component, ...(host && { host }) }, type, reportingComponent: component, reportingInstance: host };
      entry = { key, namespace: namespace ?? "default", name: unique(prefixOf(name)), body: { ...body, metadata: { annotations } }, count: 1, firstMs: nowMs, lastMs: nowMs, stored: false, attempts: 0 };
    }
    entry.lastMs = nowMs;
    remembered.set(key, entry);
    forgetOldest(remembered);
    pending.add(entry);
    if (pending.size > pendingMax) pending.delete(pending.values().next().value!);
    write();
  }

  function write(): void {
    if (!stopped && !retry) writing ??= pump().finally(() => (writing = undefined));
  }

  async function pump(): Promise<void> {
    // First let the code that reported finish its own writes of this turn.
    await Promise.resolve();
    while (pending.size > 0 && !stopped) {
      const batch = [...pending].slice(0, batchSize);
      for (const entry of batch) pending.delete(entry);
      const failed = (await Promise.all(batch.map(save))).filter((entry) => entry !== undefined);
      if (failed.length === 0) {
        backoff.reset();
        continue;
      }
      for (const entry of failed) pending.add(entry);
      retry = clock.setTimer(backoff.next(), () => {
        retry = undefined;
        write();
      });
      return;
    }
  }

  /** Gives the entry back when it should be tried again. */
  async function save(entry: Remembered): Promise<Remembered | undefined> {
    const lastTimestamp = timestamp(entry.lastMs);
    try {
      if (entry.stored) {
        await client.patch(resources.events, entry.namespace, entry.name, { count: entry.count, lastTimestamp, message: entry.body["message"] }, { type: "merge" });
      } else {
        const { metadata, ...body } = entry.body as { metadata: { annotations?: object } };
        const named = { name: entry.name, namespace: entry.namespace, ...(metadata.annotations && { annotations: metadata.annotations }) };
        await client.create(resources.events, entry.namespace, { apiVersion: "v1", kind: "Event", metadata: named, ...body, firstTimestamp: timestamp(entry.firstMs), lastTimestamp, count: entry.count });
        entry.stored = true;
      }
      entry.attempts = 0;
      return undefined;
    } catch (error) {
      if (error instanceof StatusError) {
        if (entry.stored && error.code === 404) {
          // Expired meanwhile: it begins anew.
          Object.assign(entry, { stored: false, count: 1, firstMs: entry.lastMs, name: unique(withoutTime(entry.name)) });
          return entry;
        }
        if (error.reason === "AlreadyExists") {
          entry.name = unique(withoutTime(entry.name));
          return entry;
        }
        if (error.code >= 400 && error.code < 500 && error.code !== 429) {
          // A namespace that is going away is no news; anything else is a fault of ours.
          const going = error.code === 404 || error.details?.causes?.some((cause) => cause.reason === "NamespaceTerminating");
          log[going ? "debug" : "warn"]("an event was refused", { error: error.message });
          remembered.delete(entry.key);
          return undefined;
        }
      }
      if (++entry.attempts < attemptsMax) return entry;
      log.warn("an event was given up", { error: (error as Error).message });
      return undefined;
    }
  }

  return {
    event,
    async flush() {
      while (writing) await writing;
    },
    stop() {
      stopped = true;
      retry?.cancel();
    },
  };
}

/** Room for "." and 16 digits in a name of 253; an object whose name is none of DNS has Events named after their time alone. */
function prefixOf(name: string): string {
  const prefix = name.slice(0, 236).replace(/[-.]+$/, "");
  return /^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(prefix) ? prefix : "event";
}
const withoutTime = (name: string): string => name.slice(0, name.lastIndexOf("."));

/** The entry under `key`, now the youngest. */
function recent<V>(map: Map<string, V>, key: string, create: () => V): V {
  const value = map.get(key) ?? create();
  map.delete(key);
  map.set(key, value);
  forgetOldest(map);
  return value;
}

function forgetOldest(map: Map<string, unknown>): void {
  if (map.size > rememberedMax) map.delete(map.keys().next().value!);
}

/** The API refuses longer ones. */
const messageBytesMax = 1024;
const truncated = (message: string): string => (message.length > messageBytesMax ? `${message.slice(0, messageBytesMax - 4)} ...` : message);
