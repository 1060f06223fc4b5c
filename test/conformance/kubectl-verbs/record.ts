import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resources } from "../../../src/api/resources.ts";
import { openPki } from "../../../src/apiserver/pki.ts";
import { kubectl } from "../../needs.ts";
import { mismatch, parseTranscript } from "../../scenarios/transcript.ts";
import { startOracle } from "../differential/oracle.ts";
import { runVerbs } from "./verbs.ts";

/**
 * `node test/conformance/kubectl-verbs/record.ts NAME…`: runs the commands of NAME.transcript with kubectl 1.33 against
 * the real kube-apiserver and writes what it said below each, ages and ids as placeholders. An expectation that holds
 * stays as it is written.
 */
const program = kubectl("1.33");
if (!program) throw new Error("needs kubectl 1.33");
for (const name of process.argv.slice(2)) {
  const file = join(import.meta.dirname, `${name}.transcript`);
  const folder = mkdtempSync(join(tmpdir(), "wherry-record-"));
  const pki = mkdtempSync(join(tmpdir(), "wherry-record-pki-"));
  try {
    // Kinds that are served here without being asked for.
    await using oracle = await startOracle({ args: ["--runtime-config", "certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,PodCertificateRequest=true"] });
    await oracle.client.create(resources.serviceAccounts, "default", { metadata: { name: "default" } });
    const kubeconfig = join(pki, "kubeconfig");
    writeFileSync(kubeconfig, oracleKubeconfig(oracle));
    const { admin } = await openPki(pki);
    await runVerbs({ file, kubectl: program, minor: "1.33", kubeconfig, folder, pair: admin }, async (_, { cwd, env }) => {
      const lines = readFileSync(file, "utf8").split("\n");
      const written: string[] = [];
      let next = 0;
      for (const step of parseTranscript(readFileSync(file, "utf8").replace(/^\{[^}]*\} /gm, ""))) {
        // What stands above the command: comments and empty lines.
        while (next < step.line - 1 && /^(#|$)/.test(lines[next]!)) written.push(lines[next++]!);
        const { output, exitCode } = await new Promise<{ output: string; exitCode: number }>((resolve) => {
          execFile("/bin/sh", ["-c", `exec 2>&1; ${step.command}`], { cwd, env, timeout: 60_000, maxBuffer: 1 << 26 }, (error, stdout) => resolve({ output: stdout, exitCode: error ? Number(error.code ?? 1) : 0 }));
        });
        written.push(lines[step.line - 1]!);
        let end = step.line;
        while (end < lines.length && !/^(\{[^}]*\} )?[$>] /.test(lines[end]!) && !lines[end]!.startsWith("#")) end++;
        const old = lines.slice(step.line, end);
        while (old.at(-1) === "") old.pop();
        const holds = (step.expected.length > 0 || old.length > 0) && exitCode === step.exitCode && mismatch(step.expected, output) === undefined;
        if (holds || old.some((line) => line.startsWith("{"))) written.push(...old);
        else {
          const came = output.trimEnd().split("\n").map(placeholders);
          if (came.join("") !== "") written.push(...came);
          if (exitCode !== 0) written.push(`[exit ${exitCode}]`);
        }
        next = step.line + old.length;
        while (next < end && lines[next] === "") written.push(lines[next++]!);
        next = end;
      }
      writeFileSync(file, `${written.join("\n").trimEnd()}\n`);
    });
  } finally {
    for (const path of [folder, pki]) rmSync(path, { recursive: true, force: true });
  }
}

export function oracleKubeconfig({ url, certificate }: { url: string; certificate: string }): string {
  const cluster = { server: url, "certificate-authority-data": readFileSync(certificate).toString("base64") };
  return JSON.stringify({ apiVersion: "v1", kind: "Config", clusters: [{ name: "verbs", cluster }], users: [{ name: "verbs", user: { token: "oracle" } }], contexts: [{ name: "verbs", context: { cluster: "verbs", user: "verbs" } }], "current-context": "verbs" });
}

function placeholders(line: string): string {
  return line
    .replace(/"?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"?/g, "<time>")
    .replace(/[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}/g, "<uid>")
    .replace(/(resourceVersion: )"\d+"/, "$1<revision>")
    .replace(/kube-api-access-[a-z\d]{5}\b/g, "kube-api-access-<suffix>")
    .replace(/[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} \+0000/g, "<*>")
    .replace(/(Resource Version: +)\d+/, "$1<revision>")
    .replace(/^#/, " #")
    .replace(/\b10\.96\.\d+\.\d+/g, "<ip>")
    .replace(/(?<=(^|\s))(\d+[smhd]|<invalid>)(?=\s|$)/g, "<age>");
}
