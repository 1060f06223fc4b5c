import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { strategies } from "../src/api/kinds/index.ts";
import type { Client } from "../src/api/client.ts";
import { createHttpClient, type HttpClient, type HttpClientOptions } from "../src/api/http-client.ts";
import type { NodeAccess } from "../src/api/node.ts";
import { createBuiltinRegistry } from "../src/api/registry.ts";
import { resources } from "../src/api/resources.ts";
import { Aggregator } from "../src/apiserver/aggregation/aggregator.ts";
import { type Api, type ApiOptions, createApi } from "../src/apiserver/api.ts";
import type { Audit } from "../src/apiserver/audit/audit.ts";
import { Tokens } from "../src/apiserver/authn/tokens.ts";
import { bootstrapRbac } from "../src/apiserver/authz/bootstrap-roles.ts";
import { Rbac } from "../src/apiserver/authz/rbac.ts";
import { registerReviews } from "../src/apiserver/authz/reviews.ts";
import { bootstrapFairness } from "../src/apiserver/fairness/defaults.ts";
import { Fairness } from "../src/apiserver/fairness/fairness.ts";
import { createApiServer } from "../src/apiserver/http/server.ts";
import { kubeconfigFor, openFrontProxy, openPki, type Pki } from "../src/apiserver/pki.ts";
import { systemIdentity } from "../src/apiserver/rest/context.ts";
import { systemClock } from "../src/base/clock.ts";
import { type Log, silentLog } from "../src/base/log.ts";
import { systemRandom } from "../src/base/random.ts";
import { createMemoryStore } from "../src/store/memory-store.ts";
import { find } from "./needs.ts";

/** An API server in this process, without controllers and node: port 0, a folder of its own, a store in memory. */
export interface TestApi extends AsyncDisposable {
  readonly api: Api;
  readonly pki: Pki;
  readonly tokens: Tokens;
  readonly url: string;
  readonly folder: string;
  readonly socketPath: string;
  /** In-process, allowed everything. */
  readonly client: Client;
  /** Over TLS, as whoever the options say; as administrator without any. */
  http(options?: Pick<HttpClientOptions, "token" | "cert" | "key">): HttpClient;
  /** A kubectl of this minor version with a home and a kubeconfig of its own. */
  kubectl(minor: string, args: readonly string[], options?: { input?: string; kubeconfig?: string; timeoutMs?: number; env?: Record<string, string> }): Promise<Result>;
  /** One that goes on: watch, port-forward. The caller ends it. */
  spawnKubectl(minor: string, args: readonly string[]): ChildProcess;
  /** Serves on one more handle. */
  listen(handle: object): void;
  kubeconfig(name: string, user: { cert?: string; key?: string; token?: string }): string;
}
export interface Result {
  stdout: string;
  stderr: string;
  code: number;
}

/** Whether a kubectl of exactly this version is here; a dispatcher alone would pick another. */
export async function hasKubectl(t: TestContext, minor: string): Promise<boolean> {
  const program = find(`kubectl.${minor}`);
  const version = program && (await new Promise<string>((resolve) => void execFile(program, ["version", "--client"], { env: { PATH: process.env["PATH"] ?? "", HOME: tmpdir() } }, (_, stdout) => resolve(stdout))));
  if (version?.includes(`v${minor}.`)) return true;
  t.skip(`no kubectl ${minor} on this machine`);
  return false;
}

export async function startApi({ store: storeOptions, aggregation = false, alwaysAllow = false, fairness: isFair = false, api: apiOptions, log = silentLog, ...options }: { log?: Log; node?: NodeAccess; api?: Pick<ApiOptions, "serviceNetwork" | "withoutAdmission">; aggregation?: boolean; alwaysAllow?: boolean; fairness?: boolean; audit?: Audit; store?: Parameters<typeof createMemoryStore>[0] } = {}): Promise<TestApi> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-api-"));
  const store = createMemoryStore(storeOptions);
  const api = createApi({ store, registry: createBuiltinRegistry(strategies), clock: systemClock, random: systemRandom, log, ...(options.node && { dialPod: options.node.dial }), ...apiOptions });
  const client = api.client(systemIdentity("test"));
  const pki = await openPki(folder);
  const tokens = new Tokens({ store, clock: systemClock, key: pki.serviceAccountKey });
  api.issueToken = (account, request, annotations) => tokens.issue(account, request, annotations);
  const rbac = new Rbac(store);
  // As upstream's --authorization-mode=RBAC,AlwaysAllow.
  if (alwaysAllow) rbac.authorize = () => ({ allowed: true, reason: "" });
  rbac.start();
  registerReviews(api, rbac, tokens);
  await bootstrapRbac(client);
  for (const name of ["default", "kube-system"]) {
    await client.create(resources.namespaces, undefined, { metadata: { name } });
    await client.create(resources.serviceAccounts, name, { metadata: { name: "default" } });
  }
  const aggregator = aggregation ? new Aggregator({ api, client, clock: systemClock, random: systemRandom, log: silentLog, frontProxy: () => openFrontProxy(folder), clientCa: pki.ca, ...(options.node && { dialPod: options.node.dial }) }) : undefined;
  await aggregator?.start();
  const fairness = isFair ? new Fairness(store, systemClock) : undefined;
  fairness?.start();
  if (isFair) await bootstrapFairness(client);
  fairness?.report(client);
  const server = createApiServer({ api, pki, tokens, rbac, random: systemRandom, log, address: "127.0.0.1", ...(aggregator && { aggregator }), ...(fairness && { fairness }), ...options });
  const url = `https://127.0.0.1:${await server.listenOn("127.0.0.1", 0)}`;
  const socketPath = join(folder, "api.sock");
  await server.listenLocal(socketPath);

  const kubeconfig = (name: string, user: { cert?: string; key?: string; token?: string }): string => {
    const file = join(folder, `${name}.kubeconfig`);
    writeFileSync(file, kubeconfigFor({ name, url, ca: pki.ca, ...user }));
    return file;
  };
  const admin = kubeconfig("admin", pki.admin);
  const env = (file: string) => ({ KUBECONFIG: file, HOME: folder, PATH: process.env["PATH"] ?? "", LANG: "C" });
  const clients: HttpClient[] = [];
  const children: ChildProcess[] = [];
  return {
    api,
    pki,
    tokens,
    url,
    folder,
    socketPath,
    client,
    kubeconfig,
    listen: (handle) => server.listen(handle),
    http: (user = pki.admin) => {
      const made = createHttpClient({ url, ca: pki.ca, ...user });
      clients.push(made);
      return made;
    },
    kubectl: (minor, args, { input, kubeconfig: file = admin, timeoutMs = 60_000, env: more } = {}) =>
      new Promise((resolve) => {
        const child = execFile(find(`kubectl.${minor}`)!, args, { env: { ...env(file), ...more }, timeout: timeoutMs, maxBuffer: 1 << 26 }, (error, stdout, stderr) => resolve({ stdout, stderr, code: error ? Number(error.code ?? 1) : 0 }));
        child.stdin!.end(input ?? "");
      }),
    spawnKubectl: (minor, args) => {
      const child = spawn(find(`kubectl.${minor}`)!, args, { env: env(admin), stdio: ["ignore", "pipe", "pipe"] });
      children.push(child);
      return child;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill("SIGKILL");
      for (const made of clients) made.close();
      aggregator?.close();
      fairness?.close();
      rbac.close();
      api.close();
      await server.close();
      await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
