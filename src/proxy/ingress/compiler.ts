import { Informer } from "../../api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import type { ConfigMap, Secret, Service } from "../../api/types.ts";
import { type Compiler, type CompilerOptions, Gathering, Notes } from "../compiling.ts";
import type { KeyPair } from "./certificates.ts";
import type { Ingress, IngressClass } from "./kinds.ts";
import { Readiness } from "./readiness.ts";
import { ingressStatusWriter } from "./status-writer.ts";
import { address, type Bound, ports, Translator } from "./translate.ts";
import type { World } from "./world.ts";

export interface IngressCompilerOptions extends CompilerOptions {
  /** A self-signed certificate, for names that nobody has one for. */
  fakeCertificate(): KeyPair;
}

/** Watches Ingresses and what they name, publishes patches for the engine, and writes statuses and Events. */
export function startIngressCompiler(options: IngressCompilerOptions): Compiler {
  const { client, clock, random, log, fakeCertificate, publish } = options;
  const notes = new Notes("ingress-controller", options);
  const gathering = new Gathering({
    clock,
    scope: "ingress",
    publish,
    snapshot: () => translator.snapshot(),
    flush: () => {
      const { patch, told, faults } = translator.flush();
      for (const { what, error } of faults) log.error("Ingress traffic stays as it was", { what, error });
      const tell = () => {
        for (const { key, notes: all, addresses } of told) {
          const ingress = world.ingress(key);
          if (!ingress) continue;
          notes.tell(ingress, all);
          writer.want(key, addresses);
        }
      };
      return { patch, tell };
    },
  });

  const informers: Informer<never>[] = [];
  const watch = <T extends KubeObject>(kind: string, resource: GroupVersionResource): Informer<T> => {
    const informer = new Informer<T>({ client, resource, clock, log, ...(random ? { random } : {}) });
    informer.onChange((key, object, old) => {
      if (object && old && !matters(object, old)) return;
      if (kind === "Ingress" && !object && old) notes.forget(old.metadata.uid);
      translator.changed(kind, key);
      gathering.due();
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
    gathering.due();
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
  const synced = Promise.all(informers.map((informer) => informer.synced)).then(() => gathering.synced());
  synced.catch(() => {});
  return {
    snapshot: () => translator.snapshot(),
    bound(bindings) {
      translator.bound = boundOf(bindings);
      gathering.due();
    },
    synced,
    async stop() {
      gathering.stop();
      await Promise.all(informers.map((informer) => informer.stop()));
      await readiness.stop();
      await writer.stop();
      notes.stop();
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
