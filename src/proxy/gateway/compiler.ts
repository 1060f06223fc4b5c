import type { KubeObject } from "../../api/meta.ts";
import type { RuleCount } from "../../policy/tally.ts";
import type { QuotaCount } from "../../policy/quotas/counters.ts";
import { type Compiler, type CompilerOptions, Compiling, same } from "../compiling.ts";
import { purgeAnnotation } from "../../api/product/kinds.ts";
import { policyKinds } from "../../api/envoy/kinds.ts";
import { Keeper } from "../product/keeper.ts";
import { LoopbackAddresses } from "./addresses.ts";
import { StatusWriter } from "./status-writer.ts";
import { Translator, type WantedStatus } from "./translate.ts";
import { WatchedWorld } from "./world.ts";

export interface GatewayOptions extends CompilerOptions {
  inForce?(): Promise<unknown>;
  /** What has been counted of quotas whose ids begin so; absent: nobody counts. */
  usage?(prefix: string): Promise<QuotaCount[]>;
  /** What rules have refused; see NetSupervisor. Absent: nobody serves. */
  ruleCounts?(share: string): Promise<RuleCount[]>;
  /** Empties what is kept of answers; see NetSupervisor. Absent: nobody serves. */
  purge?(cache: string, prefix: string): Promise<number>;
}

/**
 * Watches Gateway API objects and what they name, publishes patches for the engine, and writes statuses and Events. `inForce`
 * resolves when nobody is served any more as it was before what was published so far: a policy is not called accepted sooner.
 */
export function startGatewayCompiler(options: GatewayOptions): Compiler {
  const { client, clock, log, inForce } = options;
  /** What is still to be told of policies. */
  let untold: Promise<void> | undefined;
  let isStopped = false;
  const addresses = new LoopbackAddresses();
  const compiling = new Compiling(options, {
    component: "gateway-controller",
    scope: "gateway",
    matters,
    changed(kind, key, object) {
      if (!object && kind === "Gateway") addresses.release(key);
      translator.changed(kind, key);
      keeper.changed(kind, key, object);
    },
    snapshot: () => translator.snapshot(),
    flush() {
      const { patch, statuses } = translator.flush();
      const say = (of: readonly WantedStatus[]): void => {
        if (isStopped) return;
        writer.want(of);
        for (const status of of) {
          const object = "notes" in status ? writer.subject(status) : undefined;
          if (status.kind === "HTTPRoute") keeper.told(status.key, status.parents);
          if (object && "notes" in status) compiling.notes.tell(object, status.notes.map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
        }
      };
      const tell = (): void => {
        keeper.start();
        const { true: policies = [], false: others = [] } = Object.groupBy(statuses, ({ kind }) => String((policyKinds as readonly string[]).includes(kind)));
        say(others);
        if (policies.length === 0) return;
        const waits = patch && inForce ? inForce().catch((error: unknown) => log.warn("nobody says whether policies are in force", { error })) : undefined;
        if (!waits && !untold) return say(policies);
        const mine: Promise<void> = Promise.all([untold, waits]).then(() => say(policies)).then(() => void (untold === mine && (untold = undefined)));
        untold = mine;
      };
      return { patch, tell };
    },
    async stop() {
      world.stop();
      isStopped = true;
      await Promise.all([writer.stop(), keeper.stop()]);
    },
  });
  const world = new WatchedWorld(compiling.watches, { clock, renamed: (name) => compiling.changed("Name", name) });
  const translator = new Translator(world, addresses);
  const writer = new StatusWriter({ client, world, clock, log });
  const tellApi = (api: KubeObject, problems: readonly string[]): void => compiling.notes.tell(api, problems.map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
  const keeper = new Keeper({ client, world, clock, log, ...(options.usage && { usage: options.usage }), ...(options.purge && { purge: options.purge }), ...(options.ruleCounts && { ruleCounts: options.ruleCounts }), addressOf: (gateway) => addresses.addressOf(gateway).value, tell: tellApi });
  return compiling.start((bindings) => {
    addresses.bindings = bindings;
    compiling.changed("Binding", "");
  });
}

function matters(kind: string, object: KubeObject, old: KubeObject): boolean {
  switch (kind) {
    case "Namespace":
      return !same(object.metadata.labels, old.metadata.labels);
    case "Service":
      return !same(object["spec"]?.ports, old["spec"]?.ports) || object["spec"]?.type !== old["spec"]?.type;
    case "Secret":
    case "ConfigMap":
      return !same(object["data"], old["data"]);
    case "API":
      return object.metadata.generation !== old.metadata.generation || object.metadata.annotations?.[purgeAnnotation] !== old.metadata.annotations?.[purgeAnnotation];
    default:
      return object.metadata.generation !== old.metadata.generation || !same(object.metadata.labels, old.metadata.labels);
  }
}
