import { existsSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { debuggerAnnotation, debuggerPrefix } from "../../api/reload.ts";
import { resources } from "../../api/resources.ts";
import type { Client } from "../../api/client.ts";
import type { Pod } from "../../api/types.ts";
import type { Log } from "../../base/log.ts";
import type { ContainerProcess, ContainerSpec } from "../sandbox/sandbox.ts";
import { socketsOf } from "../reload/sockets.ts";
import { debuggedProgram } from "./program.ts";

/** Debugger clients of one container at one time; a further one is turned away. */
const clientsMax = 16;
/** Inside the pod: the first container's port, as debuggers expect it. */
const insidePort = 9229;
/** Ports tried before any free one will do. */
const portsTried = 100;

/**
 * Runs inside the container for one connection: the debugger listens on the loopback of the pod's own network, where
 * no other pod can reach it. It lives on the container's memory and CPU, hence the small program where the machine has
 * it; Node, which surely is there, where not.
 */
function relay(port: number, node: string): string[] {
  const bash = ["/bin/bash", "/usr/bin/bash"].find((path) => existsSync(path));
  // Whichever side ends first, ends both; the wrappers around an exec would keep its output open.
  if (bash) return [bash, "-c", `exec 3<>/dev/tcp/127.0.0.1/${port} || exit 1; cat <&3 & cat <&0 >&3 & wait -n; kill $(jobs -p) 2>/dev/null; exit 0`];
  return [node, "-e", `const s=require("net").connect(${port},"127.0.0.1");s.on("error",()=>process.exit(1));process.stdin.pipe(s);s.pipe(process.stdout);s.on("close",()=>process.exit())`];
}

interface Door {
  address: string;
  server: Server | undefined;
  sockets: Set<Socket>;
}

/** What the debuggers ask of the container that they belong to. */
export interface Debugged {
  readonly pod: Pod;
  readonly ip: string;
  readonly container: string;
  /** The program that runs now. */
  process(): ContainerProcess | undefined;
}

/**
 * A debugger address on this machine's loopback for every Node container, kept as long as its pod is here, whatever
 * program comes and goes behind it. Only with `wherry up --inspect`: who reaches it can run anything in the pod.
 */
export class Debuggers {
  readonly #mode: "isolated" | "plain";
  readonly #client: Client;
  readonly #log: Log;
  /** 0: any free port. */
  readonly #firstPort: number;
  /** By pod uid and container. */
  readonly #doors = new Map<string, Map<string, Door>>();
  /** Ports are chosen one after the other, or two pods would wait for the same one. */
  #choosing: Promise<unknown> = Promise.resolve();

  constructor({ mode, client, log, firstPort }: { mode: "isolated" | "plain"; client: Client; log: Log; firstPort: number }) {
    this.#mode = mode;
    this.#client = client;
    this.#log = log;
    this.#firstPort = firstPort;
  }

  /** The container as it is to be started: a Node program listens for a debugger, and its address is on the pod. */
  async prepare(spec: ContainerSpec, of: Debugged): Promise<ContainerSpec> {
    const index = of.pod.spec!.containers.findIndex(({ name }) => name === of.container);
    if (index < 0) return spec;
    const port = insidePort + index;
    const debugged = debuggedProgram(spec.argv, spec.env, this.#mode === "plain" ? of.ip : "127.0.0.1", port);
    if (!debugged) return spec;
    try {
      await this.#open(of, port, spec.argv.find((word) => /(^|\/)node$/.test(word)) ?? "node");
      return { ...spec, argv: debugged.argv, env: { ...spec.env, ...debugged.env } };
    } catch (error) {
      this.#log.warn("a pod has no debugger address", { pod: of.pod.metadata.name, container: of.container, error: (error as Error).message });
      return spec;
    }
  }

  /** Whether somebody debugs it: a program that stands at a breakpoint answers no probe, and must not be ended for that. */
  async isAttached(of: Debugged): Promise<boolean> {
    const door = this.#doors.get(of.pod.metadata.uid)?.get(of.container);
    const process = of.process();
    if (!door || !process) return false;
    if (door.server) return door.sockets.size > 0;
    return (await socketsOf(process.pid, of.ip))?.established.includes(Number(door.address.split(":")[1])) ?? false;
  }

  /** The pod is gone. */
  close(uid: string): void {
    for (const { server, sockets } of this.#doors.get(uid)?.values() ?? []) {
      server?.close();
      for (const socket of sockets) socket.destroy();
    }
    this.#doors.delete(uid);
  }
  stop(): void {
    for (const uid of this.#doors.keys()) this.close(uid);
  }

  async #open(of: Debugged, port: number, node: string): Promise<void> {
    const { uid } = of.pod.metadata;
    const doors = this.#doors.get(uid) ?? new Map<string, Door>();
    this.#doors.set(uid, doors);
    if (doors.has(of.container)) return;
    if (this.#mode === "plain") doors.set(of.container, { address: `${of.ip}:${port}`, server: undefined, sockets: new Set() });
    else {
      const sockets = new Set<Socket>();
      const server = createServer({ allowHalfOpen: true }, (socket) => void this.#serve(socket, sockets, of, port, node));
      const before = Number(of.pod.metadata.annotations?.[debuggerAnnotation(of.container)]?.split(":")[1]) || undefined;
      const chosen = this.#choosing.then(() => this.#listen(server, before));
      this.#choosing = chosen.catch(() => {});
      doors.set(of.container, { address: `127.0.0.1:${await chosen}`, server, sockets });
    }
    const annotations = { [debuggerAnnotation(of.container)]: doors.get(of.container)!.address };
    await this.#client.patch(resources.pods, of.pod.metadata.namespace, of.pod.metadata.name, { metadata: { uid, annotations } }, { type: "merge" }).catch((error: unknown) => this.#log.debug("a debugger's address was not written", { error }));
  }

  async #listen(server: Server, before: number | undefined): Promise<number> {
    const first = this.#firstPort;
    const wanted = [...(before === undefined ? [] : [before]), ...(first === 0 ? [] : Array.from({ length: portsTried }, (_, n) => first + n)), 0];
    for (const port of wanted) {
      const done = await new Promise<number | undefined>((resolve) => {
        const failed = () => resolve(undefined);
        server.once("error", failed);
        server.listen(port, "127.0.0.1", () => {
          server.off("error", failed);
          resolve((server.address() as { port: number }).port);
        });
      });
      if (done !== undefined) return done;
    }
    throw new Error("no port of 127.0.0.1 is free");
  }

  async #serve(socket: Socket, sockets: Set<Socket>, of: Debugged, port: number, node: string): Promise<void> {
    socket.on("error", () => socket.destroy());
    const process = of.process();
    if (!process || sockets.size >= clientsMax) return void socket.destroy();
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    try {
      const inside = await process.exec({ argv: relay(port, node), env: { NODE_OPTIONS: "" }, stdin: true, tty: false, fromManifest: true });
      socket.once("close", () => inside.kill());
      void inside.exited.then(() => socket.destroy());
      if (socket.destroyed) return inside.kill();
      inside.stderr.resume();
      inside.stdin!.on("error", () => socket.destroy());
      inside.stdout.on("error", () => socket.destroy());
      socket.pipe(inside.stdin!);
      inside.stdout.pipe(socket);
    } catch {
      socket.destroy();
    }
  }
}

/** Takes away addresses from an earlier start, when nothing listens there now. */
export function forgetAddresses(client: Client, pod: Pod): void {
  const old = Object.keys(pod.metadata.annotations ?? {}).filter((name) => name.startsWith(debuggerPrefix));
  if (old.length === 0) return;
  const annotations = Object.fromEntries(old.map((name) => [name, null]));
  void client.patch(resources.pods, pod.metadata.namespace, pod.metadata.name, { metadata: { uid: pod.metadata.uid, annotations } }, { type: "merge" }).catch(() => {});
}
