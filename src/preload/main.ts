import { syncBuiltinESMExports } from "node:module";
import { patchChildren } from "./children.ts";
import { patchSockets } from "./listen.ts";
import { joinMesh } from "./mesh/mesh.ts";
import { readMeshSettings } from "./mesh/settings.ts";
import { patchNames } from "./names.ts";
import { readSettings } from "./settings.ts";
import { patchKill } from "./signals.ts";

/**
 * Loaded before a Node program of a pod (`node --require preload.cjs`). In plain mode the program believes it has an
 * address of its own; in a meshed pod it dials the pods behind a Service by itself. Bundled to CommonJS for every Node from 18 on; see tools/bundle-preload.mjs.
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
const mesh = readMeshSettings(process.env);
// Last: what it changes lies below what plain mode does.
try {
  if (mesh) joinMesh(mesh, settings);
} catch {
  // A Node of which we know too little: the program runs as ever, and its pod's condition says that it is not meshed.
}
