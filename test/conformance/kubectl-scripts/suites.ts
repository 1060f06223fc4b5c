import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { find } from "../../needs.ts";
import type { ScriptCluster } from "./cluster.ts";

/** Kubernetes' own suites for kubectl, test/cmd/*.sh, as the module of this version ships them. */
export const suitesVersion = "v1.35.0";

/** The source tree as the Go module that the oracle is built from; undefined without Go or its module proxy. */
export function kubernetesTree(): string | undefined {
  const go = find("go");
  if (!go) return undefined;
  const { status, stdout } = spawnSync(go, ["mod", "download", "-json", `k8s.io/kubernetes@${suitesVersion}`], { cwd: tmpdir(), encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  return status === 0 ? (JSON.parse(stdout) as { Dir: string }).Dir : undefined;
}

/** A copy of what the suites read: they write into their tree. */
export function copyTree(tree: string): string {
  const copy = mkdtempSync(join(tmpdir(), "wherry-suites-"));
  for (const part of ["test/cmd", "test/fixtures", "test/e2e/testing-manifests", "hack/lib", "hack/testdata", "third_party/forked/shell2junit", "cluster/addons", "staging/src/k8s.io/kubectl/testdata"]) {
    if (existsSync(join(tree, part))) cpSync(join(tree, part), join(copy, part), { recursive: true });
  }
  // The module cache is read-only, and a module's files have lost who may run them.
  spawnSync("chmod", ["-R", "u+w", copy]);
  spawnSync("chmod", ["-R", "a+x", join(copy, "test/fixtures/pkg/kubectl/plugins")]);
  return copy;
}

/** The functions that legacy-script.sh runs, in its order. */
export function suiteNames(tree: string): string[] {
  const text = readFileSync(join(tree, "test/cmd/legacy-script.sh"), "utf8");
  return [...new Set([...text.matchAll(/^ *record_command (run_\w+)$/gm)].map(([, name]) => name!))];
}

export interface SuiteResult {
  name: string;
  ok: boolean;
  output: string;
  elapsedMs: number;
}

/** Runs one of them. The cluster and the tree go on to the next, as upstream's do. */
export async function runSuite(name: string, { cluster, tree, kubectl, timeoutMs = 300_000 }: { cluster: ScriptCluster; tree: string; kubectl: string; timeoutMs?: number }): Promise<SuiteResult> {
  const began = performance.now();
  const work = mkdtempSync(join(tmpdir(), "wherry-suite-"));
  try {
    const bin = join(work, "bin");
    mkdirSync(bin);
    symlinkSync(kubectl, join(bin, "kubectl"));
    const plugin = join(dirname(kubectl), "kubectl-convert");
    if (existsSync(plugin)) symlinkSync(plugin, join(bin, "kubectl-convert"));
    // Upstream's server writes its certificate beside.
    writeFileSync(join(work, "apiserver.crt"), cluster.server.pki.ca);
    // Nobody is asked outside: a suite that wants the internet is refused at once.
    const env = { PATH: process.env["PATH"] ?? "", HOME: work, TMPDIR: work, LANG: "C", HTTPS_PROXY: "http://127.0.0.1:9", HTTP_PROXY: "http://127.0.0.1:9", NO_PROXY: "127.0.0.1,localhost", KUBERNETES: tree, BIN: bin, PORT: String(cluster.port), KUBECONFIG: cluster.kubeconfig };
    const child = spawn("bash", [join(import.meta.dirname, "suite.sh"), name], { env, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
    // The group is ours: the shell was started as its leader. A proxy or a watch that a suite left behind goes with it.
    const end = () => {
      try {
        process.kill(-child.pid!, "SIGKILL");
      } catch {
        // Gone already.
      }
    };
    const timer = setTimeout(() => {
      output += `\n[the suite did not end within ${timeoutMs / 1000} s]\n`;
      end();
    }, timeoutMs);
    const code = await new Promise<number | null>((resolve) => child.once("exit", resolve));
    clearTimeout(timer);
    end();
    if (!output) for (const log of ["source.log", "variables.log"]) if (existsSync(join(work, log))) output += readFileSync(join(work, log), "utf8");
    return { name, ok: code === 0, output, elapsedMs: performance.now() - began };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
