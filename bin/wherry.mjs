#!/usr/bin/env node
// The door for `npx wherry` and `npm start`. Plain JavaScript for any Node from 18 on: it goes over to the pinned
// Node once, switches the compile cache on, and only then loads the program: its one file where that is fresh, else the
// modules, TypeScript in the project, and JavaScript made of it (tools/build-package.ts) where it is installed, because
// Node strips no types below node_modules.
import { spawn } from "node:child_process";
import module from "node:module"; // as a whole: Node 20 has no compile cache to name
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleOf, isInstalled } from "./bundle.mjs";
import { isNewEnough, pinnedNode, tooOld } from "./node.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));

if (isNewEnough()) {
  module.enableCompileCache({ directory: process.env.WHERRY_COMPILE_CACHE ?? join(root, ".cache", "compile"), portable: true });
  const bundle = bundleOf(process.argv[2]);
  const { main } = bundle ? module.createRequire(import.meta.url)(bundle) : isInstalled ? await import("../lib/main.js") : await import("../src/main.ts");
  await main(process.argv.slice(2));
} else {
  const pinned = pinnedNode();
  if (!pinned) {
    console.error(tooOld);
    process.exit(1);
  }
  const argv = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  if (process.execve) process.execve(pinned, [pinned, ...argv], process.env);
  const child = spawn(pinned, argv, { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 143)));
}
