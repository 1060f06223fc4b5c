import { type Clock, systemClock, type Timer } from "../base/clock.ts";

/**
 * The end of a service, in the order in which nobody notices:
 *
 *   1. not ready    probes say so, nothing else changes
 *   2. wait         until load balancers have taken the endpoint out; requests are still answered
 *   3. drain        no new connection; what is under way ends
 *   4. close        what was opened, the last first
 *
 * all within one deadline, after which what is left is cut off.
 */
export interface ShutdownOptions {
  /** Step 2. Default: 5 s in a pod of a cluster, else 0: there is no load balancer to wait for. */
  endpointsMs?: number;
  /** For everything. Default 25 s: less than the 30 s after which Kubernetes kills. */
  deadlineMs?: number;
}

export interface ShutdownSteps {
  unready(): void;
  /** `deadline` fires when it must be over. */
  drain(deadline: AbortSignal): Promise<void>;
  closers: readonly { name: string; close: (deadline: AbortSignal) => unknown }[];
  onError(step: string, error: unknown): void;
}

export class ShutdownError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ShutdownError";
  }
}

/** Resolves when everything has ended. Rejects with a ShutdownError at the deadline: which steps had not. */
export async function shutDown(steps: ShutdownSteps, options: ShutdownOptions = {}, clock: Clock = systemClock): Promise<void> {
  const { endpointsMs = isInCluster() ? 5_000 : 0, deadlineMs = 25_000 } = options;
  const deadline = new AbortController();
  let step = "wait for the endpoints";
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.setTimer(deadlineMs, () => {
      const error = new ShutdownError(`not ended within ${deadlineMs} ms: ${step}`);
      deadline.abort(error);
      reject(error);
    });
  });
  const attempt = async (name: string, run: () => unknown) => {
    step = name;
    try {
      await run();
    } catch (error) {
      steps.onError(name, error);
    }
  };
  const orderly = async () => {
    steps.unready();
    if (endpointsMs > 0) await new Promise<void>((resolve) => void clock.setTimer(Math.min(endpointsMs, deadlineMs / 2), resolve));
    await attempt("drain", () => steps.drain(deadline.signal));
    for (let index = steps.closers.length - 1; index >= 0 && !deadline.signal.aborted; index--) {
      const { name, close } = steps.closers[index]!;
      await attempt(`close ${name}`, () => close(deadline.signal));
    }
  };
  try {
    await Promise.race([orderly(), late]);
  } finally {
    timer?.cancel();
  }
}

/** Whether this process runs in a pod. */
export function isInCluster(env: NodeJS.ProcessEnv = process.env): boolean {
  return Boolean(env["KUBERNETES_SERVICE_HOST"]);
}
