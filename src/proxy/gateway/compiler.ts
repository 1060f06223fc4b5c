import type { KubeObject } from "../../api/meta.ts";
import { type Compiler, type CompilerOptions, Gathering, Notes } from "../compiling.ts";
import { LoopbackAddresses } from "./addresses.ts";
import { StatusWriter } from "./status-writer.ts";
import { Translator } from "./translate.ts";
import { WatchedWorld } from "./world.ts";

/** Watches Gateway API objects and what they name, publishes patches for the engine, and writes statuses and Events. */
export function startGatewayCompiler(options: CompilerOptions): Compiler {
  const { client, clock, random, log, publish } = options;
  const addresses = new LoopbackAddresses();
  const notes = new Notes("gateway-controller", options);
  const gathering = new Gathering({
    clock,
    scope: "gateway",
    publish,
    snapshot: () => translator.snapshot(),
    flush: () => {
      const { patch, statuses } = translator.flush();
      const tell = () => {
        writer.want(statuses);
        for (const status of statuses) {
          const object = "notes" in status ? writer.subject(status) : undefined;
          if (object && "notes" in status) notes.tell(object, status.notes.map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
        }
      };
      return { patch, tell };
    },
  });
  const world = new WatchedWorld({
    client,
    clock,
    log,
    ...(random ? { random } : {}),
    changed: (kind, key, object, old) => {
      if (object && old && !matters(kind, object, old)) return;
      if (!object && kind === "Gateway") addresses.release(key);
      if (!object && old) notes.forget(old.metadata.uid);
      translator.changed(kind, key);
      gathering.due();
    },
  });
  const translator = new Translator(world, addresses);
  const writer = new StatusWriter({ client, world, clock, log });
  const synced = world.synced.then(() => gathering.synced());
  synced.catch(() => {});
  return {
    snapshot: () => translator.snapshot(),
    bound(bindings) {
      addresses.bindings = bindings;
      translator.changed("Binding", "");
      gathering.due();
    },
    synced,
    async stop() {
      gathering.stop();
      await world.stop();
      await writer.stop();
      notes.stop();
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
