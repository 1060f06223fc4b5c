import type { KubeObject } from "../../api/meta.ts";
import { type Compiler, type CompilerOptions, Compiling, same } from "../compiling.ts";
import { IstioStatusWriter } from "./status.ts";
import { Translator } from "./translate.ts";
import { watched, WatchedWorld } from "./world.ts";

/** Watches Istio's objects and what they name, publishes patches for the engine, and writes statuses and Events. `isEnforced`: addresses prove who calls. */
export function startIstioCompiler(options: CompilerOptions & { isEnforced: boolean }): Compiler {
  const { client, clock, log } = options;
  const compiling = new Compiling(options, {
    component: "istio-controller",
    scope: "istio",
    matters,
    changed: (kind, key) => translator.changed(kind, key),
    snapshot: () => translator.snapshot(),
    flush() {
      const { patch, told } = translator.flush();
      const tell = () => {
        for (const { object, report } of told) {
          writer.want(object, report);
          compiling.notes.tell(object, [...report.fields].map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
        }
      };
      return { patch, tell };
    },
    stop() {
      world.stop();
      return writer.stop();
    },
  });
  const world = new WatchedWorld(compiling.watches, { clock, renamed: (name) => compiling.changed("Name", name) });
  const translator = new Translator(world, options);
  const writer = new IstioStatusWriter({ client, world, clock, log });
  // Services' listeners are nobody's to bind.
  return compiling.start();
}

function matters(kind: string, object: KubeObject, old: KubeObject): boolean {
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
