import type { Condition } from "./kinds.ts";

/** A condition as it is worked out; generation and time come when it is written. */
export function condition(type: string, holds: boolean, reason: string, message: string): Condition {
  return { type, status: holds ? "True" : "False", reason, message };
}

/** What is to be written: the time of the last transition stays where the status stayed. */
export function withTimes(next: readonly Condition[], present: readonly Condition[] | undefined, generation: number | undefined, now: string): Condition[] {
  return next.map((wanted) => {
    const old = present?.find(({ type }) => type === wanted.type);
    return {
      type: wanted.type,
      status: wanted.status,
      reason: wanted.reason,
      message: wanted.message,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      lastTransitionTime: old?.status === wanted.status && old.lastTransitionTime ? old.lastTransitionTime : now,
    };
  });
}
