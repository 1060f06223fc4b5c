import type { Persistence } from "../api/traffic.ts";
import { ClientAffinity } from "./client-affinity.ts";
import type { EndpointState } from "./endpoint-state.ts";
import type { RequestView } from "./exchange.ts";
import { hash } from "./hash.ts";
import { sessionIn, sessionOf, type SessionNames } from "./session-token.ts";

/** Clients that one upstream remembers by address in one worker; beyond, the longest silent one is forgotten. */
const clientsMax = 10_000;
const clientTimeoutMs = 3 * 60 * 60 * 1000;

/** The endpoints of one upstream as their clients' sessions name them. */
export class Sessions {
  readonly #upstream: string;
  readonly #names: SessionNames;
  /** By session; made when first asked for after a change. */
  #bySession: Map<string, EndpointState> | undefined;
  #clients: ClientAffinity | undefined;

  constructor(upstream: string, names: SessionNames) {
    this.#upstream = upstream;
    this.#names = names;
  }

  /** The endpoints have changed. */
  changed(): void {
    this.#bySession = undefined;
  }

  /** Where the client was before; undefined when it is new, its endpoint is gone, or its session is nothing we gave. */
  find(request: RequestView, persistence: Persistence, all: readonly EndpointState[], nowMs: number): EndpointState | undefined {
    if (persistence.type === "address") {
      const clients = this.#clientsOf(persistence);
      const key = clients.get(request.client, nowMs);
      // A client that is new goes where every worker would send it.
      return key === undefined ? rendezvousOf(request.client, all) : all.find((state) => state.key === key);
    }
    const session = sessionIn(request, persistence);
    if (session === undefined) return undefined;
    this.#bySession ??= new Map(all.map((state) => [this.of(state), state]));
    return this.#bySession.get(session);
  }

  of(state: EndpointState): string {
    return (state.session ??= sessionOf(this.#names, this.#upstream, state.key));
  }

  /** For `address`: there is nothing that the client could bring back. */
  remember(client: string, state: EndpointState, persistence: Persistence, nowMs: number): void {
    this.#clientsOf(persistence).set(client, state.key, nowMs);
  }

  #clientsOf({ maxAgeSeconds }: Persistence): ClientAffinity {
    const timeoutMs = maxAgeSeconds === undefined ? clientTimeoutMs : maxAgeSeconds * 1000;
    this.#clients ??= new ClientAffinity(timeoutMs, clientsMax);
    this.#clients.timeoutMs = timeoutMs;
    return this.#clients;
  }
}

function rendezvousOf(client: string, all: readonly EndpointState[]): EndpointState | undefined {
  let best: EndpointState | undefined;
  let bestScore = -1;
  for (const state of all) {
    if (!state.usable || state.weight === 0) continue;
    const score = hash(`${client}|${state.key}`);
    if (score > bestScore) [best, bestScore] = [state, score];
  }
  return best;
}

/** As it stands in Set-Cookie. */
export function cookieText(name: string, value: string, { maxAgeSeconds, path, secure, domain, sameSite }: Pick<Persistence, "maxAgeSeconds" | "path" | "secure" | "domain" | "sameSite">): string {
  const age = maxAgeSeconds === undefined ? "" : `; Max-Age=${maxAgeSeconds}`;
  return `${name}=${value}; Path=${path ?? "/"}${domain === undefined ? "" : `; Domain=${domain}`}${age}; HttpOnly${secure ? "; Secure" : ""}${sameSite === undefined ? "" : `; SameSite=${sameSite}`}`;
}
