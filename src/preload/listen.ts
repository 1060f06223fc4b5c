import net from "node:net";
import dgram from "node:dgram";
import { dialPort, isOwn, listenHost } from "./addresses.ts";
import type { Settings } from "./settings.ts";

type Anything = any;

/** Moves what a program listens on, and what it dials at itself, to the pod's address. */
export function patchSockets({ podIP, privilegedPortOffset }: Settings): void {
  const listen = net.Server.prototype.listen as Anything;
  (net.Server.prototype as Anything).listen = function (this: net.Server, ...args: Anything[]) {
    return listen.apply(this, listenArguments(args, podIP));
  };

  const connect = net.Socket.prototype.connect as Anything;
  (net.Socket.prototype as Anything).connect = function (this: net.Socket, ...args: Anything[]) {
    return connect.apply(this, connectArguments(args, podIP, privilegedPortOffset));
  };

  const bind = dgram.Socket.prototype.bind as Anything;
  (dgram.Socket.prototype as Anything).bind = function (this: dgram.Socket, ...args: Anything[]) {
    // An IPv6 socket has no address of the pod's to move to; it stays as it is.
    return bind.apply(this, (this as Anything).type === "udp4" ? bindArguments(args, podIP) : args);
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
export function connectArguments(args: readonly Anything[], podIP: string, offset: number): Anything[] {
  const [first, ...rest] = args;
  if (Array.isArray(first)) {
    // Node passes [options, callback] marked by a symbol; the mark must survive.
    const copy: Anything = connectArguments(first, podIP, offset);
    for (const symbol of Object.getOwnPropertySymbols(first)) copy[symbol] = (first as Anything)[symbol];
    return [copy, ...rest];
  }
  if (first !== null && typeof first === "object") {
    if (first.path !== undefined || first.port === undefined) return [...args];
    const host = isOwn(first.host) ? podIP : first.host;
    return [{ ...first, host, port: dialPort(host, Number(first.port), offset) }, ...rest];
  }
  if (typeof first === "string" && !/^\d+$/.test(first.trim())) return [...args];
  const named = typeof rest[0] === "string" ? rest[0] : undefined;
  const host = isOwn(named) ? podIP : named!;
  return [{ port: dialPort(host, Number(first), offset), host }, ...rest.filter((value) => typeof value === "function")];
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
