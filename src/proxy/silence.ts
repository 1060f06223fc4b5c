import type { TcpHandle } from "../base/handles.ts";

/** How often in its time a connection is looked at: so much later than it might it ends. */
const looks = 4;

/** Calls `silent` once when nothing was read from any of the handles for so long. Nobody counts for it: the kernel's side of a handle does. */
export function watchSilence(handles: readonly TcpHandle[], idleMs: number, silent: () => void): { stop(): void } {
  const read = (): number => handles.reduce((sum, { bytesRead }) => sum + bytesRead, 0);
  let [before, still] = [0, 0];
  const timer = setInterval(() => {
    const now = read();
    still = now === before ? still + 1 : 0;
    before = now;
    if (still < looks) return;
    clearInterval(timer);
    silent();
  }, Math.max(1, idleMs / looks)).unref();
  return { stop: () => clearInterval(timer) };
}
