import { Informer, type InformerOptions } from "../../api/informer.ts";
import { resources } from "../../api/resources.ts";
import type { EndpointSlice } from "../../api/types.ts";

/** "NAMESPACE/NAME" of the Service that a slice is of. */
export const serviceOf = ({ metadata }: EndpointSlice): string => `${metadata.namespace}/${metadata.labels?.["kubernetes.io/service-name"] ?? ""}`;

export const hasReady = (slices: readonly EndpointSlice[]): boolean => slices.some(({ endpoints }) => endpoints?.some(({ conditions }) => conditions?.ready ?? true));

/** Which Services have an endpoint, for default-backend. Watched from the first question on: few Ingresses ask. */
export class Readiness {
  readonly #options: Pick<InformerOptions<EndpointSlice>, "client" | "clock" | "log" | "random">;
  readonly #changed: (service: string) => void;
  readonly #known = new Map<string, boolean>();
  #slices: Informer<EndpointSlice> | undefined;
  #isSynced = false;

  constructor(options: Pick<InformerOptions<EndpointSlice>, "client" | "clock" | "log" | "random">, changed: (service: string) => void) {
    this.#options = options;
    this.#changed = changed;
  }

  /** Until it is known: yes. */
  of(service: string): boolean {
    this.#start();
    const ready = !this.#isSynced || hasReady(this.#slices!.byIndex("service", service));
    this.#known.set(service, ready);
    return ready;
  }

  #start(): void {
    if (this.#slices) return;
    const slices = new Informer<EndpointSlice>({ ...this.#options, resource: resources.endpointSlices, indexes: { service: (slice) => [serviceOf(slice)] } });
    this.#slices = slices;
    const look = (service: string): void => {
      const before = this.#known.get(service);
      if (before !== undefined && this.#isSynced && before !== hasReady(slices.byIndex("service", service))) this.#changed(service);
    };
    slices.onChange((_key, slice, old) => {
      for (const one of [slice, old]) if (one) look(serviceOf(one));
    });
    slices.start();
    slices.synced.then(
      () => {
        this.#isSynced = true;
        for (const service of this.#known.keys()) look(service);
      },
      () => {},
    );
  }

  async stop(): Promise<void> {
    await this.#slices?.stop();
  }
}
