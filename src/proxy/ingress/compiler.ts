import type { Client } from "../../api/client.ts";
import { createEventRecorder } from "../../api/events.ts";
import { Informer } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import type { TrafficPatch, TrafficSnapshot } from "../../api/traffic.ts";
import type { ConfigMap, Secret, Service } from "../../api/types.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { KeyPair } from "./certificates.ts";
import type { Ingress, IngressClass } from "./kinds.ts";
import { Readiness } from "./readiness.ts";
import { ingressStatusWriter } from "./status-writer.ts";
import { address, type Bound, ports, type Told, Translator } from "./translate.ts";
import type { World } from "./world.ts";

export interface IngressCompilerOptions {
  client: Client;
  clock: Clock;
  random?: Random;
  log: Log;
  /** A self-signed certificate, for names that nobody has one for. */
  fakeCertificate(): KeyPair;
  publish(patch: TrafficPatch): void;
}

export interface IngressCompiler {
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

/** Watches Ingresses and what they name, publishes patches for the engine, and writes statuses and Events. */
export function startIngressCompiler({ client, clock, random, log, fakeCertificate, publish }: IngressCompilerOptions): IngressCompiler {
  const recorder = createEventRecorder(client, { component: "ingress-controller", clock, log, ...(random ? { random } : {}) });
  /** What each Ingress has been told, by the uid: an Event for what is new. */
  const said = new Map<string, string>();
  let timer: Timer | undefined;
  let isSynced = false;
  let isFirst = true;
  let isDue = false;
  let stopped = false;
  const flush = (): void => {
    isDue = false;
    const { patch, told, faults } = translator.flush();
    for (const { what, error } of faults) log.error("Ingress traffic stays as it was", { what, error });
    if (isFirst) publish({ revision: patch?.revision ?? 0, whole: true, scope: "ingress", put: translator.snapshot(), remove: {} });
    else if (patch) publish(patch);
    isFirst = false;
    for (const one of told) tell(one);
    timer = clock.setTimer(gatherMs, () => {
      timer = undefined;
      if (isDue && !stopped) flush();
    });
  };
  const due = (): void => {
    if (isDue || stopped) return;
    isDue = true;
    if (isSynced && !timer) queueMicrotask(() => isDue && !timer && !stopped && flush());
  };
  const tell = ({ key, notes, addresses }: Told): void => {
    const ingress = world.ingress(key);
    if (!ingress) return;
    const uid = ingress.metadata.uid;
    const before = new Set((JSON.parse(said.get(uid) ?? "[]") as unknown[]).map((note) => JSON.stringify(note)));
    for (const note of notes) if (!before.has(JSON.stringify(note))) recorder.event(ingress, note.type, note.reason, note.message);
    said.set(uid, JSON.stringify(notes));
    writer.want(key, addresses);
  };

  const informers: Informer<never>[] = [];
  const watch = <T extends KubeObject>(kind: string, resource: GroupVersionResource): Informer<T> => {
    const informer = new Informer<T>({ client, resource, clock, log, ...(random ? { random } : {}) });
    informer.onChange((key, object, old) => {
      if (object && old && !matters(object, old)) return;
      if (kind === "Ingress" && !object && old) said.delete(old.metadata.uid);
      translator.changed(kind, key);
      due();
    });
    informers.push(informer as unknown as Informer<never>);
    return informer;
  };
  const ingresses = watch<Ingress>("Ingress", resources.ingresses);
  const classes = watch<IngressClass>("IngressClass", resources.ingressClasses);
  const services = watch<Service>("Service", resources.services);
  const secrets = watch<Secret>("Secret", resources.secrets);
  const configMaps = watch<ConfigMap>("ConfigMap", resources.configMaps);
  const readiness = new Readiness({ client, clock, log, ...(random ? { random } : {}) }, (service) => {
    translator.changed("Service", service);
    due();
  });
  const world: World = {
    ingress: (key) => ingresses.get(key),
    ingresses: () => ingresses.list(),
    ingressClass: (name) => classes.get(name),
    service: (key) => services.get(key),
    secret: (key) => secrets.get(key),
    configMap: (key) => configMaps.get(key),
    isReady: (service) => readiness.of(service),
  };
  const translator = new Translator(world, fakeCertificate());
  const writer = ingressStatusWriter({ client, world, clock, log });
  for (const informer of informers) informer.start();
  const synced = Promise.all(informers.map((informer) => informer.synced)).then(() => {
    isSynced = true;
    if (!stopped) flush();
  });
  synced.catch(() => {});
  return {
    snapshot: () => translator.snapshot(),
    bound(bindings) {
      translator.bound = boundOf(bindings);
      due();
    },
    synced,
    async stop() {
      stopped = true;
      timer?.cancel();
      await Promise.all(informers.map((informer) => informer.stop()));
      await readiness.stop();
      await writer.stop();
      recorder.stop();
    },
  };
}

function boundOf(bindings: readonly EdgeBinding[]): Bound {
  const of = (port: number) => bindings.find((binding) => binding.protocol === "TCP" && binding.address === address && binding.port === port);
  const [http, https] = [of(ports.http), of(ports.https)];
  const failed = [http, https].filter((binding) => binding && binding.boundPort === undefined);
  return {
    http: http?.boundPort,
    https: https?.boundPort,
    ...(failed.length > 0 && { problem: failed.map((binding) => `${address}:${binding!.port} cannot be listened on: ${binding!.code === "EADDRINUSE" ? "another program has it" : (binding!.code ?? "the reason is not known")}`).join("; ") }),
  };
}

/** Statuses change objects, not traffic. */
function matters(object: KubeObject, old: KubeObject): boolean {
  const read = ({ metadata, ...rest }: KubeObject) => JSON.stringify([metadata.uid, metadata.annotations, rest["spec"], rest["data"]]);
  return read(object) !== read(old);
}
