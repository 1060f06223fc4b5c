import { type CompilerOptions, type Started, startAtFirst } from "../compiling.ts";
import { watched } from "./world.ts";

/** Starts the compiler when there is one of Istio's objects for the first time, once their definitions are there. */
export function startIstio(options: CompilerOptions & { definitions: Promise<void>; isEnforced: boolean; inForce?(): Promise<unknown> }): Pick<Started, "stop"> {
  let stopped = false;
  const load = async () => (await import("./compiler.ts")).startIstioCompiler(options);
  const started = options.definitions.then(
    () => (stopped ? undefined : startAtFirst(options, { watched: Object.values(watched), scope: "istio", name: "Istio's objects", load })),
    // Whoever installs them has told it.
    () => undefined,
  );
  return {
    async stop() {
      stopped = true;
      await (await started)?.stop();
    },
  };
}
