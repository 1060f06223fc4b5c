import { Informer } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { resources } from "../../api/resources.ts";
import type { IngressCompiler, IngressCompilerOptions } from "./compiler.ts";

export interface Ingresses {
  /** What became of the addresses that were published. */
  bound(bindings: readonly EdgeBinding[]): void;
  stop(): Promise<void>;
}

/** Starts the compiler when there is an Ingress for the first time: who has none pays for one watch. */
export function startIngresses(options: IngressCompilerOptions): Ingresses {
  const { client, clock, random, log, publish } = options;
  let bindings: readonly EdgeBinding[] = [];
  let compiler: Promise<IngressCompiler> | undefined;
  const ingresses = new Informer<KubeObject>({ client, clock, log, ...(random ? { random } : {}), resource: resources.ingresses, metadataOnly: true });
  const start = () => {
    compiler ??= import("./compiler.ts").then(({ startIngressCompiler }) => {
      const started = startIngressCompiler(options);
      started.bound(bindings);
      return started;
    });
    compiler.catch((error: unknown) => log.error("Ingresses are not served", { error }));
    void ingresses.stop();
  };
  ingresses.onChange((_key, object) => object && start());
  ingresses.start();
  // What an earlier process of ours said may still be served, though there is nothing any more.
  ingresses.synced.then(
    () => {
      if (!compiler) publish({ revision: 0, whole: true, scope: "ingress", put: {}, remove: {} });
    },
    () => {},
  );
  return {
    bound(next) {
      bindings = next;
      void compiler?.then((started) => started.bound(next));
    },
    async stop() {
      await ingresses.stop();
      await (await compiler?.catch(() => undefined))?.stop();
    },
  };
}
