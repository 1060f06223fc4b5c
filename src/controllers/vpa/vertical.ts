import { verticalPodAutoscalers } from "../../api/vpa/types.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { VerticalAutoscaler, VerticalOptions } from "./autoscaler.ts";

const autoscaler = lazyModule<typeof import("./autoscaler.ts")>(import.meta.url, "./autoscaler.ts");

/** The vertical autoscaler, of which nothing is loaded until there is something for it to do. */
export class VerticalAutoscaling {
  readonly #options: VerticalOptions;
  #unsubscribe: (() => void) | undefined;
  #running: VerticalAutoscaler | undefined;

  constructor(options: VerticalOptions) {
    this.#options = options;
  }

  /** Whether the definition of its kind is there: who owns the stack may take it away, and bring it back. */
  served(isServed: boolean): void {
    if (isServed === (this.#unsubscribe !== undefined)) return;
    if (!isServed) return void this.stop();
    this.#unsubscribe = this.#options.informers.for(verticalPodAutoscalers).onChange((_, now) => {
      if (!now || this.#running) return;
      this.#running = new (autoscaler().VerticalAutoscaler)(this.#options);
      this.#running.start();
    });
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
  }
}
