import { performance } from "node:perf_hooks";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock } from "./clock.ts";

export interface Heap {
  /** What the heap holds and what hangs on it outside, in bytes, garbage included. */
  used(): number;
  /** Collects all of it, while the process stands still. */
  collect(): void;
  /** The share of time since the last call in which the process was busy, 0 to 1. */
  busy(): number;
}

const lookEveryMs = 5_000;
/** Less is quiet: a pause of some ten milliseconds meets nobody. */
const busyMax = 0.05;
/** Garbage that is worth it: what may have come since the last time. */
const worthBytes = 12 * 1024 * 1024;

/**
 * Gives back what a burst of work has left, once it is quiet. V8 collects when there is pressure, so that a process keeps
 * the size of its busiest minute for hours. Gives the function that ends it.
 */
export function collectWhenQuiet(clock: Pick<Clock, "setTimer">, heap: Heap = v8Heap()): () => void {
  let after = heap.used();
  heap.busy();
  let isFirst = true;
  const look = (): void => {
    timer = clock.setTimer(lookEveryMs, look);
    const isQuiet = heap.busy() < busyMax;
    // The start leaves as much as a burst does.
    if (!isQuiet || (!isFirst && heap.used() < after + worthBytes)) return;
    isFirst = false;
    heap.collect();
    after = heap.used();
  };
  let timer = clock.setTimer(lookEveryMs, look);
  return () => timer.cancel();
}

function v8Heap(): Heap {
  let last = performance.eventLoopUtilization();
  let collect: ((options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void) | undefined;
  return {
    used() {
      const { used_heap_size, external_memory } = getHeapStatistics();
      return used_heap_size + external_memory;
    },
    collect() {
      if (!collect) {
        setFlagsFromString("--expose-gc");
        collect = runInNewContext("gc") as NonNullable<typeof collect>;
        setFlagsFromString("--no-expose-gc");
      }
      collect({ type: "major", execution: "sync", flavor: "last-resort" });
    },
    busy() {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
  };
}
