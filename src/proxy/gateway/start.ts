import { installDefinitions } from "../../api/definitions/definitions.ts";
import { Informer } from "../../api/informer.ts";
import { apiResource } from "../../api/product/kinds.ts";
import { type Started, startAtFirst } from "../compiling.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { GatewayOptions } from "./compiler.ts";
import { classConditions } from "./gateway-class.ts";
import { type GatewayClass, gatewayResources } from "./kinds.ts";
import { StatusWriter } from "./status-writer.ts";
import { ObjectWorld } from "./world.ts";

/**
 * Sees to it that Gateway API is there, and starts its compiler when there is a Gateway for the first time: who has none does
 * not pay for a dozen watches. Until then only classes are answered.
 */
export function startGateways(options: GatewayOptions): Started & { /** All definitions that are there from the start are there. */ readonly definitions: Promise<void> } {
  const { client, clock, random, log } = options;
  let bindings: readonly EdgeBinding[] = [];
  let started: Started | undefined;
  let stopClasses = async () => {};
  let stopped = false;
  const definitions = installDefinitions(client);
  const ready = definitions.then(() => {
    if (stopped) return;
    const classes = new Informer<GatewayClass>({ client, clock, log, ...(random ? { random } : {}), resource: gatewayResources.gatewayClasses });
    const writer = new StatusWriter({ client, world: Object.assign(new ObjectWorld(), { gatewayClass: (name: string) => classes.get(name) }), clock, log });
    classes.onChange((key, object) => {
      const conditions = object && classConditions(object);
      if (conditions) writer.want([{ kind: "GatewayClass", key, conditions }]);
    });
    stopClasses = async () => void (await Promise.all([classes.stop(), writer.stop()]));
    classes.start();
    const load = async () => {
      // The compiler answers classes as well.
      void stopClasses();
      const { startGatewayCompiler } = await import("./compiler.ts");
      return startGatewayCompiler(options);
    };
    started = startAtFirst(options, { watched: [gatewayResources.gateways, gatewayResources.httpRoutes, gatewayResources.grpcRoutes, apiResource], scope: "gateway", name: "Gateways", load });
    started.bound(bindings);
  });
  ready.catch((error: unknown) => stopped || log.error("Gateway API is not there", { error }));
  return {
    definitions,
    bound(next) {
      bindings = next;
      started?.bound(next);
    },
    async stop() {
      stopped = true;
      await ready.catch(() => {});
      await stopClasses();
      await started?.stop();
    },
  };
}
