import type { KubeObject } from "../../api/meta.ts";
import { type Compiler, type CompilerOptions, Compiling, same } from "../compiling.ts";
import { LoopbackAddresses } from "./addresses.ts";
import { StatusWriter } from "./status-writer.ts";
import { Translator } from "./translate.ts";
import { WatchedWorld } from "./world.ts";

/** Watches Gateway API objects and what they name, publishes patches for the engine, and writes statuses and Events. */
export function startGatewayCompiler(options: CompilerOptions): Compiler {
  const { client, clock, log } = options;
  const addresses = new LoopbackAddresses();
  const compiling = new Compiling(options, {
    component: "gateway-controller",
    scope: "gateway",
    matters,
    changed(kind, key, object) {
      if (!object && kind === "Gateway") addresses.release(key);
      translator.changed(kind, key);
    },
    snapshot: () => translator.snapshot(),
    flush() {
      const { patch, statuses } = translator.flush();
      const tell = () => {
        writer.want(statuses);
        for (const status of statuses) {
          const object = "notes" in status ? writer.subject(status) : undefined;
          if (object && "notes" in status) compiling.notes.tell(object, status.notes.map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
        }
      };
      return { patch, tell };
    },
    stop: () => writer.stop(),
  });
  const world = new WatchedWorld(compiling.watches);
  const translator = new Translator(world, addresses);
  const writer = new StatusWriter({ client, world, clock, log });
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
    default:
      return object.metadata.generation !== old.metadata.generation || !same(object.metadata.labels, old.metadata.labels);
  }
}
