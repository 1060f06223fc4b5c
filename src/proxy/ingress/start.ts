import { resources } from "../../api/resources.ts";
import { type Started, startAtFirst } from "../compiling.ts";
import type { IngressCompilerOptions } from "./compiler.ts";

/** Starts the compiler when there is an Ingress for the first time. */
export function startIngresses(options: IngressCompilerOptions): Started {
  const load = async () => (await import("./compiler.ts")).startIngressCompiler(options);
  return startAtFirst(options, { watched: [resources.ingresses], scope: "ingress", name: "Ingresses", load });
}
