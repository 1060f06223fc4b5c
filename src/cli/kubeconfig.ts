import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { dump } from "js-yaml";
import { parseYaml } from "../api/yaml.ts";
import { WherryError } from "../base/errors.ts";
import { writeFileAtomic } from "../base/files.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<void> {
  const options = parseOptions(
    {
      line: "kubeconfig [--merge] [--data-dir DIR]",
      about: "Print the path of the stack's kubeconfig.",
      options: { "data-dir": dataDirOption, merge: { type: "boolean", help: "add the context to your own kubeconfig; it becomes current only if none is set" } },
      examples: ["export KUBECONFIG=$(wherry kubeconfig)"],
    },
    argv,
  );
  if (!options) return;
  const file = join(dataDirOf(options.values), "kubeconfig");
  if (!existsSync(file)) throw new WherryError("NOT_RUNNING", `there is no ${file} yet`);
  if (options.values["merge"]) process.stdout.write(`${mergeKubeconfig(file).message}\n`);
  else process.stdout.write(`${file}\n`);
}

/** Others hold the lock for milliseconds; one that was left behind is told of. */
const lockMs = 3_000;

interface Kubeconfig {
  apiVersion?: string;
  kind?: string;
  clusters?: { name: string; cluster: unknown }[];
  contexts?: { name: string; context: unknown }[];
  users?: { name: string; user: unknown }[];
  "current-context"?: string;
  [field: string]: unknown;
}

/**
 * Adds the stack's context to the user's own kubeconfig. Another context that is current stays current: a
 * tutorial's kubectl must never reach somebody's production cluster by our doing.
 */
export function mergeKubeconfig(source: string, target = (process.env["KUBECONFIG"] ?? "").split(delimiter).find((file) => file !== "") ?? join(homedir(), ".kube", "config")): { current: boolean; message: string } {
  if (target === source) return { current: true, message: `${target} is the stack's own` };
  const ours = parseYaml(readFileSync(source, "utf8"))[0] as Kubeconfig;
  mkdirSync(dirname(target), { recursive: true, mode: 0o700 });
  const unlock = lock(`${target}.lock`);
  if (!unlock) return { current: false, message: `context "${ours["current-context"]}" is not in ${target}, which is being changed by another program: \`wherry kubeconfig --merge\` adds it, once ${target}.lock is gone` };
  try {
    return merge(ours, target);
  } finally {
    unlock();
  }
}

/**
 * client-go's own protocol, so that neither a kubectl nor another stack that starts at the same moment loses what it writes: who
 * makes the file has the lock. Undefined when somebody else keeps it for too long.
 */
function lock(file: string): (() => void) | undefined {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (const deadline = performance.now() + lockMs; ; Atomics.wait(pause, 0, 0, 10)) {
    try {
      closeSync(openSync(file, "wx", 0o600));
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      if (performance.now() > deadline) return undefined;
    }
  }
}

function merge(ours: Kubeconfig, target: string): { current: boolean; message: string } {
  const theirs = (existsSync(target) ? (parseYaml(readFileSync(target, "utf8"))[0] as Kubeconfig | undefined) : undefined) ?? { apiVersion: "v1", kind: "Config", preferences: {} };
  const join_ = <T extends { name: string }>(old: T[] | undefined, fresh: T[] | undefined): T[] => [...(old ?? []).filter(({ name }) => !fresh?.some((entry) => entry.name === name)), ...(fresh ?? [])];
  const free = !theirs["current-context"];
  const merged: Kubeconfig = {
    ...theirs,
    clusters: join_(theirs.clusters, ours.clusters),
    contexts: join_(theirs.contexts, ours.contexts),
    users: join_(theirs.users, ours.users),
    "current-context": free ? ours["current-context"]! : theirs["current-context"]!,
  };
  const text = dump(merged);
  if (!existsSync(target) || readFileSync(target, "utf8") !== text) writeFileAtomic(target, text);
  const name = ours["current-context"]!;
  const current = merged["current-context"] === name;
  return { current, message: current ? `context "${name}" is current in ${target}` : `context "${name}" is in ${target}; "${theirs["current-context"]}" stays current` };
}
