import { readdir } from "node:fs/promises";
import { monitorEventLoopDelay, PerformanceObserver, performance, type EventLoopUtilization } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { Metrics } from "./metrics.ts";

/**
 * What every process tells of itself, under the names that Prometheus' clients have in common (`process_…`), and of Node under
 * those of prom-client (`nodejs_…`), so that known dashboards work.
 */
export function addProcessMetrics(metrics: Metrics): { stop(): void } {
  const gauge = (name: string, help: string) => metrics.gauge({ name, help }).only;
  const cpu = metrics.counter({ name: "process_cpu_seconds_total", help: "Total user and system CPU time spent in seconds." }).only;
  const started = gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");
  const resident = gauge("process_resident_memory_bytes", "Resident memory size in bytes.");
  const descriptors = gauge("process_open_fds", "Number of open file descriptors.");
  const heapUsed = gauge("nodejs_heap_size_used_bytes", "Process heap size used from Node.js in bytes.");
  const heapTotal = gauge("nodejs_heap_size_total_bytes", "Process heap size from Node.js in bytes.");
  const heapLimit = gauge("nodejs_heap_size_limit_bytes", "What the heap may grow to, in bytes.");
  const external = gauge("nodejs_external_memory_bytes", "Node.js external memory size in bytes.");
  const utilization = gauge("nodejs_eventloop_utilization", "Share of the time since the last telling that the event loop was busy.");
  const lag = metrics.gauge({ name: "nodejs_eventloop_lag_seconds", help: "How late timers were since the last telling, in seconds.", labels: ["quantile"] });
  const collections = metrics.histogram({ name: "nodejs_gc_duration_seconds", help: "Garbage collection duration by kind, in seconds.", labels: ["kind"], buckets: [0.001, 0.01, 0.1, 1, 2, 5] });
  metrics.gauge({ name: "nodejs_version_info", help: "Node.js version info.", labels: ["version"] }).labels(process.version).set(1);
  started.set(Math.round(performance.timeOrigin) / 1000);

  let before: EventLoopUtilization | undefined;
  let delays: ReturnType<typeof monitorEventLoopDelay> | undefined;
  let cpuBefore = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) collections.labels(collectionKinds[(entry as unknown as { detail?: { kind?: number } }).detail?.kind ?? 0] ?? "other").observe(entry.duration / 1000);
  });
  observer.observe({ entryTypes: ["gc"] });
  metrics.onCollect(() => {
    const { user, system } = process.cpuUsage();
    const seconds = (user + system) / 1e6;
    cpu.add(seconds - cpuBefore);
    cpuBefore = seconds;
    resident.set(process.memoryUsage.rss());
    const heap = getHeapStatistics();
    heapUsed.set(heap.used_heap_size);
    heapTotal.set(heap.total_heap_size);
    heapLimit.set(heap.heap_size_limit);
    external.set(heap.external_memory);
    // Told with the next one: the file system must not hold up an answer.
    readdir("/proc/self/fd").then((list) => descriptors.set(list.length - 1), () => {});
    const now = performance.eventLoopUtilization();
    utilization.set(performance.eventLoopUtilization(now, before).utilization);
    before = now;
    // Its timer runs from the first telling on: who is not asked pays nothing.
    if (!delays) {
      delays = monitorEventLoopDelay({ resolution: resolutionMs });
      delays.enable();
      return;
    }
    for (const percentile of [50, 90, 99]) lag.labels(String(percentile / 100)).set(secondsLate(delays.percentile(percentile)));
    lag.labels("1").set(secondsLate(delays.max));
    delays.reset();
  });
  return {
    stop() {
      observer.disconnect();
      delays?.disable();
    },
  };
}

const resolutionMs = 20;
/** The histogram tells intervals in ns; what is over the resolution is late. */
const secondsLate = (ns: number): number => (Number.isFinite(ns) ? Math.max(0, ns / 1e9 - resolutionMs / 1000) : 0);
/** perf_hooks.constants.NODE_PERFORMANCE_GC_…. */
const collectionKinds: Record<number, string> = { 1: "minor", 2: "minor_mark_sweep", 4: "major", 8: "incremental", 16: "weakcb" };
