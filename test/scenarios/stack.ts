import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { entry } from "../../src/wherry.ts";
import type { TestWherry } from "../harness.ts";
import { runTranscript } from "./transcript.ts";

export const examples = join(import.meta.dirname, "..", "..", "examples");

/** What `wherry up PATH… --link PATH…` does once the stack stands: the CLI's own child, with its output. */
export async function applyFolders(wherry: TestWherry, paths: readonly string[], links: readonly string[] = []): Promise<string> {
  const child = spawn(process.execPath, [entry, "internal:apply", JSON.stringify({ dataDir: wherry.dataDir, paths, links })], { env: wherry.env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const code = await new Promise<number>((resolve) => child.on("close", (value) => resolve(value ?? 1)));
  if (code !== 0) throw new Error(`applying ${[...paths, ...links].join(", ")} ended with exit code ${code}:\n${output}`);
  return output;
}

/** A Service's own port on the host: names below localhost are resolved by browsers and curl, not by every library. */
export function directUrl(wherry: TestWherry, namespace: string, service: string): string {
  const found = wherry.hostAddresses().find((entry) => entry.service === service && entry.namespace === namespace);
  if (!found) throw new Error(`no address for ${namespace}/${service} among ${JSON.stringify(wherry.hostAddresses())}`);
  return `http://${found.address ?? new URL(found.url).host}`;
}

/** Runs `NAME.transcript` of this folder against a stack, in a folder that holds `files`. STEPS=1 prints how long each command took. */
export async function playTranscript(wherry: Pick<TestWherry, "dataDir" | "env">, name: string, files: Readonly<Record<string, string>>, more: { env?: Record<string, string>; variables?: Record<string, string> } = {}): Promise<void> {
  const folder = join(dirname(wherry.dataDir), "manifests");
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  await runTranscript(join(import.meta.dirname, `${name}.transcript`), { cwd: folder, env: { ...wherry.env, ...more.env }, ...(more.variables && { variables: more.variables }), ...(process.env["STEPS"] && { onStep }) });
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/**
 * Steady requests to one URL, each on its own connection unless `keepAlive`; counts what failed. Bounded: it ends
 * with `stop`.
 */
export function load(url: string, options: { concurrency?: number; pauseMs?: number } = {}): { stop(): Promise<{ ok: number; failures: string[] }> } {
  let running = true;
  const result = { ok: 0, failures: [] as string[] };
  const worker = async () => {
    while (running) {
      try {
        const response = await fetch(url, { signal: AbortSignal.timeout(10_000), headers: { connection: "close" } });
        const text = await response.text();
        if (response.ok) result.ok++;
        else result.failures.push(`status ${response.status} ${text.slice(0, 200)}`);
      } catch (error) {
        result.failures.push(String((error as Error).cause ?? error));
      }
      await new Promise((resolve) => setTimeout(resolve, options.pauseMs ?? 10));
    }
  };
  const workers = Promise.all(Array.from({ length: options.concurrency ?? 4 }, worker));
  return {
    async stop() {
      running = false;
      await workers;
      return result;
    },
  };
}
