import { installDefinitions } from "../../api/definitions/definitions.ts";
import { Informer } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { GatewayCompiler, GatewayCompilerOptions } from "./compiler.ts";
import { classConditions } from "./gateway-class.ts";
import { type GatewayClass, gatewayResources } from "./kinds.ts";
import { StatusWriter } from "./status-writer.ts";
import { ObjectWorld } from "./world.ts";

export interface Gateways {
  /** What became of the addresses that were published. */
  bound(bindings: readonly EdgeBinding[]): void;
  stop(): Promise<void>;
}

/**
 * Sees to it that Gateway API is there, and starts its compiler when there is a Gateway for the first time: who has none does
 * not pay for a dozen watches. Until then only classes are answered.
 */
export function startGateways(options: GatewayCompilerOptions): Gateways {
  const { client, clock, random, log, publish } = options;
  let bindings: readonly EdgeBinding[] = [];
  let compiler: Promise<GatewayCompiler> | undefined;
  let stopWaiting = async () => {};
  let stopped = false;
  const start = () => {
    compiler ??= import("./compiler.ts").then(({ startGatewayCompiler }) => {
      const started = startGatewayCompiler(options);
      started.bound(bindings);
      return started;
    });
    compiler.catch((error: unknown) => log.error("Gateways are not served", { error }));
    void stopWaiting();
  };
  const ready = installDefinitions(client).then(() => {
    if (stopped) return;
    const common = { client, clock, log, ...(random ? { random } : {}) };
    const gateways = new Informer<KubeObject>({ ...common, resource: gatewayResources.gateways, metadataOnly: true });
    const classes = new Informer<GatewayClass>({ ...common, resource: gatewayResources.gatewayClasses });
    const writer = new StatusWriter({ client, world: Object.assign(new ObjectWorld(), { gatewayClass: (name: string) => classes.get(name) }), clock, log });
    gateways.onChange((_key, object) => object && start());
    classes.onChange((key, object) => {
      const conditions = object && classConditions(object);
      if (conditions) writer.want([{ kind: "GatewayClass", key, conditions }]);
    });
    stopWaiting = async () => void (await Promise.all([gateways.stop(), classes.stop(), writer.stop()]));
    gateways.start();
    classes.start();
    // What an earlier process of ours said may still be served, though there is nothing any more.
    gateways.synced.then(
      () => {
        if (!compiler) publish({ revision: 0, whole: true, scope: "gateway", put: {}, remove: {} });
      },
      () => {},
    );
  });
  ready.catch((error: unknown) => stopped || log.error("Gateway API is not there", { error }));
  return {
    bound(next) {
      bindings = next;
      void compiler?.then((started) => started.bound(next));
    },
    async stop() {
      stopped = true;
      await ready.catch(() => {});
      await stopWaiting();
      await (await compiler?.catch(() => undefined))?.stop();
    },
  };
}
