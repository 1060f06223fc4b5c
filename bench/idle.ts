import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { entry } from "../src/wherry.ts";
import { aloneMb, cpuSeconds, family, median, print, pssMb } from "./measure.ts";

/**
 * What does an idle stack cost? `wherry up FOLDER` as its user runs it, its watching child included, no pods: memory of the
 * whole family after fifteen seconds, and CPU over the ten that follow. PSS divides the program's own pages among all that
 * run it, other Node programs of this machine included; beside it, what it would be if there were none.
 */
const rounds = 3;

interface Idle {
  pss: number;
  alone: number;
  /** Percent of a core. */
  cpu: number;
  parts: Record<string, number>;
}

export async function run(): Promise<void> {
  const measured: Idle[] = [];
  for (let round = 0; round < rounds; round++) measured.push(await idle());
  const of = (name: string) => median(measured.map(({ parts }) => parts[name] ?? 0)).toFixed(0);
  print(["figure", `median of ${rounds}`, "mark"], [
    ["PSS of the family, MB", median(measured.map(({ pss }) => pss)).toFixed(0), "200 first, 150 in the end"],
    ["were it the only Node program, MB", median(measured.map(({ alone }) => alone)).toFixed(0), "the same"],
    ["by process, PSS in MB", Object.keys(measured[0]!.parts).map((name) => `${name} ${of(name)}`).join(", "), ""],
    ["CPU, % of a core", median(measured.map(({ cpu }) => cpu)).toFixed(2), "0.3"],
  ]);
}

async function idle(): Promise<Idle> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  mkdirSync(join(folder, "k8s"));
  writeFileSync(join(folder, "k8s", "settings.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings }\n");
  const child = spawn(process.execPath, [entry, "up", join(folder, "k8s"), "--data-dir", join(folder, "data")], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, HOME: folder, KUBECONFIG: join(folder, "kubeconfig") } });
  const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  try {
    await new Promise<void>((resolve, reject) => {
      child.stdout.on("data", (chunk: Buffer) => chunk.includes("Press Ctrl-C") && resolve());
      child.on("exit", (code) => reject(new Error(`wherry up ended with ${code}`)));
    });
    await new Promise((resolve) => setTimeout(resolve, 15_000)); // the start settles
    const pids = family(child.pid!);
    const parts: Record<string, number> = {};
    for (const pid of pids) parts[nameOf(pid)] = (parts[nameOf(pid)] ?? 0) + pssMb([pid]);
    const [pss, alone, before] = [pssMb(pids), aloneMb(pids), cpuSeconds(pids)];
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    return { pss, alone, cpu: ((cpuSeconds(pids) - before) / 10) * 100, parts };
  } finally {
    child.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

function nameOf(pid: number): string {
  const line = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
  return / internal:api /.test(line) ? "API" : / internal:apply /.test(line) ? "watching child" : / up /.test(line) ? "wherry" : /(net\.cjs|worker\.ts) /.test(line) ? "data plane" : "holders of namespaces";
}
