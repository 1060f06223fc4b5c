import type { Clock } from "../../../base/clock.ts";
import { Backoff } from "../../../base/backoff.ts";

/**
 * Work that takes its time, by key: begun by the plan that wants it, which is called again when there is news. A failure is tried
 * again when the plan asks after its rest.
 */
export class Jobs<T> {
  readonly #clock: Clock;
  readonly #wake: (key: string) => void;
  readonly #jobs = new Map<string, Job<T>>();

  constructor(clock: Clock, wake: (key: string) => void) {
    this.#clock = clock;
    this.#wake = wake;
  }

  /** `about`: what it is done for; when that is another, what was done is worth nothing. */
  of(key: string, about: string, run: (job: { signal: AbortSignal; report(message: string): void }) => Promise<T>, restMsOf: (error: Error) => number | undefined): Pick<Job<T>, "message" | "result" | "error" | "retryAtMs"> {
    let job = this.#jobs.get(key);
    if (job && job.about !== about) {
      job.abort.abort(new Error("something else is wanted"));
      job = undefined;
    }
    if (!job) this.#jobs.set(key, (job = { about, abort: new AbortController(), backoff: new Backoff(restMs.least, restMs.most), message: "", running: undefined }));
    const isDue = !job.running && job.result === undefined && (job.retryAtMs === undefined || this.#clock.now() >= job.retryAtMs);
    if (isDue) this.#start(key, job, run, restMsOf);
    return job;
  }

  /** What was begun for it ends. */
  drop(key: string): void {
    this.#jobs.get(key)?.abort.abort(new Error("nobody waits for it"));
    this.#jobs.delete(key);
  }

  async stop(): Promise<void> {
    const running = [...this.#jobs.values()].map(({ running }) => running);
    for (const key of this.#jobs.keys()) this.drop(key);
    await Promise.allSettled(running);
  }

  #start(key: string, job: Job<T>, run: Parameters<Jobs<T>["of"]>[2], restMsOf: (error: Error) => number | undefined): void {
    const { signal } = job.abort;
    const report = (message: string): void => {
      if (message === job.message || signal.aborted) return;
      job.message = message;
      this.#wake(key);
    };
    delete job.retryAtMs;
    delete job.error;
    job.running = run({ signal, report }).then(
      (result) => {
        job.result = result;
      },
      (error: Error) => {
        job.error = error;
        const asked = restMsOf(error);
        job.retryAtMs = this.#clock.now() + (asked === undefined ? job.backoff.next() : Math.max(asked, restMs.least));
      },
    );
    void job.running.then(() => {
      job.running = undefined;
      if (!signal.aborted) this.#wake(key);
    });
  }
}

interface Job<T> {
  readonly about: string;
  readonly abort: AbortController;
  readonly backoff: Backoff;
  message: string;
  result?: T;
  error?: Error;
  /** Not tried again before. */
  retryAtMs?: number;
  running: Promise<void> | undefined;
}

const restMs = { least: 5_000, most: 30 * 60_000 };
