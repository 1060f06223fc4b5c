/**
 * What happens when a pod is not let out: its owner hears of it, in words that say what to do, and no more often
 * than a person can read.
 *
 * The port of a connection that nobody listens for is known to the kernel alone. So that a refusal can be told, the
 * ports that programs are known to dial have listeners behind the default route too: there the pod's connection
 * is reset, and an Event says why. On all others the kernel refuses it, and nobody hears.
 */
export interface EgressRefusal {
  /** The pod's address. */
  podIP: string;
  /** For an Event on that pod. */
  message: string;
}

/** Databases, brokers, mail, shells and second HTTP ports: where refusals are told. Ports of well-known services, after IANA's list. */
export const toldPorts: readonly number[] = [
  21, 22, 25, 53, 110, 143, 389, 465, 587, 636, 853, 990, 993, 995, 1433, 1521, 1883, 2181, 2379, 3000, 3306, 4222, 4317, 4318, 5000, 5432, 5671, 5672, 6379, 6443, 7687, 8000, 8080, 8086, 8123, 8200, 8443, 8500, 8883, 9000, 9042, 9090,
  9092, 9200, 9418, 9443, 11211, 27017, 50051,
];

/** The same refusal is told once in this time. */
const quietMs = 60_000;
/** Refusals remembered; beyond, new ones wait until the oldest are forgotten. A hostile pod gains nothing by dialling more. */
const rememberedMax = 1_000;

/** Thrown by the way out for addresses that are never outside. */
export class NotOutsideError extends Error {
  constructor(ip: string, port: number) {
    super(`${ip}:${port} is not outside`);
  }
}

export class EgressRefusals {
  readonly #ports: readonly number[];
  readonly #tell: (refusal: EgressRefusal) => void;
  readonly #told = new Map<string, number>();

  constructor(ports: readonly number[], tell: (refusal: EgressRefusal) => void) {
    this.#ports = ports.toSorted((a, b) => a - b);
    this.#tell = tell;
  }

  isOpen(port: number): boolean {
    return this.#ports.includes(port);
  }

  /** `nowMs` is any clock that does not go back. */
  refused(podIP: string, ip: string, port: number, nowMs: number): void {
    const key = `${podIP} ${ip}:${port}`;
    for (const [old, atMs] of this.#told) {
      if (nowMs - atMs < quietMs) break;
      this.#told.delete(old);
    }
    if (this.#told.has(key) || this.#told.size >= rememberedMax) return;
    this.#told.set(key, nowMs);
    this.#tell({ podIP, message: `Connection to ${ip}:${port} refused: ${this.isOpen(port) ? insideText : this.#portText(port)}` });
  }

  #portText(port: number): string {
    const list = this.#ports.length < 2 ? `port ${this.#ports[0]}` : `ports ${this.#ports.slice(0, -1).join(", ")} and ${this.#ports.at(-1)}`;
    return `pods reach the outside by TCP on ${list} only; start Wherry with --egress-port ${port}, or write a Service with an EndpointSlice for this address`;
  }
}

const insideText = "the address belongs to this machine or its links, which pods never reach; run what listens there as a pod behind a Service";
