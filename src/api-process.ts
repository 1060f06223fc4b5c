import { type ChildProcess, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { Channel, type RawHandle } from "./base/channel.ts";
import { type ErrorCode, WherryError } from "./base/errors.ts";
import type { TcpHandle } from "./base/handles.ts";
import type { Log } from "./base/log.ts";

export const entry = join(dirname(import.meta.dirname), "bin", "wherry.mjs");

/** Paths of configuration files, as kube-apiserver takes them; each may be absent. */
export interface AccessFiles {
  /** An AuthenticationConfiguration. */
  authentication?: string;
  /** An audit Policy, and where its log goes. Both or none. */
  auditPolicy?: string;
  auditLog?: string;
  /** When the log's files are put aside and deleted, as kube-apiserver's flags have it. */
  auditRotation?: { sizeMbMax?: number; ageDaysMax?: number; backupsMax?: number };
  /** An EncryptionConfiguration, and whether it is read again when it changes. */
  encryption?: string;
  encryptionReload?: boolean;
}

/** What `wherry` tells `wherry-api` at its start. */
export interface ApiOptions {
  dataDir: string;
  name: string;
  apiUrl: string;
  /** Where ClusterIPs come from: "10.96.", or in plain mode, where everything is on the machine's loopback, "127.96." or the next that is free. */
  serviceNetwork: string;
  /** The pod network's side of the machine, where the API listens too. */
  gatewayIP: string;
  access?: AccessFiles;
}

/** What `wherry-api` learns once the pod network stands. */
export interface NetworkFacts {
  mode: "isolated" | "plain";
  gatewayIP: string;
  /** Addresses in the pod network where somebody else listens: no Service listener is opened there. */
  reserved: readonly string[];
}

interface Listener {
  role: "host" | "pod-network";
  handle: RawHandle;
}

interface ForkedApi {
  child: ChildProcess;
  channel: Channel;
  /** Rejects when it ends. */
  exited: Promise<never>;
}

/** `wherry-api`: forked, told what to do, restarted when it dies, with the same listeners. */
export class ApiProcess {
  readonly listeners: Listener[] = [];
  readonly #log: Log;
  readonly #onProgress: ((message: string) => void) | undefined;
  readonly #handlers: [string, (body: never, handle: RawHandle | undefined) => unknown][] = [];
  #child: ChildProcess | undefined;
  #channel: Channel | undefined;
  /** Forked, and not told yet what to do. */
  #prepared: ForkedApi | undefined;
  #options: ApiOptions | undefined;
  #network: NetworkFacts | undefined;
  #stopping = false;
  #wasUp = false;
  /** Why it could not be started again. */
  #refusal: string | undefined;
  #crashes: number[] = [];
  /** Handlers put here answer whichever child is alive. */
  readonly channel = {
    on: (type: string, handler: (body: never, handle: RawHandle | undefined) => unknown): void => {
      this.#handlers.push([type, handler]);
      this.#channel?.on(type, handler as never);
    },
    request: async <T>(type: string, body: unknown): Promise<T> => (await this.#channel!.request<T>(type, body)).body,
  };

  constructor(log: Log, onProgress: ((message: string) => void) | undefined) {
    this.#log = log;
    this.#onProgress = onProgress;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Forks it already: it loads while its options are found out. */
  prepare(): void {
    this.#prepared = this.#fork();
  }

  async start(options: ApiOptions): Promise<void> {
    this.#options = options;
    await this.#spawn();
  }

  listen(listener: Listener): void {
    this.listeners.push(listener);
    this.#channel?.notify("api/listen", { role: listener.role }, listener.handle);
  }

  send(type: string, body: unknown): void {
    this.#channel?.notify(type, body);
  }

  tellNetwork(facts: NetworkFacts): void {
    this.#network = facts;
    this.send("api/network", facts);
  }

  async #spawn(): Promise<void> {
    const { child, channel, exited } = this.#prepared ?? this.#fork();
    this.#prepared = undefined;
    const { body } = (await Promise.race([channel.request("api/start", this.#options), exited])) as { body: { error?: { code: ErrorCode; message: string } } | undefined };
    if (body?.error) {
      // Who starts is told. Later nobody waits: it is tried again until somebody has mended the file, or made room.
      if (this.#wasUp) child.kill("SIGKILL");
      else this.#stopping = true;
      throw new WherryError(body.error.code, body.error.message);
    }
    this.#wasUp = true;
    this.#refusal = undefined;
  }

  #fork(): ForkedApi {
    // A session of its own: a terminal's Ctrl-C must reach only `wherry`. It ends itself when the channel closes.
    const child = spawn(process.execPath, [...process.execArgv.filter((flag) => !flag.startsWith("--test")), ...apiFlags, entry, "internal:api"], { stdio: ["ignore", "inherit", "inherit", "ipc"], detached: true, env: cleanEnvironment() });
    const channel = new Channel(child);
    this.#child = child;
    this.#channel = channel;
    for (const [type, handler] of this.#handlers) channel.on(type, handler as never);
    const exited = new Promise<never>((_, reject) => {
      child.once("error", (error) => reject(error));
      child.once("exit", (code, signal) => reject(new Error(`wherry-api ended with ${signal ?? `exit code ${code}`}`)));
    });
    exited.catch((error: Error) => this.#restart(error));
    // The listeners first: connections that waited in the backlog are served the moment the server stands.
    for (const { role, handle } of this.listeners) channel.notify("api/listen", { role }, handle);
    if (this.#network) channel.notify("api/network", this.#network);
    return { child, channel, exited };
  }

  /** Said once, however often it is met. */
  #refused(error: Error): void {
    if (this.#stopping || !(error instanceof WherryError) || this.#refusal === error.message) return;
    this.#refusal = error.message;
    this.#log.error("wherry-api cannot start again", { code: error.code, error: error.message, remedy: error.remedy });
    this.#onProgress?.(`wherry-api cannot start again: ${error.message}\n  ${error.remedy}\n  It is tried again every few seconds; pods and traffic go on.`);
  }

  /** At once after a first crash; slower when it keeps crashing. */
  #restart(error: Error): void {
    // Before it was told what to do, only who starts it can say so to its successor, and hears of this end.
    if (this.#stopping || this.#prepared || this.#options === undefined) return;
    const now = Date.now();
    this.#crashes = [...this.#crashes.filter((at) => now - at < 10_000), now];
    const waitMs = this.#crashes.length > 3 ? Math.min(5_000, 250 * 2 ** (this.#crashes.length - 4)) : 0;
    if (this.#refusal === undefined) {
      this.#log.error("restarting", { error: error.message, waitMs });
      this.#onProgress?.(`${error.message}; restarting it (pods and traffic go on)`);
    }
    setTimeout(() => !this.#stopping && this.#spawn().catch((failure: Error) => this.#refused(failure)), waitMs);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    // Whoever starts another stack in this process finds the addresses free.
    for (const { handle } of this.listeners.splice(0)) (handle as TcpHandle).close();
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    this.#channel?.notify("api/stop");
    const hard = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await gone;
    clearTimeout(hard);
  }
}

/** The young generation in 8 MB, where V8 would take 16 and three times that: a sixth less memory under load, and no slower. */
const apiFlags = ["--max-semi-space-size=8"];

/** glibc's allocator keeps an arena for each thread, each as large as it ever was; one does for threads that wait for the disk. */
const allocator = { MALLOC_ARENA_MAX: "1" };

/** Our children get what programs need and nothing of npm's or the user's secrets. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "WHERRY_LOG", "WHERRY_COMPILE_CACHE", "WHERRY_SOURCES"];
  return { ...allocator, ...Object.fromEntries(kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]]))) };
}
