import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTranscript } from "../../scenarios/transcript.ts";

/**
 * Transcripts whose every line was said by the real kube-apiserver (`node test/conformance/kubectl-verbs/record.ts`),
 * with kubectl 1.33. A line that only some versions print begins with `{1.31..}`, `{..1.32}` or `{1.31..1.32}`; before a
 * command it stands for the command and its output.
 */
export function forMinor(text: string, minor: string): string {
  const number = Number(minor.split(".")[1]);
  const kept: string[] = [];
  let skipping = false;
  for (const line of text.split("\n")) {
    const [, from, to, rest] = /^\{(?:1\.(\d+))?\.\.(?:1\.(\d+))?\} ?(.*)$/.exec(line) ?? [];
    const isFor = rest === undefined || (number >= Number(from ?? 0) && number <= Number(to ?? 999));
    const content = rest ?? line;
    if (/^[$>] /.test(content)) skipping = !isFor;
    if (!skipping && isFor) kept.push(content);
  }
  return kept.join("\n");
}

export interface VerbsOptions {
  /** Absolute path of a transcript. */
  file: string;
  kubectl: string;
  minor: string;
  kubeconfig: string;
  /** An empty folder, where the commands run. */
  folder: string;
  /** PEM of some certificate and its key. */
  pair: { cert: string; key: string };
}

export async function runVerbs({ file, kubectl, minor, kubeconfig, folder, pair }: VerbsOptions, run: (file: string, options: { cwd: string; env: Record<string, string> }) => Promise<void> = runTranscript): Promise<void> {
  const { readFileSync } = await import("node:fs");
  mkdirSync(join(folder, "bin"));
  symlinkSync(kubectl, join(folder, "bin", "kubectl"));
  cpSync(join(import.meta.dirname, "files"), folder, { recursive: true });
  writeFileSync(join(folder, "tls.crt"), pair.cert);
  writeFileSync(join(folder, "tls.key"), pair.key);
  const filtered = join(folder, "transcript");
  writeFileSync(filtered, forMinor(readFileSync(file, "utf8"), minor));
  await run(filtered, { cwd: folder, env: { KUBECONFIG: kubeconfig, HOME: folder, PATH: `${join(folder, "bin")}:${process.env["PATH"] ?? ""}`, LANG: "C", TZ: "UTC" } });
}
