import type { Upstream } from "../api/traffic.ts";

export type SlowStart = NonNullable<Upstream["slowStart"]>;

/** A share grows in so many steps: weights are not reckoned anew for every request. */
const steps = 50;

/**
 * Which part of its weight an endpoint has so long after it came to others: its caches are cold and its code is not compiled, and a
 * whole share at once is what it would fail under. Grows in a line, or faster at first with an `aggression` above 1.
 * Source: Envoy, "Slow start mode".
 */
export function warmth({ windowMs, minPercent = 10, aggression = 1 }: SlowStart, ageMs: number): number {
  if (ageMs >= windowMs) return 1;
  const step = Math.floor((Math.max(0, ageMs) * steps) / windowMs) / steps;
  return Math.min(1, Math.max(minPercent / 100, step ** (1 / aggression)));
}
/** Until it has more. */
export const nextStepMs = ({ windowMs }: SlowStart, ageMs: number): number => windowMs / steps - (Math.max(0, ageMs) % (windowMs / steps));
