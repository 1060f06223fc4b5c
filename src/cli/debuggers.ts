import { debuggerPrefix } from "../api/reload.ts";
import type { Pod } from "../api/types.ts";

/** A line for each container that listens for a debugger: who, and where. */
export function debuggersOf(pods: readonly Pod[]): [container: string, address: string][] {
  return pods
    .filter(({ metadata }) => !metadata.deletionTimestamp)
    .flatMap(({ metadata, spec }) => {
      const found = Object.entries(metadata.annotations ?? {}).filter(([name]) => name.startsWith(debuggerPrefix));
      return found.map(([name, address]): [string, string] => [`${metadata.namespace}/${metadata.name}${spec!.containers.length > 1 ? ` (${name.slice(debuggerPrefix.length)})` : ""}`, address]);
    });
}
