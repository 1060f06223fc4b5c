import type { Persistence, Upstream } from "../api/traffic.ts";
import { type BalancerPolicy, type BalancerFactory, type BalancerTools, type ClientCookie } from "./balancers/balancer.ts";
import { balancers } from "./balancers/index.ts";
import { Circuit } from "./circuit.ts";
import { EndpointState, type Pool } from "./endpoint-state.ts";
import type { RequestView } from "./exchange.ts";
import { type Flag, flags } from "./flags.ts";
import { giveBack, OutlierDetector } from "./outlier.ts";
import { PolicyError } from "./policy-error.ts";
import { RetryBudget } from "./retry-budget.ts";
import type { SessionNames } from "./session-token.ts";
import { cookieText, Sessions } from "./sessions.ts";
import { nextStepMs, warmth } from "./slow-start.ts";
import type { CheckedUpstream, Endpoint, Picked, Refused, TryResult } from "./upstream.ts";

export interface UpstreamTools extends BalancerTools {
  sessions: SessionNames;
}

/** @throws PolicyError a balancer that nobody knows */
export function createUpstreamPolicy(upstream: Upstream, tools: UpstreamTools): CheckedUpstream {
  return new ConfiguredUpstream(upstream, tools);
}

class ConfiguredUpstream implements CheckedUpstream, Pool {
  #config: Upstream;
  readonly #tools: UpstreamTools;
  #states: readonly EndpointState[] = [];
  #byKey = new Map<string, EndpointState>();
  #balancer: BalancerPolicy<EndpointState>;
  #balancerText: string;
  #outlier: OutlierDetector | undefined;
  #circuit: Circuit | undefined;
  #budget: RetryBudget | undefined;
  readonly #sessions: Sessions;
  /** What checks have found, of endpoints by key. */
  readonly #found = new Map<string, boolean>();
  #requests = 0;
  #retries = 0;
  #connections = 0;
  /** When an endpoint that is new has more of its weight. */
  #warmerAtMs = Infinity;
  #pending = 0;
  /** What the balancer gave the client in the choice under way. */
  #given: ClientCookie | undefined;
  readonly #give = (cookie: ClientCookie): void => void (this.#given = cookie);

  constructor(config: Upstream, tools: UpstreamTools) {
    this.#config = config;
    this.#tools = tools;
    this.#sessions = new Sessions(config.id, tools.sessions);
    [this.#balancer, this.#balancerText] = this.#balancerOf(config);
    this.configure(config);
  }

  configure(config: Upstream): void {
    const [balancer, text] = this.#balancerOf(config);
    this.#config = config;
    if (text !== this.#balancerText) [this.#balancer, this.#balancerText] = [balancer, text];
    const { outlier, breaker, retryBudget, check } = config;
    // What was found by another check, or before there was one, says nothing.
    if (!check) this.#found.clear();
    if (!check) for (const state of this.#states) [state.isWell, state.awaitsCheck] = [undefined, false];
    if (!same(outlier, this.#outlier?.config)) {
      this.#outlier = outlier && new OutlierDetector(outlier);
      for (const state of this.#states) if (state.ejectedUntilMs > 0) giveBack(state, this.#tools.nowMs());
    }
    if (!same(breaker?.circuit, this.#circuit?.config)) this.#circuit = breaker?.circuit && new Circuit(breaker.circuit);
    if (!same(retryBudget, this.#budget?.config)) this.#budget = retryBudget && new RetryBudget(retryBudget);
    this.#refresh();
  }

  update(endpoints: readonly Endpoint[]): void {
    const before = this.#byKey;
    this.#byKey = new Map();
    for (const endpoint of endpoints) {
      const known = before.get(endpoint.key);
      const state = known ?? new EndpointState(endpoint, this);
      // Where all are new, nobody is warmer than another.
      if (!known && before.size > 0) state.cameAtMs = this.#tools.nowMs();
      if (!known) [state.isWell, state.awaitsCheck] = [this.#found.get(endpoint.key), before.size > 0 && this.#config.check !== undefined];
      state.endpoint = endpoint;
      this.#byKey.set(endpoint.key, state);
    }
    this.#states = [...this.#byKey.values()];
    this.#sessions.changed();
    this.#refresh();
  }

  learnHealth(key: string, isWell: boolean | undefined): void {
    if (!this.#config.check) return;
    if (isWell === undefined) this.#found.delete(key);
    else this.#found.set(key, isWell);
    const state = this.#byKey.get(key);
    if (!state) return;
    const isBack = isWell === true && state.ejectedUntilMs > 0;
    if (isBack) giveBack(state, this.#tools.nowMs());
    if (state.isWell === isWell && !isBack) return;
    state.isWell = isWell;
    this.#refresh();
  }

  pick(request: RequestView | undefined, tried?: readonly string[], isRetry = false, persistence?: Persistence): Picked | Refused {
    const { error, breaker } = this.#config;
    if (error) return { status: error.status, flag: "NC", reason: error.reason };
    if (this.#states.length === 0) return this.#refuse("UH", "has no endpoint");
    const now = this.#tools.nowMs();
    if (breaker?.requestsMax !== undefined && this.#requests >= breaker.requestsMax) return this.#refuse("UO", `has ${breaker.requestsMax} requests under way`);
    if (isRetry && this.#retries >= this.#retriesMax()) return this.#refuse("UO", `has ${this.#retries} further tries under way`);
    if (isRetry && this.#budget && !this.#budget.take(now)) return this.#refuse("UO", "has spent its retry budget");
    const era = this.#circuit ? this.#circuit.admit(now) : 0;
    if (era === "no") return this.#refuse("UO", "fails all requests: its circuit is open");
    if (!isRetry) this.#budget?.tried(now);
    if (this.#outlier && now >= this.#outlier.nextReturnMs) {
      this.#outlier.takeBack(this.#states, now);
      this.#refresh();
    }
    if (now >= this.#warmerAtMs) this.#refresh();
    const known = persistence && request ? this.#sessions.find(request, persistence, this.#states, now) : undefined;
    const kept = known?.usable && !tried?.includes(known.key) ? known : undefined;
    const state = kept ?? this.#balancer.pick(request, tried, this.#give) ?? (tried ? this.#balancer.pick(request, undefined, this.#give) : undefined);
    if (!state) {
      this.#circuit?.ended(era, undefined, now);
      return this.#refuse("UH", "has no endpoint that may be used");
    }
    this.#requests++;
    state.active++;
    const given = this.#given;
    if (given) this.#given = undefined;
    // The endpoint itself stands for the try where nothing else belongs to it.
    if (!isRetry && !persistence && !given && !this.#circuit) return state;
    if (isRetry) this.#retries++;
    return this.#trialOf(state, era, isRetry, request, persistence, kept, given, now);
  }

  mayRetry(): boolean {
    if (this.#retries >= this.#retriesMax()) return false;
    return !this.#budget || this.#budget.allows(this.#tools.nowMs());
  }

  #retriesMax(): number {
    const { retriesShare, retriesMax = Infinity } = this.#config.breaker ?? {};
    return retriesShare ? Math.max(retriesShare.least, Math.floor((this.#requests * retriesShare.percent) / 100)) : retriesMax;
  }

  tryEnded(state: EndpointState, result: TryResult, era: number): void {
    const now = this.#tools.nowMs();
    this.#requests--;
    state.active--;
    state.learnLatency(result, now);
    this.#circuit?.ended(era, result.type === "cancelled" ? undefined : result.type === "answered" && (result.status ?? 0) < 500, now);
    if (this.#outlier?.learn(state, result, this.#states, now)) this.#refresh();
  }

  connectionOpened(): boolean {
    if (this.#connections >= (this.#config.breaker?.connectionsMax ?? Infinity)) return false;
    this.#connections++;
    return true;
  }
  connectionClosed(): void {
    this.#connections--;
  }
  pendingStarted(): boolean {
    if (this.#pending >= (this.#config.breaker?.pendingMax ?? Infinity)) return false;
    this.#pending++;
    return true;
  }
  pendingEnded(): void {
    this.#pending--;
  }

  endpoints(): readonly { key: string; active: number; ejectedForMs: number; latencyMs: number }[] {
    const now = this.#tools.nowMs();
    return this.#states.map(({ key, active, ejectedUntilMs, latencyMs }) => ({ key, active, ejectedForMs: Math.max(0, ejectedUntilMs - now), latencyMs }));
  }

  /** A try with something of its own to give back, or to give the client. */
  #trialOf(state: EndpointState, era: number, isRetry: boolean, request: RequestView | undefined, persistence: Persistence | undefined, kept: EndpointState | undefined, given: ClientCookie | undefined, now: number): Picked {
    const { setCookie, setHeader } = this.#toClient(state, request, persistence, kept, given, now);
    return {
      endpoint: state.endpoint,
      setCookie,
      setHeader,
      done: (result) => {
        if (isRetry) this.#retries--;
        this.tryEnded(state, result, era);
      },
    };
  }

  #toClient(state: EndpointState, request: RequestView | undefined, persistence: Persistence | undefined, kept: EndpointState | undefined, given: ClientCookie | undefined, now: number): Pick<Picked, "setCookie" | "setHeader"> {
    if (!persistence) return given ? { setCookie: cookieText(given.name, given.value, given) } : {};
    const { type, name } = persistence;
    if (type === "address") {
      if (request) this.#sessions.remember(request.client, state, persistence, now);
      return {};
    }
    if (kept) return {};
    const session = this.#sessions.of(state);
    return type === "header" ? { setHeader: { name: name.toLowerCase(), value: session } } : { setCookie: cookieText(name, session, persistence) };
  }

  #balancerOf({ balancer = { type: "roundRobin" } }: Upstream): [BalancerPolicy<EndpointState>, string] {
    const text = JSON.stringify(balancer);
    if (this.#balancerText === text) return [this.#balancer, text];
    const factory = balancers[balancer.type] as BalancerFactory<typeof balancer> | undefined;
    if (!factory) throw new PolicyError("balancer.type", balancer.type, `supported values: ${Object.keys(balancers).join(", ")}`);
    return [factory<EndpointState>(balancer, this.#tools), text];
  }

  /** Who may be used: all that are not ejected, and not known to be unwell; or all, when so few are left that they would be overrun. */
  #refresh(): void {
    const { panicPercent } = this.#config;
    const healthy = this.#states.filter(isHealthy);
    // Who is not known yet is no sign that others would be overrun.
    const known = this.#states.reduce((count, { isWell, awaitsCheck }) => (awaitsCheck && isWell === undefined ? count : count + 1), 0);
    const isPanic = healthy.length === 0 ? panicPercent !== 0 : healthy.length < (known * (panicPercent ?? 0)) / 100;
    const usable = isPanic ? this.#states : healthy;
    for (const state of this.#states) state.usable = isPanic || isHealthy(state);
    this.#warm();
    this.#balancer.update(this.#states, usable);
  }

  #warm(): void {
    const { slowStart, balancer } = this.#config;
    const now = this.#tools.nowMs();
    const isGradual = slowStart !== undefined && balancer?.type !== "ringHash" && balancer?.type !== "maglev";
    this.#warmerAtMs = Infinity;
    for (const state of this.#states) {
      const age = now - state.cameAtMs;
      state.weight = (state.endpoint.weight ?? 1) * (isGradual ? warmth(slowStart, age) : 1);
      if (isGradual && age < slowStart.windowMs) this.#warmerAtMs = Math.min(this.#warmerAtMs, now + nextStepMs(slowStart, age));
    }
  }

  #refuse(flag: Flag, what: string): Refused {
    return { status: flags[flag].status, flag, reason: `${this.#config.id} ${what}` };
  }
}

const isHealthy = ({ ejectedUntilMs, isWell, awaitsCheck }: EndpointState): boolean => ejectedUntilMs === 0 && (isWell ?? !awaitsCheck);

function same(a: object | undefined, b: object | undefined): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
