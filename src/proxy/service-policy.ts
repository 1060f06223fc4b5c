import type { RequestView } from "../policy/exchange.ts";
import type { Picked, Refused, UpstreamPolicy } from "../policy/upstream.ts";
import type { ServicePort } from "./service-table.ts";

const nothingLearnt = (): void => {};

/** A Service without a policy of its own: its ready endpoints in turn, or the client's own one where it has affinity. */
export class ServicePolicy implements UpstreamPolicy {
  readonly #service: ServicePort;

  constructor(service: ServicePort) {
    this.#service = service;
  }
  /** Both are the table's. */
  configure(): void {}
  update(): void {}

  pick(request: RequestView | undefined, tried: readonly string[] = []): Picked | Refused {
    const service = this.#service;
    const endpoints = service.active;
    if (endpoints.length === 0) return { status: 503, flag: "UH", reason: `${service.service.namespace}/${service.service.name} has no ready endpoint` };
    const { hasAffinity } = service;
    const client = hasAffinity ? (request?.client ?? "") : "";
    const nowMs = hasAffinity ? performance.now() : 0;
    const first = service.choose(client, nowMs);
    let endpoint = endpoints[first]!;
    for (let i = 1; i < endpoints.length && tried.includes(endpoint.key); i++) endpoint = endpoints[(first + i) % endpoints.length]!;
    if (!hasAffinity) return { endpoint, done: nothingLearnt };
    return { endpoint, done: ({ type }) => void (type === "answered" && service.remember(client, endpoint, nowMs)) };
  }
  mayRetry(): boolean {
    return true;
  }
  endpoints(): { key: string; active: number; ejectedForMs: number; latencyMs: number }[] {
    return this.#service.active.map(({ key }) => ({ key, active: 0, ejectedForMs: 0, latencyMs: 0 }));
  }
  connectionOpened(): boolean {
    return true;
  }
  connectionClosed(): void {}
  pendingStarted(): boolean {
    return true;
  }
  pendingEnded(): void {}
}
