import { type TcpHandle, WriteWrap } from "../base/handles.ts";
import type { Endpoint } from "../policy/upstream.ts";
import { dial } from "./dial.ts";
import type { Caller } from "./mesh/caller.ts";
import { watchSilence } from "./silence.ts";
import { Pump, resetHandle } from "./pump.ts";
import type { ServicePort } from "./service-table.ts";

/** How long one endpoint may take to accept before the next is tried. */
const connectTimeoutMs = 3_000;
const attemptsMax = 5;
const keepAliveSeconds = 30;

/** Where a connection goes: a Service port, or what a route has made of one. */
export interface Place extends Pick<ServicePort, "active" | "held" | "hasAffinity" | "choose" | "remember" | "wait"> {
  readonly connectMs?: number | undefined;
  /** One more connection, until what is returned is called; undefined: there are as many as there may be. */
  begin?(): (() => void) | undefined;
}
const noBound = () => {};

/** Why what had begun was ended, before what the policy says. */
export const judgedAnew = "it was let in before the policies changed";

/** Every connection this worker carries: bounded, and swept for peers that vanished. */
export class Connections {
  /** Each with what asks whether it would be let in now; undefined: nobody has to be asked. */
  readonly #pumps = new Map<Pump, (() => boolean) | undefined>();
  readonly #max: number;
  readonly #sweeper: NodeJS.Timeout;
  readonly #dial: typeof dial;
  #dialling = 0;
  /** Whether who calls from that address may reach an endpoint; undefined: nobody keeps any from anybody. */
  judge: ((address: string, endpoint: Endpoint, service: ServicePort, gateway: Caller | undefined) => boolean) | undefined;

  /** Where routes on a Service port lead a connection, once that is known; undefined: nowhere. False: none is for it. */
  lead: ((client: TcpHandle, service: ServicePort, first: Buffer | undefined, go: (place: Place | undefined, first: Buffer | undefined) => void) => boolean) | undefined;

  /** `dialEndpoint` reaches endpoints, wherever they are; it keeps {@link dial}'s promises. */
  constructor(max: number, dialEndpoint: typeof dial = dial) {
    this.#max = max;
    this.#dial = dialEndpoint;
    this.#sweeper = setInterval(() => this.#sweep(), keepAliveSeconds * 1000).unref();
  }
  get count(): number {
    return this.#pumps.size + this.#dialling;
  }

  /**
   * Connects `client` to one of the port's endpoints and pumps until both are done. `first` was read from it already; `gateway`:
   * through which it came; `idleMs`: it ends after so long a silence of both sides, 0 for never.
   */
  serve(client: TcpHandle, service: ServicePort, first?: Buffer, gateway?: Caller, idleMs = 0): void {
    const isLed = gateway === undefined && this.lead?.(client, service, first, (place, read) => (place ? this.#connect(client, service, place, read, undefined) : resetHandle(client)));
    if (!isLed) this.#connect(client, service, service, first, gateway, idleMs);
  }

  #connect(client: TcpHandle, service: ServicePort, place: Place, first: Buffer | undefined, gateway: Caller | undefined, idleMs = 0): void {
    const endpoints = place.active;
    if (this.count >= this.#max) return resetHandle(client);
    if (endpoints.length === 0) return this.#hold(client, service, place, first, gateway, idleMs);
    const release = place.begin ? place.begin() : noBound;
    if (!release) return resetHandle(client);
    client.setNoDelay(true);
    const clientIP = place.hasAffinity ? peerAddress(client) : "";
    const nowMs = place.hasAffinity ? performance.now() : 0;
    const start = place.choose(clientIP, nowMs);
    const attempts = Math.min(attemptsMax, endpoints.length);
    this.#dialling++;
    let attempt = 0;
    const isLetIn = (endpoint: Endpoint) => !this.judge || this.judge(peerAddress(client), endpoint, service, gateway);
    const next = () => {
      const endpoint = endpoints[(start + attempt) % endpoints.length]!;
      if (!isLetIn(endpoint)) {
        this.#dialling--;
        release();
        return resetHandle(client);
      }
      this.#dial(endpoint.ip, endpoint.port, place.connectMs ?? connectTimeoutMs, (_status, handle) => {
        if (handle) {
          this.#dialling--;
          place.remember(clientIP, endpoint, nowMs);
          this.join(client, handle, first, () => isLetIn(endpoint), release, idleMs);
        } else if (++attempt < attempts) {
          next();
        } else {
          this.#dialling--;
          release();
          this.#hold(client, service, place, first, gateway, idleMs);
        }
      });
    };
    next();
  }

  /** Nobody is there: whether it pays to wait. Connections that wait count as being dialled. */
  #hold(client: TcpHandle, service: ServicePort, place: Place, first: Buffer | undefined, gateway: Caller | undefined, idleMs: number): void {
    this.#dialling++;
    const goes = place.held && place.wait(() => {
      this.#dialling--;
      if (place.held) resetHandle(client);
      else this.#connect(client, service, place, first, gateway, idleMs);
    });
    if (goes) return;
    this.#dialling--;
    resetHandle(client);
  }

  /** Policies have changed: those that would not be let in now end, and both sides hear it. */
  judgeAnew(): void {
    for (const [pump, isLetIn] of this.#pumps) if (isLetIn?.() === false) pump.close(true);
  }

  join(client: TcpHandle, endpoint: TcpHandle, first?: Buffer, isLetIn?: () => boolean, ended: () => void = noBound, idleMs = 0): void {
    endpoint.setNoDelay(true);
    if (first && first.length > 0) {
      const request = new WriteWrap();
      // Only a handle that is broken already does not take so little; the pump finds out.
      request.oncomplete = () => {};
      request.buffer = first;
      endpoint.writeBuffer(request, first);
    }
    const pump = new Pump(client, endpoint, () => {
      this.#pumps.delete(pump);
      ended();
      watched?.stop();
    });
    this.#pumps.set(pump, isLetIn);
    const watched = idleMs > 0 ? watchSilence([client, endpoint], idleMs, () => pump.close(true)) : undefined;
    pump.start();
  }

  /** Short connections, the most of all, never pay for keep-alive probes. */
  #sweep(): void {
    for (const pump of this.#pumps.keys()) pump.keepAlive(keepAliveSeconds);
  }

  close(): void {
    clearInterval(this.#sweeper);
    for (const pump of this.#pumps.keys()) pump.close(true);
  }
}

/** Node writes three properties into it, which is dear where there are none yet. */
const asked = { address: "", family: "", port: 0 };
export const peerAddress = (handle: TcpHandle): string => (handle.getpeername(asked) === 0 ? asked.address : "");
/** Of one that is closed nothing is known. */
export const peerOf = (handle: TcpHandle): { address?: string; port?: number } => {
  const found: { address?: string; port?: number } = {};
  handle.getpeername(found);
  return found;
};
export const localAddress = (handle: TcpHandle): string => (handle.getsockname(asked) === 0 ? asked.address : "");
