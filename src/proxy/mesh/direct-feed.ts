import { Socket } from "node:net";
import type { TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import type { ServicePort, ServiceTable } from "../service-table.ts";
import { peerAddress } from "../tcp-service.ts";
import { declaredBy } from "./protocol.ts";

/** One line of JSON. What a preload says; `names` are what a name may mean, in the order of its search list. */
export interface FeedQuestion {
  hello?: { ip: string; pid: number; node: string };
  want?: string;
  names?: string[];
}
/**
 * What it hears, at once and at each change: no `endpoints` means that the Service is to be dialled as ever. `address` is its
 * ClusterIP and port. `http`: the listener reads what is said there, so a connection that is not balanced by the request gains nothing.
 */
export interface FeedAnswer {
  way: string;
  address?: string;
  http?: boolean;
  endpoints: string[];
}

export interface DirectFeedOptions {
  table: ServiceTable;
  /** Whether the port has policies, or routes for this caller, which nobody may get past. */
  isGuarded(port: ServicePort, caller: string): boolean;
  /** Whether pods reach this address without us. */
  isReachable(ip: string): boolean;
  hello?(pod: { ip: string; pid: number; node: string }): void;
}

const lineBytesMax = 16 * 1024;
/** Longer lists are not worth their changes: the listener has them. */
const endpointsMax = 256;
const unheardBytesMax = 256 * 1024;

/**
 * Tells Node programs, which asked by their preload, where the pods behind a Service are, so that they may dial them without a hop.
 * A program hears only of the Services that it names one by one, and only while nothing guards
 * these from it. Nothing is sent while nothing changes.
 */
export class DirectFeed {
  readonly #options: DirectFeedOptions;
  readonly #listeners = new Set<Listener>();
  #byAddress = new Map<string, ServicePort>();
  #byName = new Map<string, ServicePort | undefined>();
  #indexed: object | undefined;

  constructor(options: DirectFeedOptions) {
    this.#options = options;
  }

  accept(handle: TcpHandle): void {
    if (this.#listeners.size >= limits.directFeedsMax) return handle.close();
    const ip = peerAddress(handle);
    const listener: Listener = { ip, socket: new Socket({ handle } as never), wants: new Map() };
    const { socket } = listener;
    this.#listeners.add(listener);
    let rest = "";
    socket.setNoDelay(true).setEncoding("utf8");
    socket.on("error", () => socket.destroy()).on("end", () => socket.destroy()).on("close", () => this.#listeners.delete(listener));
    socket.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      if (rest.length > lineBytesMax) return void socket.destroy();
      for (const line of lines) {
        const question = parse(line);
        if (!question) return void socket.destroy();
        this.#asked(listener, question, ip);
      }
    });
    socket.resume();
  }

  /** Services, endpoints or what guards them changed. */
  refresh(): void {
    for (const listener of this.#listeners) for (const [id, want] of listener.wants) this.#tell(listener, id, want);
  }

  close(): void {
    for (const { socket } of this.#listeners) socket.destroy();
  }

  #asked(listener: Listener, { hello, want, names }: FeedQuestion, ip: string): void {
    // Where pods are processes of this machine, their connections all come from one address.
    if (hello) this.#options.hello?.({ ...hello, ip: ip.startsWith("127.") ? hello.ip : ip });
    if (want === undefined) return;
    if (listener.wants.size >= limits.directWaysMax && !listener.wants.has(want)) return void listener.socket.write(line({ way: want, endpoints: [] }));
    const wanted: Want = { names, said: "" };
    listener.wants.set(want, wanted);
    this.#tell(listener, want, wanted);
  }

  #tell({ ip, socket, wants }: Listener, id: string, want: Want): void {
    const text = line(this.#answer(id, this.#find(id, want.names), ip));
    if (text === want.said || !wants.has(id)) return;
    want.said = text;
    // Who does not listen must not go on by what was true once.
    if (socket.writableLength > unheardBytesMax) socket.destroy();
    else socket.write(text);
  }

  #answer(way: string, port: ServicePort | undefined, caller: string): FeedAnswer {
    const { isGuarded, isReachable } = this.#options;
    const closed: FeedAnswer = { way, endpoints: [] };
    if (!port || port.service.reserved || port.hasAffinity || isGuarded(port, caller)) return closed;
    const endpoints = port.active;
    if (endpoints.length === 0 || endpoints.length > endpointsMax || !endpoints.every(({ ip }) => isReachable(ip))) return closed;
    return { way, address: `${port.service.clusterIPs[0]}:${port.port.port}`, http: declaredBy(port.port.appProtocol) === "http", endpoints: endpoints.map(({ key }) => key) };
  }

  #find(id: string, names: readonly string[] | undefined): ServicePort | undefined {
    this.#index();
    if (!names) return this.#byAddress.get(id);
    const number = id.slice(id.lastIndexOf(":") + 1);
    for (const name of names) {
      const labels = /^([^.]+\.)?([^.]+)\.([^.]+)\.svc\.cluster\.local$/.exec(name);
      if (!labels) continue;
      const service = `${labels[3]}/${labels[2]}`;
      if (!this.#byName.has(service)) continue;
      // One pod by its name is dialled as it is meant.
      return labels[1] === undefined ? this.#byName.get(`${service}:${number}`) : undefined;
    }
    return undefined;
  }

  #index(): void {
    const { table } = this.#options;
    if (this.#indexed === table.snapshot) return;
    this.#indexed = table.snapshot;
    this.#byAddress = new Map();
    this.#byName = new Map();
    for (const { namespace, name } of table.snapshot.services) this.#byName.set(`${namespace}/${name}`, undefined);
    for (const port of table.ports.values()) {
      if (port.port.protocol !== "TCP" || port.service.clusterIPs.length === 0) continue;
      this.#byName.set(`${port.service.namespace}/${port.service.name}:${port.port.port}`, port);
      for (const ip of port.service.clusterIPs) this.#byAddress.set(`${ip}:${port.port.port}`, port);
    }
  }
}

interface Want {
  names: readonly string[] | undefined;
  said: string;
}
interface Listener {
  /** Of its pod, where that has one of its own. */
  ip: string;
  socket: Socket;
  wants: Map<string, Want>;
}

const line = (answer: FeedAnswer): string => `${JSON.stringify(answer)}\n`;

/** Undefined: it is none of ours who speaks there. */
function parse(text: string): FeedQuestion | undefined {
  try {
    const { hello, want, names } = JSON.parse(text) as FeedQuestion;
    if (hello !== undefined && (typeof hello?.ip !== "string" || typeof hello.pid !== "number" || typeof hello.node !== "string")) return undefined;
    if (want !== undefined && (typeof want !== "string" || want.length > 300)) return undefined;
    if (names !== undefined && (!Array.isArray(names) || names.length > 40 || !names.every((name) => typeof name === "string" && name.length < 600))) return undefined;
    return { ...(hello && { hello }), ...(want !== undefined && { want }), ...(names && { names }) };
  } catch {
    return undefined;
  }
}
