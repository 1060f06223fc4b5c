import { syncBuiltinESMExports } from "node:module";
import { patchChildren } from "./children.ts";
import { patchSockets } from "./listen.ts";
import { patchNames } from "./names.ts";
import { readSettings } from "./settings.ts";
import { patchKill } from "./signals.ts";

/**
 * Loaded before a Node program of a pod in plain mode (`node --require preload.cjs`): the program believes it has an
 * address of its own. Bundled to CommonJS for every Node from 18 on; see tools/bundle-preload.mjs.
 */
const settings = readSettings(process.env);
if (settings) {
  patchSockets(settings);
  patchNames(settings);
  patchChildren(settings);
  patchKill(Number(process.env["WHERRY_MAIN_PID"]) || process.pid);
  process.env["WHERRY_MAIN_PID"] ??= String(process.pid);
  // ESM importers of node:net and friends hold copies of the exports.
  syncBuiltinESMExports();
}
