import { bindHandle, bindUdpHandle, errorName, type TcpHandle, type UdpHandle } from "../base/handles.ts";
import type { Log } from "../base/log.ts";
import { privilegedPortOffset } from "./messages.ts";

/**
 * The listeners of one worker. Each key has a slot; `wherry` keeps a copy of every handle, so a listener
 * outlives the worker that opened it.
 *
 *   absent ──bind (pod network) or give (host)──▶ bound ──open wanted──▶ open ──unwanted──▶ releasing ──▶ absent
 *
 * A socket cannot stop listening without being closed, and it is closed only when the last copy is: hence the
 * round trip to `wherry` before the same address is bound again.
 */
export interface ListenerSpec {
  protocol: "TCP" | "UDP";
  ip: string;
  port: number;
  /** Made by `wherry` and handed over; otherwise bound here, inside the pod network. */
  given: boolean;
  /** Whether anybody is there to answer; otherwise the address refuses. */
  open: boolean;
  /** TCP: called for each connection. */
  accept?: (client: TcpHandle) => void;
  /** UDP: starts to receive on the bound handle; returns how to stop, which closes the handle. */
  receive?: (handle: UdpHandle) => () => void;
}

/** How the slots reach `wherry`. */
export interface Keeper {
  keep(key: string, handle: TcpHandle | UdpHandle): void;
  /** A given address turned out to be in use by another program: wherry finds another, or says so. */
  taken(key: string): void;
  /** A given handle is listened on now. */
  opened(key: string): void;
  /** Resolves when the copy in `wherry` is closed. */
  release(key: string): Promise<void>;
  /** Plain mode only: binds a port that this process may not. */
  bind(protocol: "TCP" | "UDP", ip: string, port: number): Promise<TcpHandle | UdpHandle | undefined>;
}

interface Slot {
  spec: ListenerSpec | undefined;
  handle: TcpHandle | UdpHandle | undefined;
  /** Somebody listened on the handle, here or in an earlier worker. */
  listening: boolean;
  stop: (() => void) | undefined;
  busy: boolean;
  complained: boolean;
}

const backlog = 1024;
const bindRetryMs = 500;

export class Listeners {
  readonly #slots = new Map<string, Slot>();
  readonly #expected: Set<string>;
  readonly #keeper: Keeper;
  readonly #mode: "isolated" | "plain";
  readonly #reusePort: boolean;
  readonly #log: Log;

  constructor(keeper: Keeper, { mode, kept, workers }: { mode: "isolated" | "plain"; kept: readonly string[]; workers: number }, log: Log) {
    // Several workers listen side by side on one address, and the kernel shares the connections out.
    this.#reusePort = workers > 1;
    this.#keeper = keeper;
    this.#mode = mode;
    this.#expected = new Set(kept);
    this.#log = log;
  }

  /** Replaces the whole set of wanted listeners; what is not in it is closed. */
  want(specs: ReadonlyMap<string, ListenerSpec>): void {
    for (const [key, slot] of this.#slots) {
      if (!specs.has(key)) {
        slot.spec = undefined;
        this.#settle(key, slot);
      }
    }
    for (const [key, spec] of specs) {
      const slot = this.#slot(key);
      slot.spec = spec;
      this.#settle(key, slot);
    }
  }

  /** Endpoints came or went. */
  setOpen(key: string, open: boolean): void {
    const slot = this.#slots.get(key);
    if (!slot?.spec || slot.spec.open === open) return;
    slot.spec = { ...slot.spec, open };
    this.#settle(key, slot);
  }

  give(key: string, handle: TcpHandle | UdpHandle, listening: boolean): void {
    this.#expected.delete(key);
    const slot = this.#slot(key);
    slot.handle?.close();
    slot.handle = handle;
    slot.listening = listening;
    this.#settle(key, slot);
  }

  /** "open" listeners by key, for tests and status. */
  open(): string[] {
    return [...this.#slots].filter(([, slot]) => slot.stop !== undefined).map(([key]) => key);
  }

  #slot(key: string): Slot {
    let slot = this.#slots.get(key);
    if (!slot) this.#slots.set(key, (slot = { spec: undefined, handle: undefined, listening: false, stop: undefined, busy: false, complained: false }));
    return slot;
  }

  /** Brings one slot to what is wanted; called again whenever something about it changes. */
  #settle(key: string, slot: Slot): void {
    if (slot.busy || this.#expected.has(key)) return;
    const { spec } = slot;
    if (!spec?.open) {
      if (slot.handle && (slot.listening || !spec)) void this.#release(key, slot);
      else if (!spec && !slot.handle) this.#slots.delete(key);
      return;
    }
    if (slot.stop) return;
    if (slot.handle) return this.#open(key, slot, spec);
    if (!spec.given) void this.#bind(key, slot, spec);
  }

  async #bind(key: string, slot: Slot, spec: ListenerSpec): Promise<void> {
    const bind = spec.protocol === "TCP" ? (ip: string, port: number) => bindHandle(ip, port, { reusePort: this.#reusePort }) : bindUdpHandle;
    let { handle, code } = bind(spec.ip, spec.port) as { handle?: TcpHandle | UdpHandle; code?: string };
    if (code === "EACCES" && this.#mode === "plain") {
      slot.busy = true;
      handle = await this.#keeper.bind(spec.protocol, spec.ip, spec.port).catch(() => undefined);
      if (!handle) ({ handle, code } = bind(spec.ip, spec.port + privilegedPortOffset) as typeof handle & { handle?: TcpHandle; code?: string });
      slot.busy = false;
    }
    if (!handle) {
      this.#complain(key, slot, code);
      setTimeout(() => this.#settle(key, slot), bindRetryMs).unref();
      return;
    }
    slot.handle = handle;
    slot.listening = false;
    this.#settle(key, slot);
  }

  #open(key: string, slot: Slot, spec: ListenerSpec): void {
    if (spec.protocol === "UDP") {
      const fresh = !slot.listening;
      slot.listening = true;
      if (fresh && !spec.given) this.#keeper.keep(key, slot.handle!);
      slot.stop = spec.receive!(slot.handle as UdpHandle);
      return;
    }
    const handle = slot.handle as TcpHandle;
    handle.onconnection = (status, client) => {
      if (status === 0) slot.spec?.accept?.(client);
    };
    const status = handle.listen(backlog);
    if (status !== 0) {
      this.#complain(key, slot, errorName(status));
      // Another program has taken the port since it was bound.
      slot.spec = { ...spec, open: false };
      slot.listening = true;
      void this.#release(key, slot).then(() => {
        if (spec.given) return this.#keeper.taken(key);
        setTimeout(() => this.setOpen(key, true), bindRetryMs).unref();
      });
      return;
    }
    slot.stop = () => handle.close();
    const fresh = !slot.listening;
    slot.listening = true;
    if (!fresh) return;
    if (spec.given) this.#keeper.opened(key);
    else this.#keeper.keep(key, handle);
  }

  /** Once a listener: it is tried again until it works. */
  #complain(key: string, slot: Slot, code: string | undefined): void {
    if (!slot.complained) this.#log.warn("a listener cannot be opened; it is tried again and again", { key, code });
    slot.complained = true;
  }

  async #release(key: string, slot: Slot): Promise<void> {
    slot.busy = true;
    if (slot.stop) slot.stop();
    else slot.handle?.close();
    slot.handle = undefined;
    slot.stop = undefined;
    slot.listening = false;
    await this.#keeper.release(key).catch(() => {});
    slot.busy = false;
    this.#settle(key, slot);
  }
}
