import type { Client } from "../../api/client.ts";
import { createEventRecorder, type EventRecorder } from "../../api/events.ts";
import { type Informer, type Informers, keyOf } from "../../api/informer.ts";
import { type Condition, type GroupVersionResource, type KubeObject, timestamp, withCondition } from "../../api/meta.ts";
import { parseLabelSelector, type Selector } from "../../api/selectors.ts";
import { StatusError } from "../../api/status.ts";
import type { Pod } from "../../api/types.ts";
import { resources } from "../../api/resources.ts";
import type { Clock, Timer } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { type Random, systemRandom } from "../../base/random.ts";
import { isReady } from "../pods.ts";
import { type History, newHistory, normalize, recordScale, remember, type Said } from "./behavior.ts";
import { evaluate } from "./evaluate.ts";
import { createMetricsSource, type MetricsSource, type RawGet } from "./metrics.ts";
import type { HorizontalPodAutoscaler, HpaStatus } from "./types.ts";

export const horizontalPodAutoscalers: GroupVersionResource = { group: "autoscaling", version: "v2", resource: "horizontalpodautoscalers" };

export interface AutoscalerOptions {
  client: Client;
  informers: Informers;
  /** Served kinds by the names of a reference. */
  kindOf: (apiVersion: string, kind: string) => { resource: GroupVersionResource; namespaced: boolean } | undefined;
  /** For metrics that foreign API servers serve. */
  rawGet?: RawGet;
  clock: Clock;
  random?: Random;
  log: Log;
  /** Upstream's --horizontal-pod-autoscaler-sync-period. */
  syncMs?: number;
}

/** A pod that became ready says something once it was measured for about this long. */
const afterReadyMs = 2_500;
/** A pod younger than this is why there are no metrics yet: they will be there soon. */
const youngMs = 60_000;

/**
 * Scales what HorizontalPodAutoscalers name, by the /scale of any kind. It looks every 15 s, as upstream does, and at
 * once when an autoscaler is new or changed, or a pod it counts became ready. Windows and rates remember in memory:
 * after a restart they begin with the size of that moment, as upstream's do.
 */
export class HorizontalAutoscaler {
  readonly #options: AutoscalerOptions;
  readonly #source: MetricsSource;
  readonly #recorder: EventRecorder;
  readonly #autoscalers: Informer<any>;
  readonly #pods: Informer<Pod & { metadata: KubeObject["metadata"] }>;
  readonly #keys = new Map<string, { history: History; timer: Timer | undefined; dueMs: number; running: Promise<void> | undefined; nextMs: number; selector: Selector | undefined }>();
  readonly #unsubscribe: (() => void)[] = [];
  #stopped = false;

  constructor(options: AutoscalerOptions) {
    this.#options = options;
    this.#source = createMetricsSource(options.client, options.rawGet);
    this.#recorder = createEventRecorder(options.client, { component: "horizontal-pod-autoscaler", clock: options.clock, random: options.random ?? systemRandom, log: options.log });
    this.#autoscalers = options.informers.for(horizontalPodAutoscalers);
    this.#pods = options.informers.for(resources.pods);
  }

  /** Call once the informers have synced. */
  start(): void {
    this.#unsubscribe.push(
      this.#autoscalers.onChange((key, now: HorizontalPodAutoscaler | undefined, old: HorizontalPodAutoscaler | undefined) => {
        if (!now) return this.#forget(key);
        if (!old || old.metadata.generation !== now.metadata.generation || old.metadata.uid !== now.metadata.uid || JSON.stringify(old.spec) !== JSON.stringify(now.spec)) this.#lookIn(key, 0);
      }),
      this.#pods.onChange((_, pod, old) => {
        if (this.#keys.size === 0 || !pod || !isReady(pod) || (old && isReady(old))) return;
        for (const [key, { selector }] of this.#keys) if (selector && key.startsWith(`${pod.metadata.namespace}/`) && selector.matches(pod.metadata.labels ?? {})) this.#lookIn(key, afterReadyMs);
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe();
    const running = [...this.#keys.values()].map((entry) => (entry.timer?.cancel(), entry.running));
    await Promise.allSettled(running);
    await this.#recorder.flush();
    this.#recorder.stop();
  }

  #forget(key: string): void {
    this.#keys.get(key)?.timer?.cancel();
    this.#keys.delete(key);
  }

  /** At the earlier of this and what was planned. */
  #lookIn(key: string, ms: number): void {
    if (this.#stopped) return;
    let entry = this.#keys.get(key);
    if (!entry) this.#keys.set(key, (entry = { history: newHistory(), timer: undefined, dueMs: Number.POSITIVE_INFINITY, running: undefined, nextMs: Number.POSITIVE_INFINITY, selector: undefined }));
    if (entry.running) {
      entry.nextMs = Math.min(entry.nextMs, ms);
      return;
    }
    const dueMs = this.#options.clock.monotonicMs() + ms;
    if (entry.timer && entry.dueMs <= dueMs) return;
    entry.timer?.cancel();
    entry.dueMs = dueMs;
    entry.timer = this.#options.clock.setTimer(ms, () => {
      entry.timer = undefined;
      entry.running = this.#look(key, entry.history)
        .catch((error: unknown) => (this.#options.log.debug("an autoscaler waits for its next turn", { key, error: (error as Error).message }), false))
        .then((isEarly) => {
          entry.running = undefined;
          if (isEarly) entry.nextMs = Math.min(entry.nextMs, afterReadyMs);
          const nextMs = Math.min(entry.nextMs, this.#options.syncMs ?? 15_000);
          entry.nextMs = Number.POSITIVE_INFINITY;
          if (this.#keys.get(key) === entry) this.#lookIn(key, nextMs);
        });
    });
  }

  /** True when it was too early to say anything. */
  async #look(key: string, history: History): Promise<boolean> {
    const hpa: HorizontalPodAutoscaler | undefined = this.#autoscalers.get(key);
    if (!hpa || hpa.metadata.namespace === undefined) return false;
    const outcome = await this.#reconcile(hpa, history);
    await this.#writeStatus(hpa, outcome);
    return outcome.isEarly;
  }

  async #reconcile(hpa: HorizontalPodAutoscaler, history: History): Promise<Outcome> {
    const { client, clock } = this.#options;
    const namespace = hpa.metadata.namespace!;
    const nowMs = clock.now();
    const outcome = new Outcome(hpa, nowMs);
    const reference = hpa.spec.scaleTargetRef;
    const kind = this.#options.kindOf(reference.apiVersion ?? "v1", reference.kind);
    let scale: Scale;
    try {
      if (!kind?.namespaced) throw new Error(`no matches for kind "${reference.kind}" in group "${(reference.apiVersion ?? "").split("/").slice(0, -1).join("/")}"`);
      scale = await client.get<Scale>(kind.resource, namespace, reference.name, { subresource: "scale" });
    } catch (error) {
      const { message } = error as Error;
      this.#recorder.event(hpa, "Warning", "FailedGetScale", message);
      return outcome.said("AbleToScale", { status: "False", reason: "FailedGetScale", message: `the HPA controller was unable to get the target's current scale: ${message}` });
    }
    outcome.said("AbleToScale", { status: "True", reason: "SucceededGetScale", message: "the HPA controller was able to get the target's current scale" });
    const current = scale.spec?.replicas ?? 0;
    outcome.status.currentReplicas = current;
    const { maxReplicas: max, minReplicas: min = 1 } = hpa.spec;
    if (history.recommendations.length === 0) remember(history, current, nowMs);

    let desired = current;
    let reason = "";
    if (current === 0 && min !== 0) {
      outcome.status.desiredReplicas = 0;
      outcome.status.currentMetrics = null;
      return outcome.said("ScalingActive", { status: "False", reason: "ScalingDisabled", message: "scaling is disabled since the replica count of the target is zero" });
    }
    if (current > max) [desired, reason] = [max, "Current number of replicas above Spec.MaxReplicas"];
    else if (current < min) [desired, reason] = [min, "Current number of replicas below Spec.MinReplicas"];
    else {
      const selecting = this.#selectorOf(hpa, scale, outcome);
      if (!selecting) return outcome;
      const pods = this.#pods.inNamespace(namespace).filter((pod) => selecting.matches(pod.metadata.labels ?? {}));
      const ambiguous = this.#othersThatSelect(hpa, pods);
      if (ambiguous.length > 0) {
        const message = `pods by selector ${scale.status!.selector} are controlled by multiple HPAs: [${[...ambiguous, keyOf(hpa)].sort().join(" ")}]`;
        this.#recorder.event(hpa, "Warning", "AmbiguousSelector", message);
        this.#recorder.event(hpa, "Warning", "FailedComputeMetricsReplicas", message);
        return outcome.said("ScalingActive", { status: "False", reason: "AmbiguousSelector", message });
      }
      const target = { namespace, selector: scale.status!.selector!, pods, specReplicas: current, statusReplicas: scale.status?.replicas ?? 0, nowMs };
      const found = await evaluate(hpa, this.#source, target, (apiVersion, name) => qualified(this.#options.kindOf(apiVersion, name)?.resource));
      for (const failure of found.failures) this.#recorder.event(hpa, "Warning", failure.reason, failure.message);
      outcome.status.currentMetrics = found.statuses;
      outcome.said("ScalingActive", found.scalingActive);
      if (found.replicas === undefined) {
        this.#recorder.event(hpa, "Warning", "FailedComputeMetricsReplicas", found.error!);
        outcome.isEarly = pods.some(({ metadata }) => nowMs - Date.parse(metadata.creationTimestamp) < youngMs);
        return outcome;
      }
      const normalized = normalize(hpa.spec, history, current, found.replicas, clock.now());
      outcome.said("AbleToScale", normalized.ableToScale);
      outcome.said("ScalingLimited", normalized.scalingLimited);
      desired = normalized.replicas;
      if (desired > current) reason = `${found.metric} above target`;
      else if (desired < current) reason = "All metrics below target";
    }

    if (desired !== current) {
      try {
        const { name, resourceVersion } = scale.metadata;
        await client.update(kind.resource, namespace, reference.name, { apiVersion: "autoscaling/v1", kind: "Scale", metadata: { name, namespace, resourceVersion }, spec: { replicas: desired } }, { subresource: "scale" });
      } catch (error) {
        const { message } = error as Error;
        this.#recorder.event(hpa, "Warning", "FailedRescale", `New size: ${desired}; reason: ${reason}; error: ${message}`);
        return outcome.said("AbleToScale", { status: "False", reason: "FailedUpdateScale", message: `the HPA controller was unable to update the target scale: ${message}` });
      }
      outcome.said("AbleToScale", { status: "True", reason: "SucceededRescale", message: `the HPA controller was able to update the target scale to ${desired}` });
      this.#recorder.event(hpa, "Normal", "SuccessfulRescale", `New size: ${desired}; reason: ${reason}`);
      recordScale(history, current, desired, clock.now());
      outcome.status.lastScaleTime = timestamp(clock.now());
    }
    outcome.status.desiredReplicas = desired;
    return outcome;
  }

  #selectorOf(hpa: HorizontalPodAutoscaler, scale: Scale, outcome: Outcome): Selector | undefined {
    const text = scale.status?.selector ?? "";
    const entry = this.#keys.get(keyOf(hpa));
    try {
      if (text === "") {
        this.#recorder.event(hpa, "Warning", "SelectorRequired", "selector is required");
        throw new Error("the HPA target's scale is missing a selector");
      }
      const selector = parseLabelSelector(text);
      if (entry) entry.selector = selector;
      return selector;
    } catch (error) {
      const message = text === "" ? (error as Error).message : `couldn't convert selector into a corresponding internal selector object: ${(error as Error).message}`;
      if (text !== "") this.#recorder.event(hpa, "Warning", "InvalidSelector", message);
      outcome.said("ScalingActive", { status: "False", reason: "InvalidSelector", message });
      return undefined;
    }
  }

  /** Two autoscalers over the same pods would pull in two directions. */
  #othersThatSelect(hpa: HorizontalPodAutoscaler, pods: readonly Pod[]): string[] {
    const own = keyOf(hpa);
    return [...this.#keys].filter(([key, { selector }]) => key !== own && selector !== undefined && key.startsWith(`${hpa.metadata.namespace}/`) && pods.some((pod) => selector.matches(pod.metadata.labels ?? {}))).map(([key]) => key);
  }

  async #writeStatus(hpa: HorizontalPodAutoscaler, { status }: Outcome): Promise<void> {
    if (JSON.stringify(hpa.status) === JSON.stringify(status)) return;
    const { client } = this.#options;
    try {
      await client.update(horizontalPodAutoscalers, hpa.metadata.namespace, hpa.metadata.name, { ...hpa, status }, { subresource: "status" });
    } catch (error) {
      const { code } = error as StatusError;
      // Somebody changed it meanwhile, or it is gone: that is looked at next.
      if (code !== 404 && code !== 409) this.#recorder.event(hpa, "Warning", "FailedUpdateStatus", (error as Error).message);
    }
  }
}

/** What one look came to: a status in the making. */
class Outcome {
  readonly status: HpaStatus;
  isEarly = false;
  readonly #nowMs: number;

  constructor({ status, metadata }: HorizontalPodAutoscaler, nowMs: number) {
    this.status = { desiredReplicas: 0, currentMetrics: null, ...status, ...(metadata.generation !== undefined && { observedGeneration: metadata.generation }) };
    this.#nowMs = nowMs;
  }
  said(type: string, said: Said): this {
    this.status.conditions = withCondition(this.status.conditions, { type, ...said } as Condition, this.#nowMs);
    return this;
  }
}

interface Scale {
  metadata: { name: string; resourceVersion: string };
  spec?: { replicas?: number };
  status?: { replicas?: number; selector?: string };
}

const qualified = (resource: GroupVersionResource | undefined): string | undefined => resource && (resource.group === "" ? resource.resource : `${resource.resource}.${resource.group}`);
