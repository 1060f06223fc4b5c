import type { Client } from "../../api/client.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { TrafficPatch, TrafficSnapshot } from "../../api/traffic.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import { LoopbackAddresses } from "./addresses.ts";
import { StatusWriter } from "./status-writer.ts";
import { Translator } from "./translate.ts";
import { WatchedWorld } from "./world.ts";

export interface GatewayCompilerOptions {
  client: Client;
  clock: Clock;
  random?: Random;
  log: Log;
  publish(patch: TrafficPatch): void;
}

export interface GatewayCompiler {
  /** What all patches so far come to. */
  snapshot(): TrafficSnapshot;
  /** What became of the addresses that were published. */
  bound(bindings: readonly EdgeBinding[]): void;
  /** Resolves when the first look at the world is published. */
  readonly synced: Promise<void>;
  stop(): Promise<void>;
}

/** How long changes are gathered after some were published: a burst costs one patch, a lone change no wait. */
const gatherMs = 5;

/** Watches Gateway API objects and what they name, publishes patches for the engine, and writes statuses. */
export function startGatewayCompiler({ client, clock, random, log, publish }: GatewayCompilerOptions): GatewayCompiler {
  const addresses = new LoopbackAddresses();
  let timer: Timer | undefined;
  let isSynced = false;
  /** Says everything: the engine may still serve what an earlier compiler said. */
  let isFirst = true;
  let isDue = false;
  let stopped = false;
  const flush = (): void => {
    isDue = false;
    const { patch, statuses } = translator.flush();
    if (isFirst) publish({ revision: patch?.revision ?? 0, whole: true, scope: "gateway", put: translator.snapshot(), remove: {} });
    else if (patch) publish(patch);
    isFirst = false;
    writer.want(statuses);
    timer = clock.setTimer(gatherMs, () => {
      timer = undefined;
      if (isDue && !stopped) flush();
    });
  };
  const due = (): void => {
    if (isDue || stopped) return;
    isDue = true;
    // What one answer of the watch brings comes within this turn.
    if (isSynced && !timer) queueMicrotask(() => isDue && !timer && !stopped && flush());
  };
  const world = new WatchedWorld({
    client,
    clock,
    log,
    ...(random ? { random } : {}),
    changed: (kind, key, object, old) => {
      if (object && old && !matters(kind, object, old)) return;
      if (!object && kind === "Gateway") addresses.release(key);
      translator.changed(kind, key);
      due();
    },
  });
  const translator = new Translator(world, addresses);
  const writer = new StatusWriter({ client, world, clock, log });
  const synced = world.synced.then(() => {
    isSynced = true;
    if (!stopped) flush();
  });
  synced.catch(() => {});
  return {
    snapshot: () => translator.snapshot(),
    bound(bindings) {
      addresses.bindings = bindings;
      translator.changed("Binding", "");
      due();
    },
    synced,
    async stop() {
      stopped = true;
      timer?.cancel();
      await world.stop();
      await writer.stop();
    },
  };
}

/** Statuses and heartbeats change objects, not traffic. */
function matters(kind: string, object: KubeObject, old: KubeObject): boolean {
  if (object.metadata.uid !== old.metadata.uid) return true;
  switch (kind) {
    case "Namespace":
      return !same(object.metadata.labels, old.metadata.labels);
    case "Service":
      return !same(object["spec"]?.ports, old["spec"]?.ports) || object["spec"]?.type !== old["spec"]?.type;
    case "Secret":
    case "ConfigMap":
      return !same(object["data"], old["data"]);
    default:
      return object.metadata.generation !== old.metadata.generation;
  }
}
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
