import { randomBytes } from "node:crypto";
import { accessSync, chmodSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { bundleNamed } from "../bin/bundle.mjs";
import { type AccessFiles, ApiProcess, entry } from "./api-process.ts";
import type { Client } from "./api/client.ts";
import type { HostAddress } from "./api/network.ts";
import type { MeshIdentity } from "./api/mesh-identity.ts";
import type { RawHandle } from "./base/channel.ts";
import { systemClock } from "./base/clock.ts";
import { WherryError } from "./base/errors.ts";
import { readJsonFile, writeFileAtomic } from "./base/files.ts";
import { bindHandle } from "./base/handles.ts";
import { limits } from "./base/limits.ts";
import { createLog, type Log } from "./base/log.ts";
import { collectWhenQuiet } from "./base/quiet-collector.ts";
import { systemRandom } from "./base/random.ts";
import { socketPath } from "./base/socket-path.ts";
import type { Agent } from "./node/agent.ts";
import type { Finding, Sandbox } from "./node/sandbox/sandbox.ts";
import type { Door } from "./proxy/explain/doors.ts";
import type { AskedRequest, Explained } from "./proxy/explain/explain.ts";
import type { NetSupervisor } from "./proxy/supervisor.ts";
import { lives, lockDataDir, ownerOf, signalOwner } from "./store/lock.ts";
import type { Store } from "./store/store.ts";

/**
 * The composition root: which parts run, in which process, started in order and stopped in reverse.
 *
 *   startWherry   in `wherry`: forks `wherry-api` first, then sandbox → data plane → agent
 *   wherry-api.ts in `wherry-api`: store → API server → controllers → snapshot compiler
 *   (the data plane's worker has its entry in proxy/worker.ts)
 */
export interface StartOptions {
  /** The stack's name: its context in kubeconfigs. Default: wherry. */
  name?: string;
  /** Where everything is kept. Default: a temporary folder that goes when the stack stops. */
  dataDir?: string;
  /** The API's port on 127.0.0.1. Given: exactly this one. Default: last time's, else 6443, else any free one. */
  port?: number;
  isolation?: "auto" | "isolated" | "plain";
  /** Worker processes of the data plane. Default: `netWorkers` of the limits. */
  netWorkers?: number;
  /** Ports beyond 80 and 443 that pods may dial outside. */
  egressPorts?: readonly number[];
  /** Folders below which hostPath volumes may point. */
  hostPathRoots?: readonly string[];
  /** Files that say who is let in, what is recorded and how Secrets are stored. */
  access?: AccessFiles;
  /** Every Node pod gets a debugger address on loopback. */
  inspect?: boolean;
  /** Any free port for everything and nothing outside dataDir touched: what tests want. */
  private?: boolean;
  log?: Log;
  /** Told when the API answers, which is before pods can run: what needs no pod need not wait. */
  onApi?: (facts: ApiFacts) => void;
  /** Told when a step takes time or something restarts. */
  onProgress?: (message: string) => void;
}

export interface ApiFacts {
  apiUrl: string;
  kubeconfig: string;
  socketPath: string;
  mode: "isolated" | "plain";
}

export interface Wherry {
  readonly dataDir: string;
  readonly apiUrl: string;
  readonly kubeconfig: string;
  readonly mode: "isolated" | "plain";
  readonly findings: readonly { id: string; enforced: boolean; message: string; remedy: string }[];
  readonly client: Client;
  hostAddresses(): HostAddress[];
  /** The pids of the children, by name, for status and fault tests. */
  processes(): { api: number | undefined; net: number[] };
  /** fast: databases by their fast shutdown, no hooks (Ctrl-C). graceful: every pod gets its full grace, unless fast is asked for meanwhile. */
  stop(how?: "fast" | "graceful"): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface Settings {
  apiPort?: number;
  ports?: Record<string, number>;
  /** See TrafficSnapshot.sessionKey. */
  sessionKey?: string;
}

const defaultApiPort = 6443;
export { type AccessFiles, entry, lives, lockDataDir, ownerOf, signalOwner };

/**
 * The store of a data directory that nobody owns, for what works on it while the stack is down. Its lock is the caller's.
 * Without an EncryptionConfiguration what is encrypted can be copied, not looked at.
 */
export async function openStore(dataDir: string, log: Log, encryption?: string): Promise<Store> {
  const transform = encryption === undefined ? "opaque" : new (await import("./apiserver/encryption/encryption.ts")).Encryption(encryption);
  return (await import("./store/sqlite-store.ts")).openSqliteStore({ dataDir, log, transform });
}

/** Starts the whole stack inside this process (as `wherry`) and its children. Throws WherryError; leaves nothing then. */
export async function startWherry(options: StartOptions = {}): Promise<Wherry> {
  const temporary = options.dataDir === undefined;
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "wherry-"));
  const log = options.log ?? createLog("wherry");
  const { undo } = makeDataDir(dataDir);
  const lock = lockDataDir(dataDir);
  removeCopies(dataDir);
  const settingsFile = join(dataDir, "settings.json");
  const settings = readJsonFile<Settings>(settingsFile) ?? {};
  const saveSettings = () => writeFileAtomic(settingsFile, JSON.stringify(settings, null, 2));

  // Started in this order, stopped in reverse; what is undefined was not reached.
  let api: ApiProcess | undefined;
  let sandbox: Sandbox | undefined;
  let network: NetSupervisor | undefined;
  let agent: Agent | undefined;
  let stopping: Promise<void> | undefined;
  let stopCollecting = () => {};

  const hurry = new AbortController();
  const stop = (how: "fast" | "graceful" = "fast"): Promise<void> => {
    // Also when a graceful stop is under way: whoever asks again has no patience left.
    if (how === "fast") setTimeout(() => hurry.abort(), 700).unref();
    return (stopping ??= (async () => {
      stopCollecting();
      const deadline = AbortSignal.any([hurry.signal, AbortSignal.timeout(10 * 60_000)]);
      await agent?.stop(deadline, how).catch((error: unknown) => log.error("the agent did not stop cleanly", { error }));
      await network?.stop(deadline).catch((error: unknown) => log.error("the data plane did not stop cleanly", { error }));
      await sandbox?.stop(deadline).catch((error: unknown) => log.error("the sandbox did not stop cleanly", { error }));
      await api?.stop();
      lock.release();
      if (temporary) rmSync(dataDir, { recursive: true, force: true });
    })());
  };

  try {
    const port = bindApiPort(options, settings);
    const apiUrl = `https://127.0.0.1:${port.port}`;
    api = new ApiProcess(log.child("api"), options.onProgress);
    api.listeners.push({ role: "host", handle: port.handle });
    api.prepare();

    // The sandbox decides the mode, which the API process is told; both load at the same time.
    const { createSandbox } = await import("./node/sandbox/index.ts");
    const egressPorts = [...new Set([80, 443, ...(options.egressPorts ?? [])])];
    sandbox = await createSandbox({ dataDir, isolation: options.isolation ?? "auto", log: log.child("sandbox"), clock: systemClock, egressPorts });
    settings.apiPort = port.port;
    settings.sessionKey ??= randomBytes(16).toString("hex");
    const apiReady = api.start({ dataDir, name: options.name ?? "wherry", apiUrl, ...(options.access && { access: options.access }), ...(await sandbox.reserve()) });
    const { mode } = sandbox;
    apiReady.then(() => options.onApi?.({ apiUrl, kubeconfig: join(dataDir, "kubeconfig"), socketPath: socketPath(dataDir, "api.sock"), mode }), () => {}); // awaited below
    // Waits for the disk, and nobody for it.
    saveSettings();
    const dataPlane = Promise.all([import("./proxy/supervisor.ts"), import("./proxy/api-requests.ts")]);
    dataPlane.catch(() => {}); // awaited below
    await sandbox.start();
    const { gatewayIP, dnsIP, apiServiceIP } = sandbox.network;
    const [{ createNetSupervisor }, { serveApiRequests }] = await dataPlane;
    network = createNetSupervisor({
      network: sandbox.network,
      workers: options.netWorkers ?? limits.netWorkers,
      log: log.child("net"),
      workerBundle: bundleNamed("net"),
      accessLog: join(dataDir, "gateway.log"),
      guardsFile: join(dataDir, "guards.json"),
      quotasFile: join(dataDir, "quotas.counts"),
      ports: settings.ports ?? {},
      private: options.private ?? false,
      egressPorts,
      sessionKey: settings.sessionKey,
      issue: (account) => api!.channel.request<MeshIdentity>("mesh/identity", account),
      onPorts: (ports) => {
        settings.ports = ports;
        saveSettings();
      },
    });
    const net = network;
    serveApiRequests(api.channel, net, api);
    // Not before there is somebody to hear it: from now on it says what is to be served, once.
    api.tellNetwork({ mode, gatewayIP, reserved: [apiServiceIP, dnsIP] });
    await network.start();
    network.onGuarded?.((pods) => sandbox?.guard?.(pods).catch((error: unknown) => log.error("pods can be reached past their policies", { error })));
    network.onHostAddresses((addresses) => api!.send("net/addresses", addresses));
    network.onEdgeBindings((bindings) => api!.send("net/edge-bindings", bindings));
    for (const [ip, port] of [[apiServiceIP, 443], [gatewayIP, defaultApiPort]] as const) {
      // Plain mode as an ordinary user may not have port 443: pods then use the address in their environment.
      await net.listenInPodNetwork(ip, port).then(
        (handle) => api!.listen({ role: "pod-network", handle }),
        (error: Error) => log.warn("the API has no listener in the pod network", { address: `${ip}:${port}`, error: error.message }),
      );
    }
    await apiReady;

    const { createHttpClient } = await import("./api/http-client.ts");
    const client = createHttpClient({ socketPath: socketPath(dataDir, "api.sock") });
    const { createAgent } = await import("./node/agent.ts");
    agent = createAgent({ client, sandbox, network, dataDir, clock: systemClock, random: systemRandom, log: log.child("agent"), hostPathRoots: options.hostPathRoots ?? [], ...(options.inspect && { inspect: { firstPort: options.private ? 0 : 9229 } }), version: wherryVersion() });
    await agent.start();
    stopCollecting = collectWhenQuiet(systemClock);

    return {
      dataDir,
      apiUrl,
      kubeconfig: join(dataDir, "kubeconfig"),
      mode: sandbox.mode,
      findings: sandbox.findings,
      client,
      hostAddresses: () => net.hostAddresses(),
      processes: () => ({ api: api!.pid, net: net.pids() }),
      stop,
      [Symbol.asyncDispose]: () => stop("fast"),
    };
  } catch (error) {
    await stop("fast");
    undo();
    throw error;
  }
}

/** What this machine can give, by trying; nothing stays started. */
export async function probeMachine(isolation: "auto" | "isolated" | "plain"): Promise<{ mode: "isolated" | "plain"; findings: readonly Finding[] }> {
  const dataDir = mkdtempSync(join(tmpdir(), "wherry-doctor-"));
  try {
    const { createSandbox } = await import("./node/sandbox/index.ts");
    const sandbox = await createSandbox({ dataDir, isolation, log: createLog("doctor"), clock: systemClock, egressPorts: [] });
    return { mode: sandbox.mode, findings: sandbox.findings };
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Who would serve a request, and why nobody else: as `wherry route explain` prints it. */
export async function explainRoute(client: Client, asked: AskedRequest): Promise<Explained> {
  const [{ explainInCluster }, { AskedError }] = await Promise.all([import("./proxy/explain/cluster.ts"), import("./proxy/explain/explain.ts")]);
  return explainInCluster(client, asked).catch((error: unknown) => {
    throw error instanceof AskedError ? new WherryError("USAGE", error.message) : error;
  });
}

/** What has been counted of quotas by the stack of this directory, whether it runs or not: as `wherry route usage` prints it. */
export async function quotaUsage(dataDir: string): Promise<ReturnType<typeof import("./proxy/quotas/usage.ts").usageIn>> {
  return (await import("./proxy/quotas/usage.ts")).usageIn(join(dataDir, "quotas.counts"));
}

/** Where Ingresses and Gateways are reached on this machine. */
export async function doorsInCluster(client: Client): Promise<Door[]> {
  const { readDoors } = await import("./proxy/explain/doors.ts");
  return readDoors(client);
}
export { type Door };

/** By which a data directory is known to be Wherry's: chmod and `reset` must never meet somebody's home. */
const ownNames = new Set(["lock", "settings.json", "store.db", "pki", "kubeconfig", "wherry.log"]);

/** Whether a folder with these entries is a data directory of ours, or empty and may become one. */
export function isDataDir(names: readonly string[]): boolean {
  return names.length === 0 || names.some((name) => ownNames.has(name));
}

/** Makes the folder, or sees that it is ours. Throws DATA_DIR_UNREADABLE and changes nothing then. `undo` removes what was made, while it is empty. */
export function makeDataDir(dataDir: string): { undo(): void } {
  let made: string | undefined;
  try {
    made = mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    const names = readdirSync(dataDir);
    if (!isDataDir(names)) throw new Error(`it holds ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", …" : ""} and nothing of Wherry's`);
    chmodSync(dataDir, 0o700);
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new WherryError("DATA_DIR_UNREADABLE", `the data directory ${dataDir} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  return {
    undo() {
      if (made === undefined) return;
      for (let folder = dataDir; folder.startsWith(made); folder = dirname(folder)) {
        try {
          rmdirSync(folder);
        } catch {
          return; // Something was stored.
        }
      }
    },
  };
}

/** Where a backup is put together, and a restored one until it is whole: hidden folders of a data directory. */
export const copyFolders = { backup: (pid: number): string => `.backup-${pid}`, restore: ".restoring" } as const;

/** Removes such folders of processes that were killed. */
export function removeCopies(dataDir: string): void {
  for (const name of readdirSync(dataDir)) {
    const [, pid] = /^\.backup-(\d+)$/.exec(name) ?? [];
    if (pid === undefined ? name === copyFolders.restore : !existsSync(`/proc/${pid}`)) rmSync(join(dataDir, name), { recursive: true, force: true });
  }
}

/**
 * The API's port, bound here and listened on in `wherry-api`: while that process is restarted, connections wait
 * in the backlog instead of being refused. This process never polls the handle.
 */
function bindApiPort(options: StartOptions, settings: Settings): { port: number; handle: RawHandle } {
  const wanted = options.port ?? settings.apiPort ?? (options.private ? 0 : defaultApiPort);
  const exact = options.port !== undefined && options.port !== 0;
  const first = bindHandle("127.0.0.1", wanted);
  if (first.handle) return first as { port: number; handle: RawHandle };
  if (exact || first.code !== "EADDRINUSE") throw new WherryError("PORT_TAKEN", `port ${wanted} on 127.0.0.1 cannot be used for the API (${first.code})`);
  options.onProgress?.(`port ${wanted} is taken by another program; the API gets a free one`);
  const second = bindHandle("127.0.0.1", 0);
  if (!second.handle) throw new WherryError("PORT_TAKEN", `no port on 127.0.0.1 is free for the API (${second.code})`);
  return second as { port: number; handle: RawHandle };
}

/** The version in package.json. */
export function wherryVersion(): string {
  return (JSON.parse(readFileSync(join(dirname(import.meta.dirname), "package.json"), "utf8")) as { version: string }).version;
}
