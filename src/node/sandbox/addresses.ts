/** The fixed addresses of the pod network. */
export const addresses = {
  pods: "10.244.0.0/16",
  services: "10.96.0.0/12",
  gateway: "10.244.0.1",
  dns: "10.96.0.10",
  api: "10.96.0.1",
  /** Next hop in every pod; each link has it on the far side. */
  link: "169.254.1.1",
} as const;

/**
 * Gives out host addresses of a /16 in turn, so that one which was given back is not used again before all others
 * were: a client that still remembers a dead pod must meet nobody rather than a stranger.
 */
export class AddressPool {
  readonly #prefix: string;
  readonly #used = new Set<number>();
  #last: number;

  /** `prefix` is "10.244"; `first` the lowest host number given out. */
  constructor(prefix: string, first = 2) {
    this.#prefix = prefix;
    this.#last = first - 1;
  }
  take(): string {
    for (let tries = 0; tries < 65_536; tries++) {
      this.#last = this.#last >= 65_534 ? 2 : this.#last + 1;
      const low = this.#last & 255;
      if (low === 0 || low === 255 || this.#used.has(this.#last)) continue;
      this.#used.add(this.#last);
      return `${this.#prefix}.${this.#last >> 8}.${low}`;
    }
    throw new Error(`all addresses of ${this.#prefix}.0.0/16 are in use`);
  }
  give(address: string): void {
    const [, , high, low] = address.split(".").map(Number);
    this.#used.delete(high! * 256 + low!);
  }
}
