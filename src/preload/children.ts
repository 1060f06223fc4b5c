import childProcess from "node:child_process";
import type { Settings } from "./settings.ts";

/** Gives a pod's child processes their settings again, whatever environment the program made for them. */
export function patchChildren({ environment }: Settings): void {
  const prototype = (childProcess as any).ChildProcess.prototype;
  const spawn = prototype.spawn;
  prototype.spawn = function (options: { envPairs?: string[] }) {
    if (options && Array.isArray(options.envPairs)) {
      const present = new Set(options.envPairs.map((pair) => pair.slice(0, pair.indexOf("="))));
      const added = Object.entries(environment).filter(([name]) => !present.has(name)).map(([name, value]) => `${name}=${value}`);
      options = { ...options, envPairs: [...options.envPairs, ...added] };
    }
    return spawn.call(this, options);
  };
}
