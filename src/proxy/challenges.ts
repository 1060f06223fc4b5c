import type { EdgeBinding } from "../api/network.ts";
import type { EdgeListener, TrafficPatch } from "../api/traffic.ts";

/**
 * Answers for ACME servers (RFC 8555 §8.3): routes that exist while a challenge does, on every listener for plain HTTP that serves
 * the host, whoever's it is. They go before all other routes of the host, redirects to HTTPS among them.
 */
export class ChallengeRoutes {
  readonly #publish: (patch: TrafficPatch) => void;
  readonly #listeners = new Map<string, EdgeListener>();
  readonly #presented = new Map<string, { host: string; text: string; attached: string }>();
  #bindings: readonly EdgeBinding[] = [];
  #revision = 0;

  /** What is published says all there is of challenges at once, for an earlier process of ours may have left some. */
  constructor(publish: (patch: TrafficPatch) => void) {
    this.#publish = publish;
    publish({ revision: 0, whole: true, scope: "acme", put: {}, remove: {} });
  }

  /** What a compiler publishes: it goes on as it is. */
  readonly pass = (patch: TrafficPatch): void => {
    this.#publish(patch);
    const { whole, scope, put, remove } = patch;
    if (whole) for (const id of this.#listeners.keys()) if (scope === (id.startsWith("ingress/") ? "ingress" : "gateway")) this.#listeners.delete(id);
    for (const id of remove.listeners ?? []) this.#listeners.delete(id);
    for (const listener of put.listeners ?? []) this.#listeners.set(listener.id, listener);
    for (const token of this.#presented.keys()) this.#attach(token);
  };

  /** Where listeners came to be bound. */
  bound(bindings: readonly EdgeBinding[]): void {
    this.#bindings = bindings;
  }

  present({ host, token, text }: { host: string; token: string; text: string }): { addresses(): { address: string; port: number }[]; remove(): void } {
    this.#presented.set(token, { host, text, attached: "" });
    this.#attach(token);
    return {
      addresses: () => {
        const places = this.#listenersOf(host).flatMap((listener) => this.#bindings.filter((binding) => binding.protocol === "TCP" && binding.address === listener.address && binding.port === listener.port && binding.boundPort !== undefined).map((binding) => ({ address: listener.address, port: binding.boundPort! })));
        return [...new Map(places.map((place) => [`${place.address} ${place.port}`, place])).values()];
      },
      remove: () => {
        if (!this.#presented.delete(token)) return;
        this.#publish({ revision: ++this.#revision, put: {}, remove: { routes: [idOf(token)] } });
      },
    };
  }

  #listenersOf(host: string): EdgeListener[] {
    return [...this.#listeners.values()].filter(({ protocol, hostname }) => protocol === "HTTP" && (hostname === undefined || hostname === host || (hostname.startsWith("*.") && host.endsWith(hostname.slice(1)))));
  }

  #attach(token: string): void {
    const presented = this.#presented.get(token)!;
    const { host, text } = presented;
    const attachments = this.#listenersOf(host).map(({ id }) => ({ listener: id, hostnames: [host] }));
    const attached = JSON.stringify(attachments);
    if (attached === presented.attached) return;
    presented.attached = attached;
    const filters = [{ type: "respond" as const, status: 200, headers: [{ name: "content-type", value: "text/plain" }], body: text }];
    const match = { path: { type: "exact" as const, value: `/.well-known/acme-challenge/${token}` }, priority };
    this.#publish({ revision: ++this.#revision, put: { routes: [{ type: "http", id: idOf(token), createdAt: 0, attachments, rules: [{ name: "ACME challenge", matches: [match], filters, backends: [] }] }] }, remove: {} });
  }
}

const idOf = (token: string): string => `Challenge/${token}`;
/** Above what regular expressions of Ingresses are ordered by. */
const priority = 1_000_000_000;
