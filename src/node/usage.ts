import { cpus, freemem, totalmem } from "node:os";

/** CPU time that the machine has spent since it booted, over all its cores, and memory that could not be given back. */
export function machineUsage(): { cpuNs: number; memoryBytes: number } {
  const cpuMs = cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
  return { cpuNs: cpuMs * 1e6, memoryBytes: totalmem() - freemem() };
}
