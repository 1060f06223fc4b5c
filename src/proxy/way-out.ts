import type { NetworkNamespace } from "../api/network.ts";
import { Channel } from "../base/channel.ts";
import type { TcpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { type EgressRefusal, EgressRefusals, NotOutsideError, toldPorts } from "./egress.ts";
import type { HostListener } from "./messages.ts";
import { createOutside, type Outside } from "./outside.ts";
import type { WorkerProgram } from "./program.ts";
import { endWorker, spawnWorker } from "./worker-process.ts";

export interface WayOutOptions {
  /** How a helper gets to where the default route leads; absent: there is no way out. */
  enter: NetworkNamespace["enterEgress"];
  /** At which pods may dial the outside. */
  ports: readonly number[];
  program: WorkerProgram;
  log: Log;
  /** Another one in tests. */
  outside: Outside | undefined;
}

/** The way out of the pod network, as `wherry` has it: listeners behind the default route, and what is dialled for those who came there. */
export class WayOut {
  readonly #options: WayOutOptions;
  readonly #outside: Outside;
  readonly #refusals: EgressRefusals;
  /** Bound in the namespace behind the default route; the first worker serves them. */
  readonly #bound = new Map<string, { port: number; handle: TcpHandle }>();
  onRefused: (refusal: EgressRefusal) => void = () => {};

  constructor(options: WayOutOptions) {
    this.#options = options;
    this.#outside = options.outside ?? createOutside({ log: options.log });
    this.#refusals = new EgressRefusals(options.ports, (refusal) => this.onRefused(refusal));
  }

  get listeners(): HostListener[] {
    return [...this.#bound].map(([key, { port }]) => ({ key, serves: { type: "egress", port } }));
  }
  get handles(): [key: string, handle: TcpHandle][] {
    return [...this.#bound].map(([key, { handle }]) => [key, handle]);
  }

  /**
   * A socket stays in the namespace it was made in: a helper that lives for a moment binds the listeners there, and
   * a worker elsewhere serves them.
   */
  async open(): Promise<void> {
    const { enter, ports, program, log } = this.#options;
    if (!enter) return;
    const child = spawnWorker(enter, program);
    const channel = new Channel(child);
    const failed = new Promise<never>((_, reject) => child.once("error", reject).once("exit", () => reject(new Error("the helper ended early"))));
    failed.catch(() => {});
    try {
      for (const port of new Set([...ports, ...toldPorts])) {
        const { handle } = await Promise.race([channel.request("net/listen", { ip: "0.0.0.0", port }), failed]);
        this.#bound.set(`egress/${port}`, { port, handle: handle as TcpHandle });
      }
    } catch (error) {
      log.error("pods cannot reach the outside: the listeners of the way out were not made", { error: (error as Error).message });
    } finally {
      await endWorker(child, AbortSignal.timeout(1_000));
    }
  }
  close(): void {
    for (const { handle } of this.#bound.values()) handle.close();
    this.#bound.clear();
  }

  resolve(name: string, type: string): ReturnType<Outside["resolve"]> {
    return this.#outside.resolve(name, type);
  }

  /** A pod that dials by itself has the egress ports; what a Service leads to is open on any. */
  async dial({ ip, port, podIP }: { ip: string; port: number; podIP?: string }): Promise<TcpHandle> {
    const refuse = () => podIP !== undefined && this.#refusals.refused(podIP, ip, port, performance.now());
    if (podIP !== undefined && !this.#refusals.isOpen(port)) {
      refuse();
      throw new Error(`port ${port} is not open to pods`);
    }
    try {
      return await this.#outside.dial(ip, port);
    } catch (error) {
      if (error instanceof NotOutsideError) refuse();
      throw error;
    }
  }
}
