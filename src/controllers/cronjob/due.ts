import type { Schedule } from "../../api/kinds/batch/schedule.ts";

export interface Due {
  /** The latest time that has come and is not too old to be looked for. */
  atMs: number | undefined;
  /** When the next one comes. */
  nextMs: number | undefined;
  /** More than a hundred times have passed since the last run. */
  tooMany: boolean;
  error?: string;
}

/** More were missed: said by an Event, but the last is run all the same. */
const missedMax = 100;

/**
 * Of all times between the last run and now only the latest counts: after a long silence one Job runs, not many.
 * `deadlineMs` bounds how far back is looked.
 * Source: k8s.io/kubernetes/pkg/controller/cronjob/utils.go, mostRecentScheduleTime.
 */
export function dueAt(schedule: Schedule, lastMs: number, nowMs: number, deadlineMs = Infinity): Due {
  const earliestMs = Math.max(lastMs, nowMs - deadlineMs);
  const first = schedule.next(earliestMs);
  const second = first === undefined ? undefined : schedule.next(first);
  if (first === undefined || second === undefined) return { atMs: undefined, nextMs: first, tooMany: false, ...(first === undefined && { error: "time difference between two schedules is less than 1 second" }) };
  if (nowMs < first) return { atMs: undefined, nextMs: first, tooMany: false };
  if (nowMs < second) return { atMs: first, nextMs: second, tooMany: false };
  // Counted by the distance of the first two; looked for from two such steps back, and from the start if that is too far.
  const stepMs = second - first;
  const missed = Math.floor((nowMs - first) / stepMs) + 1;
  const latest = (fromMs: number): number | undefined => {
    let found: number | undefined;
    for (let at = schedule.next(fromMs); at !== undefined && at <= nowMs; at = schedule.next(at)) found = at;
    return found;
  };
  const atMs = latest(first + (missed - 2) * stepMs) ?? latest(first - 1);
  return { atMs, nextMs: schedule.next(nowMs), tooMany: missed > missedMax };
}
