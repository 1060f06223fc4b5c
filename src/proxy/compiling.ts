import { createEventRecorder } from "../api/events.ts";
import type { Client } from "../api/client.ts";
import { Informer } from "../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../api/meta.ts";
import type { EdgeBinding } from "../api/network.ts";
import type { TrafficPatch, TrafficSnapshot } from "../api/traffic.ts";
import type { Clock, Timer } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import { Watches } from "./watches.ts";

/** What compilers of traffic have in common: Gateways', Ingresses' and Istio's. */
export interface CompilerOptions {
  client: Client;
  clock: Clock;
  random?: Random;
  log: Log;
  publish(patch: TrafficPatch): void;
}

export interface Compiler {
  /** What all patches so far come to. */
  snapshot(): TrafficSnapshot;
  /** What became of the addresses that were published. */
  bound(bindings: readonly EdgeBinding[]): void;
  /** Resolves when the first look at the world is published. */
  readonly synced: Promise<void>;
  stop(): Promise<void>;
}

type Scope = NonNullable<TrafficPatch["scope"]>;

/** How long changes are gathered after some were published: a burst costs one patch, a lone change no wait. */
const gatherMs = 5;

/** What a translation makes of the world. */
interface Translation {
  snapshot(): TrafficSnapshot;
  /** Works off what changed. What it found is told once it is published. */
  flush(): { patch: TrafficPatch | undefined; tell(): void };
  /** Whether an object's change can change anything: statuses and heartbeats change objects, not traffic. */
  matters(kind: string, object: KubeObject, old: KubeObject): boolean;
  /** Marks what is to be translated anew; false: nothing is. */
  changed(kind: string, key: string, object: KubeObject | undefined): boolean | void;
  /** Not called before {@link Compiling.start}. */
  stop(): Promise<void>;
}

/** What joins a translation to the world that it reads, to the engine and to whom it tells what became of them. */
export class Compiling {
  readonly watches: Watches;
  readonly notes: Notes;
  readonly #translation: Translation;
  readonly #gathering: Gathering;

  /** `component` is whose Events they are. */
  constructor(options: CompilerOptions, { component, scope, ...translation }: Translation & { component: string; scope: Scope }) {
    this.#translation = translation;
    this.notes = new Notes(component, options);
    this.#gathering = new Gathering({ clock: options.clock, scope, publish: options.publish, ...translation });
    this.watches = new Watches(options, (kind, key, object, old) => {
      if (object && old && object.metadata.uid === old.metadata.uid && !translation.matters(kind, object, old)) return;
      if (!object && old) this.notes.forget(old.metadata.uid);
      this.changed(kind, key, object);
    });
  }

  changed(kind: string, key: string, object?: KubeObject): void {
    if (this.#translation.changed(kind, key, object) !== false) this.due();
  }
  due(): void {
    this.#gathering.due();
  }

  /** To be called once all is watched that is read. `bound` is heard of addresses that were published. */
  start(bound: Compiler["bound"] = () => {}): Compiler {
    this.watches.start();
    const synced = this.watches.synced().then(() => this.#gathering.synced());
    synced.catch(() => {});
    return {
      snapshot: () => this.#translation.snapshot(),
      bound,
      synced,
      stop: async () => {
        this.#gathering.stop();
        await this.watches.stop();
        await this.#translation.stop();
        this.notes.stop();
      },
    };
  }
}

/** By their JSON: of values that one server wrote. */
export const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** When a translation is worked off and published: once the world is known, and then as soon as something is due. */
class Gathering {
  readonly #clock: Clock;
  readonly #work: () => void;
  #timer: Timer | undefined;
  #isSynced = false;
  #isDue = false;
  #stopped = false;

  /** The first patch says everything: the engine may still serve what an earlier compiler said. */
  constructor({ clock, scope, publish, flush, snapshot }: { clock: Clock; scope: Scope; publish(patch: TrafficPatch): void } & Pick<Translation, "flush" | "snapshot">) {
    this.#clock = clock;
    let isFirst = true;
    this.#work = () => {
      const { patch, tell } = flush();
      if (isFirst) publish({ revision: patch?.revision ?? 0, whole: true, scope, put: snapshot(), remove: {} });
      else if (patch) publish(patch);
      isFirst = false;
      tell();
    };
  }

  due(): void {
    if (this.#isDue || this.#stopped) return;
    this.#isDue = true;
    // What one answer of the watch brings comes within this turn.
    if (this.#isSynced && !this.#timer) queueMicrotask(() => this.#isDue && !this.#timer && this.#flush());
  }

  synced(): void {
    this.#isSynced = true;
    this.#flush();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #flush(): void {
    if (this.#stopped) return;
    this.#isDue = false;
    this.#work();
    this.#timer = this.#clock.setTimer(gatherMs, () => {
      this.#timer = undefined;
      if (this.#isDue) this.#flush();
    });
  }
}

export interface Note {
  type: "Normal" | "Warning";
  reason: string;
  message: string;
}

/** What is true for a moment alone, while a folder is applied whose objects name each other, nobody has to be told. */
const standsMs = 1_000;

/** Tells objects what became of them, by Events: each note once it has stood for a second, and again when it was gone meanwhile. */
export class Notes {
  readonly #recorder;
  readonly #clock: Clock;
  /** What each object has been told, by its uid. */
  readonly #said = new Map<string, Set<string>>();
  /** What it is to be told, since when that is so. */
  readonly #untold = new Map<string, { object: KubeObject; since: Map<string, number>; timer: Timer | undefined }>();

  constructor(component: string, { client, clock, random, log }: Pick<CompilerOptions, "client" | "clock" | "random" | "log">) {
    this.#clock = clock;
    this.#recorder = createEventRecorder(client, { component, clock, log, ...(random ? { random } : {}) });
  }
  /** All that there is to say. */
  tell(object: KubeObject, notes: readonly Note[]): void {
    const { uid } = object.metadata;
    if (notes.length === 0) return this.forget(uid);
    const texts = notes.map((note) => JSON.stringify(note));
    const said = new Set(texts.filter((text) => this.#said.get(uid)?.has(text)));
    this.#said.set(uid, said);
    const now = this.#clock.monotonicMs();
    const before = this.#untold.get(uid);
    before?.timer?.cancel();
    const since = new Map(texts.filter((text) => !said.has(text)).map((text) => [text, before?.since.get(text) ?? now]));
    this.#untold.delete(uid);
    if (since.size > 0) this.#wait(object, since);
  }
  #wait(object: KubeObject, since: Map<string, number>): void {
    const dueMs = Math.min(...since.values()) + standsMs;
    const timer = this.#clock.setTimer(Math.max(0, dueMs - this.#clock.monotonicMs()), () => this.#say(object, since));
    this.#untold.set(object.metadata.uid, { object, since, timer });
  }
  #say(object: KubeObject, since: Map<string, number>): void {
    const { uid } = object.metadata;
    this.#untold.delete(uid);
    for (const [text, at] of since) {
      if (this.#clock.monotonicMs() < at + standsMs) continue;
      const { type, reason, message } = JSON.parse(text) as Note;
      this.#recorder.event(object as KubeObject & { apiVersion: string; kind: string }, type, reason, message);
      this.#said.get(uid)?.add(text);
      since.delete(text);
    }
    if (since.size > 0) this.#wait(object, since);
  }
  forget(uid: string): void {
    this.#said.delete(uid);
    this.#untold.get(uid)?.timer?.cancel();
    this.#untold.delete(uid);
  }
  stop(): void {
    for (const { timer } of this.#untold.values()) timer?.cancel();
    this.#untold.clear();
    this.#recorder.stop();
  }
}

/** A compiler that starts when there is an object for the first time: who has none pays for a watch of its kind. */
export interface Started {
  /** What became of the addresses that were published. */
  bound(bindings: readonly EdgeBinding[]): void;
  stop(): Promise<void>;
}

/** `load` starts the compiler, with the first object of any of the `watched` kinds. `name` is for the log: "Gateways". */
export function startAtFirst({ client, clock, random, log, publish }: CompilerOptions, { watched, scope, name, load }: { watched: readonly GroupVersionResource[]; scope: Scope; name: string; load(): Promise<Compiler> }): Started {
  let bindings: readonly EdgeBinding[] = [];
  let compiler: Promise<Compiler> | undefined;
  const informers = watched.map((resource) => new Informer<KubeObject>({ client, clock, log, ...(random ? { random } : {}), resource, metadataOnly: true }));
  const stopWatching = () => Promise.all(informers.map((informer) => informer.stop()));
  const seen = (_key: string, object: KubeObject | undefined) => {
    if (!object || compiler) return;
    compiler = load().then((started) => {
      started.bound(bindings);
      return started;
    });
    compiler.catch((error: unknown) => log.error(`${name} are not served`, { error }));
    void stopWatching();
  };
  for (const informer of informers) {
    informer.onChange(seen);
    informer.start();
  }
  // What an earlier process of ours said may still be served, though there is nothing any more.
  Promise.all(informers.map(({ synced }) => synced)).then(
    () => {
      if (!compiler) publish({ revision: 0, whole: true, scope, put: {}, remove: {} });
    },
    () => {},
  );
  return {
    bound(next) {
      bindings = next;
      void compiler?.then((started) => started.bound(next));
    },
    async stop() {
      await stopWatching();
      await (await compiler?.catch(() => undefined))?.stop();
    },
  };
}
