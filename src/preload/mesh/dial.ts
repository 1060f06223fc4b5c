import net from "node:net";
import os from "node:os";
import { addressOf, type Endpoint, type Way, type Ways } from "./ways.ts";

type Anything = any;

const { ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET, ECONNABORTED } = os.constants.errno;
/** Nobody has seen the connection: the ClusterIP may know a better endpoint. */
const unanswered = new Set([ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNRESET].map((number) => -number));

/**
 * Connections to a ClusterIP go to one of the endpoints, and to the ClusterIP if that does not answer. Done below everything that a
 * program can see: where a handle connects, after all names are addresses; no function of Node's API is another. `noticed` is told
 * when a program listens or calls somebody: by then it has loaded what it does that with.
 */
export function patchDial(ways: Ways, isOfFetch: (socket: object) => boolean, noticed: () => void): void {
  // A socket that resolves its name for ever shows what its handle is, and dials nobody.
  const socket = new net.Socket();
  socket.connect({ host: "handle.invalid", port: 1, lookup: () => {} });
  const handle = (socket as Anything)._handle;
  const tcp = Object.getPrototypeOf(handle);
  const ownerOf = Object.getOwnPropertySymbols(handle).find(({ description }) => description === "owner_symbol") ?? "";
  socket.destroy();
  const { connect, connect6, listen } = tcp;
  const isKept = (handle: Anything): boolean => {
    const owner = handle[ownerOf];
    return owner !== undefined && (owner._httpMessage !== undefined && owner._httpMessage !== null || isOfFetch(owner));
  };
  if (typeof connect !== "function" || typeof connect6 !== "function") return;

  // Before the first request can come.
  if (typeof listen === "function") {
    tcp.listen = function (...args: Anything[]) {
      noticed();
      return listen.apply(this, args);
    };
  }
  tcp.connect = function (request: Anything, address: string, port: number, ...rest: Anything[]) {
    noticed();
    const way = ways.byAddress(address, port);
    // What is read by the listener is balanced there by the request, which a connection of ours would not be. And a connection that is
    // kept for further requests must not outlive what we know: those that we send have an address of their own.
    if (!way || way.http || isKept(this)) return connect.call(this, request, address, port, ...rest);
    return dial(this, request, way, ways.next(way));
  };
  tcp.connect6 = function (request: Anything, address: string, port: number, ...rest: Anything[]) {
    const pinned = address.startsWith("::ffff:") ? ways.byPin(address, port) : undefined;
    if (pinned) return dial(this, request, pinned.way, pinned.endpoint);
    // A pod has no IPv6, which such an address is not either.
    const plain = addressOf(address);
    if (plain !== undefined) return connect.call(this, request, plain, port, ...rest);
    return connect6.call(this, request, address, port, ...rest);
  };

  function dial(handle: Anything, request: Anything, { ip, port }: Way, endpoint: Endpoint): number {
    const finish = request.oncomplete;
    request.oncomplete = function (this: Anything, status: number, ...rest: Anything[]) {
      request.oncomplete = finish;
      if (!unanswered.has(status)) return finish.call(this, status, ...rest);
      const again = new request.constructor();
      Object.assign(again, request, { address: ip, port, addressType: 4 });
      let code = connect.call(handle, again, ip, port);
      // The kernel tells once that a socket has failed before it takes it again.
      if (code === -ECONNABORTED) code = connect.call(handle, again, ip, port);
      if (code !== 0) finish.call(again, code, handle, again, false, false);
    };
    const code = connect.call(handle, request, endpoint.ip, endpoint.port);
    if (code === 0) return 0;
    request.oncomplete = finish;
    return connect.call(handle, request, ip, port);
  }
}
