import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { ApiError, SocketClient } from "./client.ts";
import { applyPaths, StackError, startProcess, type StackFacts, type StackProcess } from "./process.ts";
import { targetOf, textOf, untilReady } from "./ready.ts";
import type { KubeObject, Stack, StackOptions, WaitOptions } from "./types.ts";

export { ApiError, StackError };
export type { KubeObject, ObjectRef, Stack, StackClient, StackOptions, WaitOptions } from "./types.ts";

const defaultTimeoutMs = 60_000;

/**
 * Starts a whole stack for one test and resolves when its API answers and `manifests` are applied. Everything is its own:
 * ports, kubeconfig, a temporary data directory; everything is gone when it stops, or when this process ends in any way.
 *
 *   await using stack = await startWherry({ manifests: "k8s", link: "." });
 *   await stack.waitReady();
 *   const response = await fetch(await stack.url("web"));
 *
 * Rejects with a StackError (codes: docs/reference/errors.md) or an ApiError, and leaves nothing then.
 */
export async function startWherry(options: StackOptions = {}): Promise<Stack> {
  const paths = listOf(options.manifests).filter((item) => typeof item === "string").map((path) => resolve(path));
  const objects = listOf(options.manifests).filter((item) => typeof item !== "string");
  const links = listOf(options.link).map((path) => resolve(path));
  for (const path of [...paths, ...links, ...(options.from === undefined ? [] : [options.from])]) if (!existsSync(path)) throw new StackError("USAGE", `${path}: no such file or folder`);
  // In plain mode as root a pod has a uid of its own and reaches its files by their paths.
  const folder = options.dataDir === undefined ? mkdtempSync(join(tmpdir(), "wherry-stack-")) : undefined;
  if (folder !== undefined) chmodSync(folder, 0o711);
  const dataDir = resolve(options.dataDir ?? join(folder!, "data"));
  mkdirSync(dirname(dataDir), { recursive: true });
  const log = openSync(folder === undefined ? `${dataDir}.log` : join(folder, "wherry.log"), "a", 0o600);
  const stack = startProcess(
    {
      dataDir,
      ...(folder !== undefined && { temporary: folder }),
      ...(options.from !== undefined && { from: resolve(options.from) }),
      ...(options.isolation !== undefined && { isolation: options.isolation }),
      ...(options.egressPorts !== undefined && { egressPorts: options.egressPorts }),
      hostPathRoots: [...paths, ...(options.hostPath ?? []).map((path) => resolve(path))],
    },
    log,
  );
  closeSync(log);
  const giveUp = new AbortController();
  try {
    // Its program loads while the API starts.
    const applied = paths.length + links.length > 0 ? applyPaths({ dataDir, paths, links }, giveUp.signal) : Promise.resolve();
    applied.catch(() => {}); // awaited below
    const facts = await stack.facts;
    await applied;
    const running = new RunningStack(stack, facts, dataDir, folder, [...paths.filter(namesImages), ...links]);
    await running.apply(objects);
    const { test } = options;
    if (test && folder !== undefined) running.keepFor(test);
    return running;
  } catch (error) {
    giveUp.abort();
    await stack.stop();
    // Also when it could not even be started.
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

class RunningStack implements Stack {
  readonly apiUrl: string;
  readonly kubeconfig: string;
  readonly dataDir: string;
  readonly mode: "isolated" | "plain";
  readonly client: SocketClient;
  readonly #process: StackProcess;
  readonly #folder: string | undefined;
  /** Folders whose images are known: whoever applies names all of them, or the others are forgotten. */
  readonly #links: string[];
  #keep: "no" | "perhaps" | "yes" = "no";
  #failure: Error | undefined;
  #stopping: Promise<void> | undefined;

  constructor(process: StackProcess, facts: StackFacts, dataDir: string, folder: string | undefined, links: string[]) {
    ({ apiUrl: this.apiUrl, kubeconfig: this.kubeconfig, mode: this.mode } = facts);
    this.client = new SocketClient(facts.socketPath);
    this.dataDir = dataDir;
    this.#folder = folder;
    this.#links = links;
    this.#process = process;
    process.started.catch((error: Error) => (this.#failure = error));
  }

  async apply(...manifests: readonly (string | KubeObject | readonly (string | KubeObject)[])[]): Promise<void> {
    const all = manifests.flatMap((item) => listOf(item));
    const paths = all.filter((item) => typeof item === "string").map((path) => resolve(path));
    for (const path of paths) if (!existsSync(path)) throw new StackError("USAGE", `${path}: no such file or folder`);
    if (paths.length > 0) {
      await applyPaths({ dataDir: this.dataDir, paths, links: this.#links });
      this.#links.push(...paths.filter(namesImages));
    }
    // One after the other, in the order given: a namespace before what lives in it.
    for (const object of all) if (typeof object !== "string") await this.client.apply(object);
  }

  async waitReady(what?: string | readonly string[], { namespace = "default", timeoutMs = defaultTimeoutMs }: WaitOptions = {}): Promise<void> {
    const targets = what === undefined ? undefined : listOf(what).map((text) => targetOf(text, namespace));
    await untilReady(this.client, targets, timeoutMs, () => this.#failure);
  }

  async url(service: string, port?: number, { namespace = "default", timeoutMs = defaultTimeoutMs }: WaitOptions = {}): Promise<string> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      if (this.#failure) throw this.#failure;
      const map = await this.client.get({ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "wherry-system", name: "wherry-addresses" } }).catch(() => undefined);
      const all = JSON.parse(map?.["data"]?.addresses ?? "[]") as { namespace: string; service: string; port: number; url: string; address?: string }[];
      const found = all.find((entry) => entry.service === service && entry.namespace === namespace && (port === undefined || entry.port === port));
      if (found?.address !== undefined && (await this.#hasEndpoint(service, namespace))) return `${found.url.startsWith("http") ? "http" : "tcp"}://${found.address}`;
      if (performance.now() >= deadline) {
        const known = all.map((entry) => `${entry.namespace}/${entry.service}:${entry.port}`).join(", ");
        throw new Error(`Service ${namespace}/${service}${port === undefined ? "" : `:${port}`} has no ${found ? "endpoint that is ready" : "address on this machine"} after ${timeoutMs / 1000} s; there are ${known || "none"}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #hasEndpoint(service: string, namespace: string): Promise<boolean> {
    const slices = await this.client.list({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { namespace } }, { labelSelector: `kubernetes.io/service-name=${service}` });
    return slices.some((slice) => (slice["endpoints"] ?? []).some(({ conditions }: { conditions?: { ready?: boolean } }) => conditions?.ready !== false));
  }

  logs(what: string, { namespace = "default", ...options }: { namespace?: string; container?: string; tail?: number; previous?: boolean } = {}): Promise<string> {
    return textOf(this.client, targetOf(what, namespace), options);
  }

  keep(): void {
    this.#keep = "yes";
    this.#process.keep();
  }

  /** Whether a test has passed is known only after it has disposed of its stack. */
  keepFor(test: NonNullable<StackOptions["test"]>): void {
    this.#keep = "perhaps";
    test.after(async () => {
      await this.stop();
      if (this.#keep === "yes" || test.passed === false) test.diagnostic?.(`the stack's data and log are kept in ${this.#folder}`);
      else rmSync(this.#folder!, { recursive: true, force: true });
    });
  }

  stop(): Promise<void> {
    return (this.#stopping ??= (async () => {
      // Said only now: a process that is killed before leaves nothing.
      if (this.#keep === "perhaps") this.#process.keep();
      await this.#process.stop();
      if (this.#keep === "no" && this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    })());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** What may be linked: applied or not, its images stay known. */
const namesImages = (path: string): boolean => existsSync(join(path, "skaffold.yaml")) || basename(path) === "skaffold.yaml";

const listOf = <T>(given: T | readonly T[] | undefined): readonly T[] => (given === undefined ? [] : Array.isArray(given) ? (given as readonly T[]) : [given as T]);
