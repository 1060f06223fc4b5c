/**
 * A part of the running product. Parts are started in the order in which they are listed and stopped in
 * reverse; `stop` drains until the deadline fires, then aborts, and may be called twice.
 *
 *   created ──start──▶ running ──stop──▶ draining ──(done or deadline)──▶ stopped
 */
export interface Component {
  readonly name: string;
  start(): Promise<void>;
  stop(deadline: AbortSignal): Promise<void>;
}

/** Starts components in order; when one fails, stops those already running and rethrows. */
export class Components {
  #running: Component[] = [];

  async start(component: Component): Promise<void> {
    try {
      await component.start();
    } catch (error) {
      await this.stop(AbortSignal.abort());
      throw new Error(`${component.name} did not start: ${(error as Error).message}`, { cause: error });
    }
    this.#running.unshift(component);
  }

  async stop(deadline: AbortSignal): Promise<void> {
    for (const component of this.#running.splice(0)) await component.stop(deadline).catch(() => {});
  }
}
