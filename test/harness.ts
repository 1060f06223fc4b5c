import { execFile } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { startWherry as start, type StartOptions, type Wherry } from "../src/wherry.ts";
import { find, kubectl } from "./needs.ts";

/**
 * The whole product for one test: `await using wherry = await startWherry({ test: t })`. A temporary directory,
 * free ports, nothing outside touched. The directory is kept when the test fails, and its path is printed.
 */
export interface TestWherry extends Wherry {
  /** Runs kubectl against this stack, with a home of its own. */
  kubectl(...args: string[]): Promise<{ stdout: string; stderr: string; code: number }>;
  /** Environment for scripts and transcripts: KUBECONFIG, HOME, and a PATH whose first kubectl is the wanted one. */
  env: Record<string, string>;
}

export async function startWherry(options: StartOptions & { test: TestContext; kubectlMinor?: string }): Promise<TestWherry> {
  const { test, kubectlMinor = "1.33", ...rest } = options;
  const folder = rest.dataDir ?? mkdtempSync(join(tmpdir(), "wherry-test-"));
  const dataDir = rest.dataDir ?? join(folder, "data");
  // In plain mode as root a pod has a uid of its own and reaches its files by their paths.
  if (!rest.dataDir) chmodSync(folder, 0o711);
  const wherry = await start({ private: true, ...rest, dataDir });
  const bin = join(folder, "bin");
  mkdirSync(bin, { recursive: true });
  mkdirSync(join(folder, "home"), { recursive: true });
  // A test about one version asks for it by needs(); any other is content with the kubectl that is there.
  const client = kubectl(kubectlMinor) ?? find("kubectl");
  if (client) symlinkSync(client, join(bin, "kubectl"));
  const env = { KUBECONFIG: wherry.kubeconfig, HOME: join(folder, "home"), PATH: `${bin}:${process.env["PATH"] ?? ""}`, LANG: "C" };
  test.after(async () => {
    await wherry.stop("fast");
    if (test.passed) rmSync(folder, { recursive: true, force: true });
    else test.diagnostic(`the stack's data is kept in ${folder}`);
  });
  return Object.assign(Object.create(wherry) as Wherry, {
    env,
    kubectl: (...args: string[]) =>
      new Promise<{ stdout: string; stderr: string; code: number }>((resolve) => {
        execFile(client ?? "kubectl", args, { env, timeout: 120_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => resolve({ stdout, stderr, code: error ? (typeof error.code === "number" ? error.code : 1) : 0 }));
      }),
    [Symbol.asyncDispose]: () => wherry.stop("fast"),
  });
}
