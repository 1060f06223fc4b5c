import type { Guard, PeerMode } from "../../api/guard.ts";
import type { PodIdentity } from "../../api/network.ts";
import type { Call, Verdict } from "../../policy/authorise/authorise.ts";
import type { HeaderEdits, LocalAnswer, RequestView } from "../../policy/exchange.ts";
import type { Flag } from "../../policy/flags.ts";
import { localAnswer } from "../../policy/local-answer.ts";
import type { Endpoint } from "../../policy/upstream.ts";
import type { Counters } from "../http/counters.ts";
import type { HttpExchange } from "../http/exchange.ts";
import type { ServicePort } from "../service-table.ts";
import { type Caller, gatewayCaller } from "./caller.ts";
import { Guards } from "./guards.ts";
import { trustDomain } from "./trust-domain.ts";
import type { FetchKeys } from "../../policy/tokens/reader.ts";

export interface JudgeOptions {
  /** By their addresses. */
  pods: ReadonlyMap<string, PodIdentity>;
  /** From where Gateways call. */
  gatewayIP: string;
  fetchKeys: FetchKeys;
  counters: Counters;
  /** A connection was refused that is not HTTP. */
  refused(address: string, service: ServicePort, flag: Flag, reason: string): void;
}

const denied = "RBAC: access denied";
const callers = new WeakMap<PodIdentity, Caller>();
const noHeaders: HeaderEdits = { remove: [], set: [], add: [] };

/**
 * Who may reach which pod, asked whenever the data plane has chosen an endpoint and before that hears a byte, whatever way led
 * there: a Service's listener, its routes, a Gateway, the front door.
 */
export class Judge {
  readonly #options: JudgeOptions;
  readonly #guards: Guards;

  constructor(options: JudgeOptions) {
    this.#options = options;
    this.#guards = new Guards(options.pods, options.fetchKeys);
  }
  set(guards: readonly Guard[]): void {
    this.#guards.set(guards);
  }
  /** Resolves when keys that are elsewhere are there, or cannot be had. */
  keysAnswered(): Promise<void> {
    return this.#guards.keysAnswered();
  }
  podsChanged(): void {
    this.#guards.podsChanged();
  }

  /** Whether anything stands before one of its pods: then everybody must come by the data plane. */
  guards({ service: { namespace, name }, port: { endpoints } }: ServicePort): boolean {
    return endpoints.some(({ ip }) => {
      const guard = this.#guards.of(ip, `${namespace}/${name}`);
      // Who dials by himself has an identity: that is all that STRICT asks for.
      return guard?.authorise !== undefined || guard?.tokens !== undefined;
    });
  }
  /** Whether connections to this port must be read, wherever that is possible. */
  reads({ service: { namespace, name }, port: { endpoints } }: ServicePort): boolean {
    return endpoints.some(({ ip }) => this.#guards.of(ip, `${namespace}/${name}`)?.readsHttp);
  }

  /** What PeerAuthentications say of its pods, the strictest of them first; undefined: nothing. */
  peerMode({ service: { namespace, name }, port: { endpoints } }: ServicePort): PeerMode | undefined {
    let found: PeerMode | undefined;
    for (const { ip, port } of endpoints) {
      const mode = this.#guards.of(ip, `${namespace}/${name}`)?.peerMode(port);
      if (mode === "STRICT") return mode;
      if (mode === "PERMISSIVE" || found === undefined) found = mode ?? found;
    }
    return found;
  }

  /** What is answered instead; undefined: it may go on to that endpoint. */
  http(exchange: HttpExchange, { ip, port }: Endpoint): LocalAnswer | undefined {
    const { request, client } = exchange;
    const { listener, address } = client;
    const guard = this.#guards.of(ip, listener.service);
    if (!guard) return undefined;
    // Beyond the mesh addresses are anybody's: only a Gateway itself is known there.
    const caller = listener.isTransparent ? (listener.peer ?? this.callerAt(address)) : gatewayCaller(listener.id);
    const answer = (flag: Flag, reason: string, told: string, details: { status?: number; body: string; headers?: [string, string][] }): LocalAnswer => {
      (exchange.judged ??= { note: "", isTold: true, caller }).isTold = true;
      // The log has what the caller must not know.
      return { ...localAnswer(request, flag, reason, details), reason: told };
    };
    if (!caller && guard.peerMode(port) === "STRICT") return answer("NI", "mTLS is STRICT here, and the caller has no identity", `${ip}:${port}: PeerAuthentication is STRICT, and ${address} has no identity`, { body: "mTLS is STRICT here, and the caller has no identity\n" });
    if (guard.log && listener.isTransparent) (exchange.judged ??= { note: "", isTold: false, caller }).log = guard.log;
    if (!guard.tokens && !guard.authorise) return undefined;
    const judged = (exchange.judged ??= { note: "", isTold: false, caller });
    const tokens = guard.tokens?.read(request);
    if (tokens?.refusal) {
      const { status, reason } = tokens.refusal;
      return answer("JWT", reason, reason, { status, body: reason, headers: [["www-authenticate", `Bearer realm="${request.scheme}://${request.host}${request.path}", error="invalid_token"`]] });
    }
    if (tokens) {
      const { remove, set, add } = exchange.requestHeaders ?? noHeaders;
      const own = new Set(tokens.edits.set.map(([name]) => name));
      exchange.requestHeaders = { remove: [...remove, ...tokens.edits.remove], set: [...set.filter(([name]) => !own.has(name)), ...tokens.edits.set], add };
      if (tokens.withoutParams.length > 0) exchange.target = withoutParams(exchange.target ?? `${request.path}?${request.query}`, tokens.withoutParams);
    }
    const verdict = guard.authorise?.({
      caller,
      sourceIp: listener.isTransparent ? address : this.#options.gatewayIP,
      remoteIp: address,
      destinationIp: ip,
      destinationPort: port,
      serverName: listener.serverName ?? "",
      request: asItGoes(exchange),
      claims: tokens?.claims,
    });
    if (!verdict) return undefined;
    const note = this.#note(verdict);
    if (note !== "") {
      judged.note = note;
      judged.isTold = true;
    }
    return verdict.isAllowed ? undefined : answer("PD", denied, saying(verdict), { body: denied });
  }

  /** Whether a connection that nobody reads may go on to that endpoint. `gateway`: through which it came; `secured`: what TLS has proved. */
  tcp(address: string, { ip, port }: Endpoint, service: ServicePort, gateway: Caller | undefined, secured?: { peer: Caller | undefined; serverName: string }): boolean {
    const { namespace, name } = service.service;
    const guard = this.#guards.of(ip, gateway ? undefined : `${namespace}/${name}`);
    if (!guard) return true;
    const caller = gateway ?? secured?.peer ?? this.callerAt(address);
    if (!caller && guard.peerMode(port) === "STRICT") {
      this.#options.refused(address, service, "NI", `${ip}:${port}: PeerAuthentication is STRICT, and the caller has no identity`);
      return false;
    }
    const verdict = guard.authorise?.({ caller, sourceIp: gateway ? this.#options.gatewayIP : address, remoteIp: address, destinationIp: ip, destinationPort: port, serverName: secured?.serverName ?? "", request: undefined, claims: undefined });
    if (!verdict) return true;
    const note = this.#note(verdict);
    if (!verdict.isAllowed) this.#options.refused(address, service, "PD", `${saying(verdict)}${note === "" ? "" : `; ${note}`}`);
    return verdict.isAllowed;
  }

  /** The pod with this address: the same object for each of its calls, so that what a policy reads off it is found once. */
  callerAt(address: string): Caller | undefined {
    const pod = this.#options.pods.get(address);
    if (!pod) return undefined;
    let caller = callers.get(pod);
    if (!caller) callers.set(pod, (caller = { trustDomain, namespace: pod.namespace, serviceAccount: pod.serviceAccount }));
    return caller;
  }

  /** Counts what was only tried, and says it. */
  #note({ dryRun, audited }: Verdict): string {
    if (!dryRun && audited.length === 0) return "";
    const { counters } = this.#options;
    if (dryRun) counters.flagged(dryRun.isAllowed ? "PD-DRY-ALLOW" : "PD-DRY-DENY");
    if (audited.length > 0) counters.flagged("PD-AUDIT");
    const tried = dryRun ? `dry run: ${dryRun.isAllowed ? "allowed" : "denied"}${dryRun.by === undefined ? "" : ` by ${dryRun.by}`}` : "";
    return [tried, ...audited.map((name) => `audited by ${name}`)].filter(Boolean).join("; ");
  }
}

const saying = ({ by }: Verdict): string => (by === undefined ? "no policy allows it" : `denied by ${by}`);

/** What the program would get: a route may have written path, host and headers anew, and what is judged must be what is heard. */
function asItGoes({ request, target, host, requestHeaders }: HttpExchange): NonNullable<Call["request"]> {
  const { method } = request;
  const path = target === undefined ? request.path : target.slice(0, (target.indexOf("?") + 1 || target.length + 1) - 1);
  const header: RequestView["header"] = (name) => {
    if (name === "host" && host !== undefined) return host;
    let value = requestHeaders?.remove.includes(name) ? undefined : request.header(name);
    for (const [own, set] of requestHeaders?.set ?? []) if (own === name) value = set;
    for (const [own, added] of requestHeaders?.add ?? []) if (own === name) value = value === undefined ? added : `${value}, ${added}`;
    return value;
  };
  return { method, path, host: host ?? request.host, header };
}

function withoutParams(target: string, names: readonly string[]): string {
  const at = target.indexOf("?");
  if (at < 0) return target;
  const left = target.slice(at + 1).split("&").filter((pair) => pair !== "" && !names.some((name) => new URLSearchParams(pair).has(name)));
  return left.length === 0 ? target.slice(0, at) : `${target.slice(0, at)}?${left.join("&")}`;
}
