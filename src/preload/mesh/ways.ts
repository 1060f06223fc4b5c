import { connect, isIP, type Socket } from "node:net";
import { systemRandom } from "../../base/random.ts";
import { Turn } from "../../policy/balancers/round-robin.ts";
import { candidates } from "../addresses.ts";
import type { MeshSettings, NameRules } from "./settings.ts";

export interface Endpoint {
  ip: string;
  port: number;
  /** The same address as nobody else spells it: a connection to it is one that we have sent there. */
  pin: string;
  /** As undici names it. */
  origin: string;
}

/** Where a Service port leads without a hop, as long as the data plane says so. */
export interface Way {
  /** The ClusterIP and port: where it goes when an endpoint does not answer. */
  ip: string;
  port: number;
  http: boolean;
  endpoints: readonly Endpoint[];
  turn: Turn;
}

/** Services that one program knows ways to. */
const waysMax = 256;
const foreignMax = 1_000;
const pinsMax = 4_096;
const reconnectMs = 1_000;

/**
 * The ways that the data plane has told this thread. It is asked at the first call of a Service, which goes as ever; what it says
 * holds from the next call on, and only as long as the connection to it stands.
 */
export class Ways {
  readonly #settings: MeshSettings;
  readonly #rules: () => NameRules | undefined;
  /** By id: "10.96.0.5:80", "users:80"; null: asked, and there is none (yet). */
  #ways = new Map<string, Way | null>();
  /** By pin and port; also of endpoints that have gone, since a connection may be on its way there. */
  readonly #pins = new Map<string, { way: Way; endpoint: Endpoint }>();
  /** Hosts that cannot be Services. */
  readonly #foreign = new Set<string>();
  #socket: Socket | undefined;
  #lostAtMs = -reconnectMs;
  readonly #left: (endpoint: Endpoint) => void;
  readonly #outside: <T>(work: () => T) => T;

  /** `left`: an endpoint gets nothing new. `outside` runs work that belongs to no request. */
  constructor(settings: MeshSettings, { rules, left, outside }: { rules: () => NameRules | undefined; left: (endpoint: Endpoint) => void; outside: <T>(work: () => T) => T }) {
    this.#settings = settings;
    this.#rules = rules;
    this.#left = left;
    this.#outside = outside;
  }

  /** Of what is dialled by address. */
  byAddress(ip: string, port: number): Way | undefined {
    if (!ip.startsWith(this.#settings.services)) return undefined;
    const id = `${ip}:${port}`;
    return id === this.#settings.feed ? undefined : this.#find(id);
  }
  /** Of what a request is sent to; an address or a name. */
  byHost(host: string, port: number): Way | undefined {
    const id = `${host}:${port}`;
    const known = this.#ways.get(id);
    if (known !== undefined) return known ?? undefined;
    if (isIP(host)) return this.byAddress(host, port);
    if (this.#foreign.has(host)) return undefined;
    const name = host.toLowerCase();
    const rules = this.#rules();
    const names = !rules || rules.known(name) || name === "localhost" ? [] : candidates(name, rules.searches, rules.ndots);
    if (names.some((candidate) => /^[^.]+\.[^.]+\.svc\.cluster\.local$/.test(candidate))) return this.#find(id, names);
    if (this.#foreign.size >= foreignMax) this.#foreign.clear();
    this.#foreign.add(host);
    return undefined;
  }
  /** Of a connection that we have sent to an endpoint ourselves. */
  byPin(address: string, port: number): { way: Way; endpoint: Endpoint } | undefined {
    return this.#pins.get(`${address}:${port}`);
  }
  next({ endpoints, turn }: Way): Endpoint {
    return endpoints[turn.next(endpoints.length)]!;
  }

  /** Says that this program is meshed. */
  hello(): void {
    this.#say("");
  }

  #find(id: string, names?: string[]): Way | undefined {
    const known = this.#ways.get(id);
    if (known !== undefined) return known ?? undefined;
    if (this.#ways.size >= waysMax) return undefined;
    if (this.#say(`${JSON.stringify({ want: id, ...(names && { names }) })}\n`)) this.#ways.set(id, null);
    return undefined;
  }

  #say(text: string): boolean {
    if (!this.#socket) {
      if (performance.now() - this.#lostAtMs < reconnectMs) return false;
      this.#outside(() => this.#connect());
    }
    if (text !== "") this.#socket!.write(text);
    return true;
  }

  #connect(): void {
    const { feed, ip } = this.#settings;
    const [host, port] = feed.split(":");
    const socket = connect({ host: host!, port: Number(port) });
    this.#socket = socket;
    // A program ends when its own work does.
    socket.unref().setNoDelay(true).setEncoding("utf8");
    socket.write(`${JSON.stringify({ hello: { ip, pid: process.pid, node: process.versions.node } })}\n`);
    let rest = "";
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      try {
        for (const line of lines) this.#told(line);
      } catch {
        // Somebody else speaks there.
        socket.destroy();
      }
    });
    socket.on("error", () => {}).on("end", () => socket.destroy());
    socket.on("close", () => {
      this.#socket = undefined;
      this.#lostAtMs = performance.now();
      // What it said may no longer be so.
      const gone = [...this.#ways.values()];
      this.#ways = new Map();
      for (const way of gone) for (const endpoint of way?.endpoints ?? []) this.#left(endpoint);
    });
  }

  #told(line: string): void {
    const { way: id, address, http = false, endpoints } = JSON.parse(line) as { way: string; address?: string; http?: boolean; endpoints: string[] };
    const before = this.#ways.get(id);
    const left = new Map(before?.endpoints.map((endpoint) => [`${endpoint.pin}:${endpoint.port}`, endpoint]));
    if (address === undefined || endpoints.length === 0) {
      this.#ways.set(id, null);
    } else {
      const [ip, port] = address.split(":");
      const way: Way = { ip: ip!, port: Number(port), http, endpoints: endpoints.map(endpointOf), turn: before?.turn ?? new Turn(systemRandom) };
      this.#ways.set(id, way);
      if (this.#pins.size >= pinsMax) this.#pins.clear();
      for (const endpoint of way.endpoints) {
        const key = `${endpoint.pin}:${endpoint.port}`;
        this.#pins.set(key, { way, endpoint });
        left.delete(key);
      }
    }
    for (const endpoint of left.values()) this.#left(endpoint);
  }
}

/** The address that a pin stands for. */
export function addressOf(pin: string): string | undefined {
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(pin) ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [first, second] = [parseInt(high, 16), parseInt(low, 16)];
  return `${first >> 8}.${first & 255}.${second >> 8}.${second & 255}`;
}

function endpointOf(key: string): Endpoint {
  const [ip = "", port] = key.split(":");
  const [a, b, c, d] = ip.split(".").map(Number) as [number, number, number, number];
  // As URLs write it, so that it is the same wherever it comes by.
  const pin = `::ffff:${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  return { ip, port: Number(port), pin, origin: `http://[${pin}]:${port}` };
}
