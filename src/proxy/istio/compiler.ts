import type { KubeObject } from "../../api/meta.ts";
import { type Compiler, type CompilerOptions, Compiling, same } from "../compiling.ts";
import { IstioStatusWriter } from "./status.ts";
import { Translator } from "./translate.ts";
import { watched, WatchedWorld } from "./world.ts";

/**
 * Watches Istio's objects and what they name, publishes patches for the engine, and writes statuses and Events. `isEnforced`: addresses prove
 * who calls. `inForce` resolves when nobody gets past what was published so far.
 */
export function startIstioCompiler(options: CompilerOptions & { isEnforced: boolean; inForce?(): Promise<unknown> }): Compiler {
  const { client, clock, log, inForce } = options;
  /** What is still to be told, because a policy that it speaks of is not yet in force everywhere. */
  let untold: Promise<void> | undefined;
  let isStopped = false;
  const compiling = new Compiling(options, {
    component: "istio-controller",
    scope: "istio",
    matters,
    changed: (kind, key) => translator.changed(kind, key),
    snapshot: () => translator.snapshot(),
    flush() {
      const { patch, told } = translator.flush();
      const say = (): void => {
        if (isStopped) return;
        for (const { object, report } of told) {
          writer.want(object, report);
          compiling.notes.tell(object, [...report.fields].map((message) => ({ type: "Warning", reason: "NotHonoured", message })));
        }
      };
      const tell = (): void => {
        const waits = patch?.put.guards?.length && inForce ? inForce().catch((error: unknown) => log.warn("nobody says whether policies are in force", { error })) : undefined;
        if (!waits && !untold) return say();
        const mine: Promise<void> = Promise.all([untold, waits]).then(say).then(() => void (untold === mine && (untold = undefined)));
        untold = mine;
      };
      return { patch, tell };
    },
    stop() {
      isStopped = true;
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
