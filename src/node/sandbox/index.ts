import { createHash } from "node:crypto";
import { existsSync, realpathSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock, type Clock } from "../../base/clock.ts";
import { WherryError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { openCgroups } from "./cgroups.ts";
import { run } from "./command.ts";
import { IsolatedSandbox } from "./isolated.ts";
import { PlainSandbox } from "./plain.ts";
import { isolatedFindings, plainFindings, type Platform, platformProblem, probeIsolation, thisPlatform } from "./probe.ts";
import type { Finding, Sandbox } from "./sandbox.ts";
import { seccompFilter } from "./seccomp.ts";

export interface SandboxOptions {
  /** Wherry's data directory, made 0700 by `start`. Its `sandbox/` belongs to this module. */
  dataDir: string;
  isolation: "auto" | "isolated" | "plain";
  log: Log;
  clock?: Clock;
  /** TCP ports that pods may reach outside: for findings; the data plane serves them. */
  egressPorts?: readonly number[];
  /** Programs put into /usr/local/bin of every pod: name → file. `node` is Wherry's own Node unless given. */
  programs?: Readonly<Record<string, string>>;
  /** System programs to do without though they are there ("bwrap", "tini", …). */
  without?: readonly string[];
  /** False: no control groups though they could be used. */
  cgroups?: boolean;
  /** The machine that this one is to be taken for. */
  platform?: Platform;
  /** Plain mode's preload for Node programs; the bundled one unless given. */
  preload?: string;
}

/** The sandbox this machine allows, probed by really running it. Throws PLATFORM_UNSUPPORTED where none is, or `isolated` was demanded and is impossible. */
export async function createSandbox(options: SandboxOptions): Promise<Sandbox> {
  const { isolation, log } = options;
  const problem = platformProblem(options.platform ?? thisPlatform());
  if (problem) throw new WherryError("PLATFORM_UNSUPPORTED", problem);
  const clock = options.clock ?? systemClock;
  const isRoot = process.getuid?.() === 0;
  // Nothing is made here: `wherry doctor` asks too, beside a running Wherry or without a data directory.
  const dataDir = existsSync(options.dataDir) ? realpathSync(options.dataDir) : resolve(options.dataDir);
  const id = createHash("sha256").update(dataDir).digest("hex").slice(0, 16);
  const programs = { node: process.execPath, ...options.programs };
  const probe = isolation === "plain" ? undefined : await probeIsolation(isRoot, options.without);
  if (probe?.tools) {
    const { tools } = probe;
    const { root: cgroups, reason } = options.cgroups === false ? { root: undefined, reason: "switched off" } : await openCgroups(`wherry-${id}`);
    const hasSeccomp = tools.bwrap !== undefined && seccompFilter() !== undefined && (await run([tools.unshare, ...(isRoot ? ["-m"] : ["-Urm"]), tools.bwrap, "--dev-bind", "/", "/", "true"])).code === 0;
    if (!hasSeccomp) tools.bwrap = undefined;
    return new IsolatedSandbox({ dataDir, id, tools, cgroups, findings: [probe.finding, ...isolatedFindings(tools, cgroups, reason, hasSeccomp, options.egressPorts ?? [])], programs, clock, log });
  }
  if (isolation === "isolated") throw new WherryError("PLATFORM_UNSUPPORTED", `--isolation=isolated is impossible here. ${probe!.finding.message}${probe!.finding.remedy ? ` Remedy: ${probe!.finding.remedy}` : ""}`);
  const { root: cgroups } = options.cgroups === false || !isRoot ? { root: undefined } : await openCgroups(`wherry-${id}`);
  const reason: Finding = probe?.finding ?? { id: "namespaces", enforced: false, message: "Pods run as plain processes, because --isolation=plain was given.", remedy: "wherry up --isolation=auto" };
  return new PlainSandbox({ dataDir, id, isRoot, cgroups, findings: [reason, ...plainFindings(isRoot, cgroups)], programs, preload: options.preload ?? bundledPreload, clock, log });
}

/** Made by tools/bundle-preload.mjs; shipped in the published package. */
const bundledPreload = fileURLToPath(new URL("../../../.cache/preload.cjs", import.meta.url));
