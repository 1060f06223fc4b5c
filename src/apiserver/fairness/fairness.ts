import type { Client } from "../../api/client.ts";
import { type Condition, type KubeObject, withCondition } from "../../api/meta.ts";
import { StatusError } from "../../api/status.ts";
import type { Clock } from "../../base/clock.ts";
import type { Store, Watch } from "../../store/store.ts";
import type { Response } from "../http/exchange.ts";
import type { RequestInfo } from "../http/request-info.ts";
import type { Identity } from "../rest/context.ts";
import { byPrecedence, classify, type FlowSchema } from "./classify.ts";
import { flowSchemas } from "./defaults.ts";
import { Level, type LevelLimits, type Refusal } from "./level.ts";

/**
 * Priority and fairness: a flood of one user leaves others, health checks and open watches alive. As configured by
 * FlowSchemas and PriorityLevelConfigurations: levels have seats, flows take turns, who cannot wait is refused.
 * Lending between levels is not done: all of them share one thread, so that a seat that stands free costs nobody time.
 *
 * Reads are answered in the turn of the event loop in which they start, and would never fill a seat; so what starts
 * in one turn is bounded as well. That bound is what lets a watcher's events and a health check in between.
 * Source: k8s.io/apiserver/pkg/util/flowcontrol; KEP 1040.
 */
export class Fairness {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #levels = new Map<string, Level>();
  readonly #exempt = new Set<string>(["exempt"]);
  #schemas: FlowSchema[] = [];
  #watches: Watch[] = [];
  #startedThisTurn = 0;
  #draining = false;
  #turnTimer = false;
  #mastersAreExempt = false;
  #client: Client | undefined;

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** From now on each schema's status says whether its level is there. */
  report(client: Client): void {
    this.#client = client;
    this.#configure();
  }

  /** Follows the configuration in the store. Without any, everything is let in. */
  start(): void {
    this.#configure();
    const from = this.#store.revision;
    const follow = (prefix: string) => this.#watches.push(this.#store.watch(prefix, from, { onEvents: () => this.#configure(), onEnd: () => (this.close(), this.start()) }));
    follow(schemaPrefix);
    follow(levelPrefix);
  }
  close(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  /**
   * Undefined: go on at once. Otherwise resolves when it is this request's turn, or rejects with {@link TooManyRequests}.
   * The seat is free again when the response has ended; a stream that stays open holds none.
   */
  admit(info: RequestInfo, user: Identity, response: Response): Promise<void> | undefined {
    if (user.groups.includes("system:masters") && this.#mastersAreExempt) return undefined;
    const schema = classify(this.#schemas, info, user);
    const name = schema?.spec.priorityLevelConfiguration.name;
    const level = name === undefined || this.#exempt.has(name) ? undefined : this.#levels.get(name);
    if (!level) return undefined;
    const release = () => {
      level.executing--;
      if (level.waiting > 0) this.#drainSoon();
    };
    const isLong = info.verb === "watch" || info.resource?.subresource === "log" || info.resource?.subresource === "proxy";
    const seated = () => (isLong ? release() : void response.once("close", release));
    this.#turn();
    if (this.#startedThisTurn < startsPerTurn && level.hasRoom()) {
      this.#startedThisTurn++;
      level.executing++;
      seated();
      return undefined;
    }
    const by = schema!.spec.distinguisherMethod?.type;
    const flow = `${schema!.metadata.name}/${by === "ByUser" ? user.name : by === "ByNamespace" ? (info.resource?.namespace ?? "") : ""}`;
    let isGone = false;
    response.once("close", () => (isGone = true));
    const waiting = level.wait(flow, this.#clock.monotonicMs());
    this.#drainSoon();
    return waiting.then(
      () => {
        if (!isGone) return seated();
        release();
        throw new StatusError(499, "ClientClosedRequest", "the client went while it waited for its turn");
      },
      (why: Refusal) => Promise.reject(new TooManyRequests(why)),
    );
  }

  /** By level, for /metrics. */
  counters(): { level: string; executing: number; waiting: number; rejected: number }[] {
    return [...this.#levels].map(([level, { executing, waiting, rejected }]) => ({ level, executing, waiting, rejected }));
  }

  #reportOn(schema: FlowSchema, found: boolean): void {
    const status = schema["status"] as { conditions?: Condition[] } | undefined;
    const conditions = withCondition(status?.conditions, danglingOf(schema, found), this.#clock.now());
    if (!this.#client || conditions === status?.conditions) return;
    // Who changed it meanwhile is followed, and asks anew.
    void this.#client.update(flowSchemas, undefined, schema.metadata.name, { ...schema, status: { ...status, conditions } }, { subresource: "status" }).catch(() => {});
  }

  /** The count of starts is of one turn of the event loop. */
  #turn(): void {
    if (this.#turnTimer) return;
    this.#turnTimer = true;
    setImmediate(() => {
      this.#turnTimer = false;
      this.#startedThisTurn = 0;
    });
  }

  #drainSoon(): void {
    if (this.#draining) return;
    this.#draining = true;
    setImmediate(() => {
      this.#draining = false;
      const nowMs = this.#clock.monotonicMs();
      this.#startedThisTurn = 0;
      // Levels take turns too: each gets a start before any gets its second.
      let moved = true;
      while (moved && this.#startedThisTurn < startsPerTurn) {
        moved = false;
        for (const level of this.#levels.values()) {
          if (this.#startedThisTurn >= startsPerTurn || !level.next(nowMs)) continue;
          this.#startedThisTurn++;
          moved = true;
        }
      }
      if ([...this.#levels.values()].some((level) => level.waiting > 0 && level.executing < level.limits.seats)) this.#drainSoon();
    });
  }

  #configure(): void {
    const objects = <T extends KubeObject>(prefix: string) => this.#store.range(prefix).map(({ object }) => object as unknown as T);
    this.#schemas = objects<FlowSchema>(schemaPrefix).sort(byPrecedence);
    const levels = objects<PriorityLevel>(levelPrefix);
    this.#exempt.clear();
    const shares = levels.reduce((sum, { spec }) => sum + (spec.limited?.nominalConcurrencyShares ?? 0), 0) || 1;
    for (const { metadata, spec } of levels) {
      if (spec.type === "Exempt") {
        this.#exempt.add(metadata.name);
        continue;
      }
      const queuing = spec.limited?.limitResponse?.type === "Queue" ? spec.limited.limitResponse.queuing : undefined;
      const limits: LevelLimits = {
        seats: Math.ceil((seatsInAll * (spec.limited?.nominalConcurrencyShares ?? 0)) / shares),
        flowQueueMax: queuing ? queuing.handSize * queuing.queueLengthLimit : 0,
        queueMax: queuing ? queuing.queues * queuing.queueLengthLimit : 0,
      };
      const level = this.#levels.get(metadata.name);
      if (level) level.limits = limits;
      else this.#levels.set(metadata.name, new Level(limits));
    }
    for (const schema of this.#schemas) this.#reportOn(schema, levels.some(({ metadata }) => metadata.name === schema.spec.priorityLevelConfiguration.name));
    // What nearly every request of ours meets, decided once.
    const first = this.#schemas[0];
    this.#mastersAreExempt = first !== undefined && this.#exempt.has(first.spec.priorityLevelConfiguration.name) && (first.spec.rules ?? []).some(({ subjects, resourceRules, nonResourceRules }) => subjects?.some(({ group }) => group?.name === "system:masters") && resourceRules?.some(({ verbs, apiGroups, resources, namespaces }) => [verbs, apiGroups, resources, namespaces].every((list) => list?.includes("*"))) && nonResourceRules?.some(({ nonResourceURLs }) => nonResourceURLs.includes("*")));
  }
}

/** Source: k8s.io/apiserver/pkg/util/flowcontrol/apf_controller.go, syncFlowSchemaStatus. */
function danglingOf({ spec }: FlowSchema, found: boolean): Condition {
  const { name } = spec.priorityLevelConfiguration;
  return found
    ? { type: "Dangling", status: "False", reason: "Found", message: `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(name)} and it exists` }
    : { type: "Dangling", status: "True", reason: "NotFound", message: `This FlowSchema references the PriorityLevelConfiguration object named ${JSON.stringify(name)} but there is no such object` };
}

interface PriorityLevel extends KubeObject {
  spec: { type: "Exempt" | "Limited"; limited?: { nominalConcurrencyShares?: number; limitResponse?: { type: "Queue" | "Reject"; queuing?: { queues: number; handSize: number; queueLengthLimit: number } } } };
}

const schemaPrefix = "/flowcontrol.apiserver.k8s.io/flowschemas/";
const levelPrefix = "/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";
/** Upstream's --max-requests-inflight and --max-mutating-requests-inflight together. */
const seatsInAll = 600;
/** Some milliseconds of work. */
const startsPerTurn = 32;

/** 429 in upstream's words, which are bare text. */
export class TooManyRequests extends Error {
  readonly why: Refusal;
  constructor(why: Refusal) {
    super("Too many requests, please try again later.");
    this.why = why;
  }
}

export function answerTooMany(response: Response): void {
  const body = "Too many requests, please try again later.\n";
  (response as unknown as { writeHead(code: number, headers: object): void }).writeHead(429, { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", "retry-after": "1", "content-length": body.length });
  response.end(body);
}
