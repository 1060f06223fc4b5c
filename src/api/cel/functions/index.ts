import type { Overload } from "./declare.ts";
import { standard } from "./standard.ts";

/** Every function and operator that expressions may call, by name. */
export const functions: ReadonlyMap<string, readonly Overload[]> = Map.groupBy([...standard], ({ name }) => name);
