import net from "node:net";
import dgram from "node:dgram";
import { dialPort, isOwn, listenHost } from "./addresses.ts";
import type { Settings } from "./settings.ts";

type Anything = any;

/** Moves what a program listens on, and what it dials at itself, to the pod's address; and low ports of Services to where they are. */
export function patchSockets(settings: Settings): void {
  const { podIP } = settings;
  const listen = net.Server.prototype.listen as Anything;
  (net.Server.prototype as Anything).listen = function (this: net.Server, ...args: Anything[]) {
    return listen.apply(this, listenArguments(args, podIP));
  };

  const connect = net.Socket.prototype.connect as Anything;
  (net.Socket.prototype as Anything).connect = function (this: net.Socket, ...args: Anything[]) {
    const result = connect.apply(this, connectArguments(args, podIP));
    movePorts((this as Anything)._handle, settings);
    return result;
  };

  const bind = dgram.Socket.prototype.bind as Anything;
  (dgram.Socket.prototype as Anything).bind = function (this: dgram.Socket, ...args: Anything[]) {
    // An IPv6 socket has no address of the pod's to move to; it stays as it is.
    return bind.apply(this, (this as Anything).type === "udp4" ? bindArguments(args, podIP) : args);
  };
  if (settings.privilegedPortsBelow > 0) {
    const probe = dgram.createSocket("udp4") as Anything;
    const state = Object.getOwnPropertySymbols(probe).map((symbol) => probe[symbol]).find((value) => typeof value?.handle?.send === "function");
    if (state) moveDatagramPorts(Object.getPrototypeOf(state.handle), settings);
    probe.close();
  }
}

const moved = new WeakSet<object>();

/**
 * Where a low port of a Service lies higher up, the port is changed at the last moment: by then a name has become an address,
 * whoever looked it up. The handle is there when connect() returns, and dials a tick later at the earliest.
 */
function movePorts(handle: Anything, settings: Settings): void {
  if (settings.privilegedPortsBelow === 0) return;
  // A TLS handle passes the call on to the TCP handle in it.
  const tcp = Object.getPrototypeOf(handle?._parent ?? handle ?? {});
  if (tcp.constructor?.name !== "TCP" || typeof tcp.connect !== "function" || moved.has(tcp)) return;
  moved.add(tcp);
  const connect = tcp.connect;
  tcp.connect = function (request: Anything, address: string, port: number, ...rest: Anything[]) {
    return connect.call(this, request, address, dialPort(address, port, settings), ...rest);
  };
}

/** The same for datagrams: send(request, list, length, port, address, hasCallback), unless connected, and connect(address, port). */
function moveDatagramPorts(udp: Anything, settings: Settings): void {
  const { send, connect } = udp;
  udp.send = function (...args: Anything[]) {
    if (typeof args[4] === "string") args[3] = dialPort(args[4], args[3], settings);
    return send.apply(this, args);
  };
  udp.connect = function (address: string, port: number, ...rest: Anything[]) {
    return connect.call(this, address, dialPort(address, port, settings), ...rest);
  };
}

/** `listen()`'s forms: (), (callback), (port[, host][, backlog][, callback]), (options[, callback]), (path), (handle). */
export function listenArguments(args: readonly Anything[], podIP: string): Anything[] {
  const [first, ...rest] = args;
  if (first === undefined || first === null || typeof first === "function") return [{ port: 0, host: podIP }, ...args.filter((value) => typeof value === "function")];
  if (typeof first === "object") {
    // A path, a descriptor or a handle has no address; a server or socket given as such is a handle too.
    if (first.path !== undefined || first.fd !== undefined || first.handle !== undefined || first._handle !== undefined || first.port === undefined) return [...args];
    return [{ ...first, host: listenHost(first.host, podIP) }, ...rest];
  }
  const port = Number(first);
  if (typeof first === "string" && !/^\d+$/.test(first.trim())) return [...args];
  if (!Number.isInteger(port)) return [...args];
  const callback = args.find((value) => typeof value === "function");
  const host = typeof rest[0] === "string" ? rest[0] : undefined;
  const backlog = rest.find((value) => typeof value === "number");
  return [{ port, host: listenHost(host, podIP), ...(backlog === undefined ? {} : { backlog }) }, ...(callback ? [callback] : [])];
}

/** `connect()`'s forms: (port[, host][, callback]), (options[, callback]), (path), and Node's own normalized array. */
export function connectArguments(args: readonly Anything[], podIP: string): Anything[] {
  const [first, ...rest] = args;
  if (Array.isArray(first)) {
    // Node passes [options, callback] marked by a symbol; the mark must survive.
    const copy: Anything = connectArguments(first, podIP);
    for (const symbol of Object.getOwnPropertySymbols(first)) copy[symbol] = (first as Anything)[symbol];
    return [copy, ...rest];
  }
  if (first !== null && typeof first === "object") {
    if (first.path !== undefined || first.port === undefined) return [...args];
    return [{ ...first, host: isOwn(first.host) ? podIP : first.host }, ...rest];
  }
  if (typeof first === "string" && !/^\d+$/.test(first.trim())) return [...args];
  const named = typeof rest[0] === "string" ? rest[0] : undefined;
  return [{ port: Number(first), host: isOwn(named) ? podIP : named! }, ...rest.filter((value) => typeof value === "function")];
}

/** `bind()`'s forms: (), (callback), (port[, address][, callback]), (options[, callback]). */
export function bindArguments(args: readonly Anything[], podIP: string): Anything[] {
  const callback = args.find((value) => typeof value === "function");
  const tail = callback ? [callback] : [];
  const [first, second] = args;
  if (first !== null && typeof first === "object") {
    if (first.fd !== undefined) return [...args];
    return [{ ...first, address: listenHost(first.address, podIP) }, ...tail];
  }
  return [{ port: typeof first === "number" || typeof first === "string" ? Number(first) : 0, address: listenHost(typeof second === "string" ? second : undefined, podIP) }, ...tail];
}
