import { amountsOf, most, type Sizes, sizesOf } from "../../api/vpa/amounts.ts";
import { type ContainerRecommendation, policyOf, type ResourceName, resourceNames, type VerticalPodAutoscaler } from "../../api/vpa/types.ts";
import type { Aggregate } from "./aggregate.ts";

/** Upstream's flags at their defaults: recommender/logic/recommender.go. */
const margin = 0.15;
const podLeast: Required<Sizes> = { cpu: 25, memory: 250 * 2 ** 20 };
const dayMs = 24 * 3600_000;
/** How a bound widens while little is known: the share it is of the samples, and (1 + multiplier / days) ^ exponent. */
const estimates = {
  target: { percentile: 0.9, multiplier: 0, exponent: 1 },
  lowerBound: { percentile: 0.5, multiplier: 0.001, exponent: -2 },
  upperBound: { percentile: 0.95, multiplier: 1, exponent: 1 },
} as const;

/**
 * What each container should ask for, before and after the policy's bounds; in order of their names. `largest`: what
 * any node has, more than which is nobody's to have.
 */
export function recommend(vpa: VerticalPodAutoscaler, containers: ReadonlyMap<string, Aggregate>, largest: Sizes = {}): ContainerRecommendation[] {
  const known = [...containers].filter(([name, { samples, memory }]) => (samples > 0 || !memory.isEmpty) && policyOf(vpa, name)?.mode !== "Off").sort(([a], [b]) => (a < b ? -1 : 1));
  return known.map(([name, aggregate]) => {
    const policy = policyOf(vpa, name);
    const controlled = resourceNames.filter((resource) => policy?.controlledResources?.includes(resource) ?? true);
    const estimate = (part: keyof typeof estimates): Sizes => Object.fromEntries(controlled.map((resource) => [resource, estimated(aggregate, resource, part, podLeast[resource] / known.length)]));
    const capped = (sizes: Sizes): Sizes => withinPolicy(sizes, sizesOf(policy?.minAllowed), { ...largest, ...sizesOf(policy?.maxAllowed) });
    const target = estimate("target");
    return { containerName: name, lowerBound: amountsOf(capped(estimate("lowerBound"))), target: amountsOf(capped(target)), uncappedTarget: amountsOf(target), upperBound: amountsOf(capped(estimate("upperBound"))) };
  });
}

function estimated(aggregate: Aggregate, resource: ResourceName, part: keyof typeof estimates, least: number): number {
  const { percentile, multiplier, exponent } = estimates[part];
  const base = whole(resource === "cpu" ? aggregate.cpu.percentile(percentile) * 1000 : aggregate.memory.percentile(percentile));
  const safe = base + whole(base * margin);
  return Math.max(whole(safe * (multiplier === 0 ? 1 : (1 + multiplier / confidence(aggregate)) ** exponent)), whole(least));
}

/** In days: how long it was looked at, or as long as so many samples would take at one a minute, whichever is less. */
const confidence = ({ firstMs = 0, lastMs = 0, samples }: Aggregate): number => Math.min((lastMs - firstMs) / dayMs, samples / (dayMs / 60_000));

/** As upstream's amounts: whole, not negative, not endless. */
const whole = (amount: number): number => (Number.isNaN(amount) ? 0 : Math.min(most, Math.max(0, Math.trunc(amount))));

function withinPolicy(sizes: Sizes, min: Sizes, max: Sizes): Sizes {
  const bounded = (name: ResourceName, size: number) => {
    const raised = min[name] && size < min[name] ? min[name] : size;
    return max[name] && raised > max[name] ? max[name] : raised;
  };
  return Object.fromEntries(resourceNames.filter((name) => sizes[name] !== undefined).map((name) => [name, bounded(name, sizes[name]!)]));
}
