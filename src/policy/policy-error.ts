/** A configuration that cannot be served: which field, with which value, and why. Worded as Kubernetes words it. */
export class PolicyError extends Error {
  /** From the route on: `rules[0].matches[1].path.value`. */
  readonly field: string;
  readonly value: unknown;
  readonly reason: string;

  constructor(field: string, value: unknown, reason: string) {
    super(`${field}: Invalid value: ${JSON.stringify(value)}: ${reason}`);
    this.name = "PolicyError";
    this.field = field;
    this.value = value;
    this.reason = reason;
  }
}

/** Runs `compile`, whose errors get the place they happened at in front. */
export function at<T>(place: string, compile: () => T): T {
  try {
    return compile();
  } catch (error) {
    if (error instanceof PolicyError) throw new PolicyError(`${place}.${error.field}`, error.value, error.reason);
    throw error;
  }
}
