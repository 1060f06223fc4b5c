import type { HorizontalPodAutoscaler, ScalingRules } from "./types.ts";

/**
 * From what a metric asks for to what is done: stabilization windows, rates, bounds. Pure.
 * Source: k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go (normalizeDesiredReplicas and what it calls).
 */
export interface History {
  /** What was recommended, before windows and bounds. */
  recommendations: { atMs: number; replicas: number }[];
  /** What was done: how many replicas more, or fewer. */
  ups: ScaleEvent[];
  downs: ScaleEvent[];
}
export interface ScaleEvent {
  atMs: number;
  change: number;
}
export interface Said {
  status: "True" | "False";
  reason: string;
  message: string;
}
export interface Normalized {
  replicas: number;
  ableToScale: Said;
  scalingLimited: Said;
}

export const newHistory = (): History => ({ recommendations: [], ups: [], downs: [] });

/** Upstream's --horizontal-pod-autoscaler-downscale-stabilization. */
const downscaleWindowMs = 5 * 60_000;
/** Windows and periods are at most an hour and half an hour (validation). */
const longestMs = 60 * 60_000;

export function remember(history: History, replicas: number, nowMs: number): void {
  history.recommendations = [...history.recommendations.filter(({ atMs }) => nowMs - atMs <= longestMs), { atMs: nowMs, replicas }];
}

export function recordScale(history: History, from: number, to: number, nowMs: number): void {
  const list = to > from ? history.ups : history.downs;
  list.push({ atMs: nowMs, change: Math.abs(to - from) });
  while (list.length > 0 && nowMs - list[0]!.atMs > longestMs) list.shift();
}

/** `desired` is remembered as a recommendation. */
export function normalize(spec: HorizontalPodAutoscaler["spec"], history: History, current: number, desired: number, nowMs: number): Normalized {
  const { scaleUp, scaleDown } = spec.behavior ?? {};
  const min = spec.minReplicas ?? 1;
  const upMs = (scaleUp?.stabilizationWindowSeconds ?? 0) * 1000;
  const downMs = scaleDown?.stabilizationWindowSeconds === undefined ? downscaleWindowMs : scaleDown.stabilizationWindowSeconds * 1000;
  const stabilized = stabilize(history, current, desired, spec.behavior ? upMs : undefined, downMs, nowMs);
  remember(history, desired, nowMs);
  const ableToScale: Said =
    stabilized === desired
      ? { status: "True", reason: "ReadyForNewScale", message: "recommended size matches current size" }
      : spec.behavior && desired >= current
        ? { status: "True", reason: "ScaleUpStabilized", message: "recent recommendations were lower than current one, applying the lowest recent recommendation" }
        : { status: "True", reason: "ScaleDownStabilized", message: "recent recommendations were higher than current one, applying the highest recent recommendation" };
  const bounded = spec.behavior ? boundByRules(current, stabilized, min, spec.maxReplicas, history, scaleUp, scaleDown, nowMs) : boundByDefault(current, stabilized, min, spec.maxReplicas);
  return { ...bounded, ableToScale };
}

/** Without behavior only going down waits, and the size of now plays no part. */
function stabilize(history: History, current: number, desired: number, upMs: number | undefined, downMs: number, nowMs: number): number {
  const within = (windowMs: number) => history.recommendations.filter(({ atMs }) => atMs > nowMs - windowMs).map(({ replicas }) => replicas);
  const highest = Math.max(desired, ...within(downMs));
  if (upMs === undefined) return highest;
  const lowest = Math.min(desired, ...within(upMs));
  return Math.min(Math.max(current, lowest), highest);
}

const inRange: Said = { status: "False", reason: "DesiredWithinRange", message: "the desired count is within the acceptable range" };
const tooFew: Said = { status: "True", reason: "TooFewReplicas", message: "the desired replica count is less than the minimum replica count" };
const tooMany: Said = { status: "True", reason: "TooManyReplicas", message: "the desired replica count is more than the maximum replica count" };
const upLimit: Said = { status: "True", reason: "ScaleUpLimit", message: "the desired replica count is increasing faster than the maximum scale rate" };
const downLimit: Said = { status: "True", reason: "ScaleDownLimit", message: "the desired replica count is decreasing faster than the maximum scale rate" };

type Bounded = Omit<Normalized, "ableToScale">;

function boundByDefault(current: number, desired: number, min: number, max: number): Bounded {
  if (desired < min) return { replicas: min, scalingLimited: tooFew };
  const rate = Math.max(2 * current, 4);
  if (desired > Math.min(rate, max)) return { replicas: Math.min(rate, max), scalingLimited: max > rate ? upLimit : tooMany };
  return { replicas: desired, scalingLimited: inRange };
}

function boundByRules(current: number, desired: number, min: number, max: number, history: History, up: ScalingRules | undefined, down: ScalingRules | undefined, nowMs: number): Bounded {
  if (desired > current) {
    const rate = Math.max(current, upperLimit(current, history, up, nowMs));
    if (desired > Math.min(rate, max)) return { replicas: Math.min(rate, max), scalingLimited: max > rate ? upLimit : tooMany };
  } else if (desired < current) {
    const rate = Math.min(current, lowerLimit(current, history, down, nowMs));
    if (desired < Math.max(rate, min)) return { replicas: Math.max(rate, min), scalingLimited: min < rate ? downLimit : tooFew };
  }
  return { replicas: desired, scalingLimited: inRange };
}

const changedWithin = (events: readonly ScaleEvent[], periodSeconds: number, nowMs: number): number => events.reduce((sum, { atMs, change }) => (atMs > nowMs - periodSeconds * 1000 ? sum + change : sum), 0);

/** The size at the start of a policy's period, as far as our own changes go. */
const atStartOf = (periodSeconds: number, current: number, history: History, nowMs: number): number => current - changedWithin(history.ups, periodSeconds, nowMs) + changedWithin(history.downs, periodSeconds, nowMs);

function upperLimit(current: number, history: History, rules: ScalingRules | undefined, nowMs: number): number {
  if (rules?.selectPolicy === "Disabled") return current;
  const limits = (rules?.policies ?? []).map(({ type, value, periodSeconds }) => {
    const start = atStartOf(periodSeconds, current, history, nowMs);
    return type === "Pods" ? start + value : Math.ceil((start * (100 + value)) / 100);
  });
  return rules?.selectPolicy === "Min" ? Math.min(...limits) : Math.max(...limits);
}

function lowerLimit(current: number, history: History, rules: ScalingRules | undefined, nowMs: number): number {
  if (rules?.selectPolicy === "Disabled") return current;
  const limits = (rules?.policies ?? []).map(({ type, value, periodSeconds }) => {
    const start = atStartOf(periodSeconds, current, history, nowMs);
    return type === "Pods" ? start - value : Math.trunc((start * (100 - value)) / 100);
  });
  // The policy of least change is the one that leaves most.
  return rules?.selectPolicy === "Min" ? Math.max(...limits) : Math.min(...limits);
}
