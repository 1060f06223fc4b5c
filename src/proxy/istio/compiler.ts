import type { KubeObject } from "../../api/meta.ts";
import { type Compiler, type CompilerOptions, Gathering, Notes } from "../compiling.ts";
import { IstioStatusWriter } from "./status.ts";
import { Translator } from "./translate.ts";
import { watched, WatchedWorld } from "./world.ts";

/** Watches Istio's objects and what they name, publishes patches for the engine, and writes statuses and Events. `isEnforced`: addresses prove who calls. */
export function startIstioCompiler(options: CompilerOptions & { isEnforced: boolean }): Compiler {
  const { client, clock, random, log, publish } = options;
  const notes = new Notes("istio-controller", options);
  const gathering = new Gathering({
    clock,
    scope: "istio",
    publish,
    snapshot: () => translator.snapshot(),
    flush: () => {
      const { patch, told } = translator.flush();
      const tell = () => {
        for (const { object, report } of told) {
          writer.want(object, report);
          notes.tell(object, [...report.fields].map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
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
      if (!object && old) notes.forget(old.metadata.uid);
      if (translator.changed(kind, key)) gathering.due();
    },
  });
  const translator = new Translator(world, options);
  const writer = new IstioStatusWriter({ client, world, clock, log });
  const synced = world.synced.then(() => gathering.synced());
  synced.catch(() => {});
  return {
    snapshot: () => translator.snapshot(),
    // Services' listeners are nobody's to bind.
    bound() {},
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
    case "Service":
      return !same(object["spec"], old["spec"]);
    case "Secret":
      return !same(object["data"], old["data"]);
    case "Pod":
      return !same(object.metadata.labels, old.metadata.labels) || object["status"]?.podIP !== old["status"]?.podIP || object["status"]?.phase !== old["status"]?.phase;
    default:
      return kind in watched && (object.metadata.generation !== old.metadata.generation || !same(object.metadata.annotations, old.metadata.annotations));
  }
}
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
