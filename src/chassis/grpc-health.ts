import type { ServiceDefinition } from "@grpc/grpc-js";
import type { ProtoLoader } from "./grpc-load.ts";

/**
 * `grpc.health.v1.Health`, which Kubernetes' `grpc` probes and gRPC's own clients ask.
 * Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export type ServingStatus = "UNKNOWN" | "SERVING" | "NOT_SERVING" | "SERVICE_UNKNOWN";

/** The messages by hand: a file of the package's would have to be found at run time. */
export function healthDefinition(loader: ProtoLoader): ServiceDefinition {
  const service = { type: "string", id: 1 };
  const status = { type: "ServingStatus", id: 1 };
  const definition = loader.fromJSON(
    {
      nested: {
        grpc: {
          nested: {
            health: {
              nested: {
                v1: {
                  nested: {
                    HealthCheckRequest: { fields: { service } },
                    HealthCheckResponse: { fields: { status }, nested: { ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } } },
                    Health: {
                      methods: {
                        Check: { requestType: "HealthCheckRequest", responseType: "HealthCheckResponse", comment: "" },
                        Watch: { requestType: "HealthCheckRequest", responseType: "HealthCheckResponse", responseStream: true, comment: "" },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
    { enums: String, defaults: true },
  );
  return definition["grpc.health.v1.Health"] as unknown as ServiceDefinition;
}

interface Watcher {
  service: string;
  last: ServingStatus | undefined;
  send(status: ServingStatus): void;
  end(): void;
}

/** Who serves, and who is told when that changes. "" is the server as a whole. */
export class ServingStates {
  readonly #states = new Map<string, ServingStatus>([["", "SERVING"]]);
  readonly #watchers = new Set<Watcher>();
  readonly #whole: () => Promise<boolean>;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  /** `whole`: whether the program as such is ready; asked each second while somebody watches. */
  constructor(whole: () => Promise<boolean>) {
    this.#whole = whole;
  }

  set(service: string, status: ServingStatus): void {
    this.#states.set(service, status);
    void this.#tell();
  }

  /** Undefined: nobody knows this service. */
  async of(service: string): Promise<ServingStatus | undefined> {
    const own = this.#states.get(service);
    if (own !== "SERVING") return own;
    return !this.#isOver && (await this.#whole()) ? "SERVING" : "NOT_SERVING";
  }

  watch(watcher: Omit<Watcher, "last">): () => void {
    const held: Watcher = { ...watcher, last: undefined };
    this.#watchers.add(held);
    this.#timer ??= setInterval(() => void this.#tell(), 1_000).unref();
    void this.#tell();
    return () => {
      this.#watchers.delete(held);
      if (this.#watchers.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    };
  }

  /** Tells all that nothing serves any more, and forgets them. */
  async over(): Promise<void> {
    this.#isOver = true;
    await this.#tell();
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
    clearInterval(this.#timer);
  }

  async #tell(): Promise<void> {
    for (const watcher of this.#watchers) {
      const status = (await this.of(watcher.service)) ?? "SERVICE_UNKNOWN";
      if (status === watcher.last || !this.#watchers.has(watcher)) continue;
      watcher.last = status;
      watcher.send(status);
    }
  }
}
