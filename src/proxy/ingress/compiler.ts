import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import type { ConfigMap, Service } from "../../api/types.ts";
import { type Compiler, type CompilerOptions, Compiling, same } from "../compiling.ts";
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
  const { client, clock, random, log, fakeCertificate } = options;
  const compiling = new Compiling(options, {
    component: "ingress-controller",
    scope: "ingress",
    matters,
    changed: (kind, key) => translator.changed(kind, key),
    snapshot: () => translator.snapshot(),
    flush() {
      const { patch, told, faults } = translator.flush();
      for (const { what, error } of faults) log.error("Ingress traffic stays as it was", { what, error });
      const tell = () => {
        for (const { key, notes, addresses } of told) {
          const ingress = world.ingress(key);
          if (!ingress) continue;
          compiling.notes.tell(ingress, notes);
          writer.want(key, addresses);
        }
      };
      return { patch, tell };
    },
    async stop() {
      await readiness.stop();
      await writer.stop();
    },
  });
  const { watches } = compiling;
  const ingresses = watches.of<Ingress>("Ingress", resources.ingresses);
  const classes = watches.of<IngressClass>("IngressClass", resources.ingressClasses);
  const services = watches.of<Service>("Service", resources.services);
  const secrets = watches.secrets();
  const configMaps = watches.of<ConfigMap>("ConfigMap", resources.configMaps);
  const readiness = new Readiness({ client, clock, log, ...(random ? { random } : {}) }, (service) => compiling.changed("Service", service));
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
  return compiling.start((bindings) => {
    translator.bound = boundOf(bindings);
    compiling.due();
  });
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

function matters(_kind: string, object: KubeObject, old: KubeObject): boolean {
  const read = ({ metadata, ...rest }: KubeObject) => [metadata.annotations, rest["spec"], rest["data"]];
  return !same(read(object), read(old));
}
