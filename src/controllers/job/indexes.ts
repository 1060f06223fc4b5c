/**
 * Completion indexes as ascending ranges that do not touch, written "0-2,5": a status may name 100,000 of them.
 * Source of the notation: k8s.io/kubernetes/pkg/controller/job/indexed_job_utils.go.
 */
export type Indexes = readonly (readonly [first: number, last: number])[];

/** Indexes from `completions` on are left out: a Job that shrank forgets them. What is no range is left out too. */
export function parseIndexes(text: string | undefined, completions: number): Indexes {
  const ranges: [number, number][] = [];
  for (const part of (text ?? "").split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) continue;
    const first = Number(match[1]);
    if (first < completions) ranges.push([first, Math.min(Number(match[2] ?? first), completions - 1)]);
  }
  return joined(ranges);
}

/** Two neighbours are written "3,4", more "3-5". */
export const formatIndexes = (indexes: Indexes): string => indexes.map(([first, last]) => (first === last ? `${first}` : `${first}${last === first + 1 ? "," : "-"}${last}`)).join(",");

export const totalOf = (indexes: Indexes): number => indexes.reduce((sum, [first, last]) => sum + last - first + 1, 0);

export function hasIndex(indexes: Indexes, index: number): boolean {
  let low = 0;
  let high = indexes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (indexes[middle]![1] < index) low = middle + 1;
    else high = middle;
  }
  return low < indexes.length && indexes[low]![0] <= index;
}

export const withIndexes = (indexes: Indexes, more: Iterable<number>): Indexes => union(indexes, [...more].map((index) => [index, index]));
export const union = (a: Indexes, b: Indexes): Indexes => joined([...a, ...b]);

/** How many indexes lie in both. */
export function overlapOf(a: Indexes, b: Indexes): number {
  let sum = 0;
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    sum += Math.max(0, Math.min(a[i]![1], b[j]![1]) - Math.max(a[i]![0], b[j]![0]) + 1);
    if (a[i]![1] < b[j]![1]) i++;
    else j++;
  }
  return sum;
}

/** The lowest `count` indexes below `completions` that are not taken. */
export function firstFree(taken: Indexes, count: number, completions: number): number[] {
  const free: number[] = [];
  let candidate = 0;
  for (const [first, last] of [...taken, [completions, completions] as const]) {
    for (; candidate < Math.min(first, completions) && free.length < count; candidate++) free.push(candidate);
    candidate = Math.max(candidate, last + 1);
  }
  return free;
}

function joined(ranges: Indexes): Indexes {
  const result: [number, number][] = [];
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const before = result.at(-1);
    if (before && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else result.push([first, last]);
  }
  return result;
}
