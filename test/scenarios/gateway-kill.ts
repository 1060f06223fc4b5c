import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A worker that was killed, and the clients' ports of the connections that it held, as the kernel lists them. */
export interface Kill {
  at: number;
  ports: ReadonlySet<number>;
}

/**
 * Kills a worker as the machine might, and says exactly which of this machine's connections to the gateway die with it. It is
 * stopped first: what it holds does not change while it is looked at, and who dials meanwhile waits in the listener.
 */
export async function killWorker(pid: number): Promise<Kill> {
  process.kill(pid, "SIGSTOP");
  while (!/\) T /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) await turn();
  // Whoever has been let in by the kernel learns it now: a client knows its port before it is broken off.
  for (let i = 0; i < 3; i++) await turn();
  const at = performance.now();
  const held = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      held.add(readlinkSync(`/proc/${pid}/fd/${fd}`));
    } catch {
      // Closed on its way: by nobody's hand but the kernel's.
    }
  }
  // Listeners of a Gateway are the machine's, wherever the worker lives; so are their connections.
  const ports = new Set<number>();
  for (const line of readFileSync("/proc/self/net/tcp", "utf8").split("\n").slice(1)) {
    const [, , remote, , , , , , , inode] = line.trim().split(/\s+/);
    if (remote !== undefined && held.has(`socket:[${inode}]`)) ports.add(parseInt(remote.split(":")[1]!, 16));
  }
  process.kill(pid, "SIGKILL");
  return { at, ports };
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
