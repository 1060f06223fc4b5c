import type http2 from "node:http2";
import { createRequire } from "node:module";
import { Duplex } from "node:stream";
import { currentTrace, isTracerThere, keepTrace, type Trace, traceHeaders, traceOf, withinTrace } from "./trace.ts";

type Anything = any;

const load = createRequire(process.execPath);
/** For which request a session was made. Others wait for it, and go on in that one's name. */
const makers = new WeakMap<object, Trace>();
const patched = new WeakSet<object>();

/**
 * Traces over HTTP/2: of servers and sessions of node:http2, and of grpc-js, which is made of them. Loading node:http2 costs more than
 * a small program's whole start, so nothing is done until the program has loaded it by itself.
 */
export class Http2Traces {
  #loaded = 0;
  #patched = false;

  /** Whether it is there by now; asked often, and answered at once. */
  look(): void {
    // Node's own list of what it has loaded of itself; it only grows.
    const { moduleLoadList = [] } = process as unknown as { moduleLoadList?: string[] };
    if (this.#patched || moduleLoadList.length === this.#loaded) return;
    this.#loaded = moduleLoadList.length;
    if (!moduleLoadList.includes("NativeModule http2")) return;
    this.#patched = true;
    try {
      patch(load("node:http2") as typeof http2);
      patchGrpc();
    } catch {
      // A Node of which we know too little: HTTP/2 goes without traces.
    }
  }
}

/** Sessions have no names by which their prototypes are found: one of each kind is made, which speaks to nobody. */
function patch({ connect, createServer }: typeof http2): void {
  const nobody = (): Duplex => new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  const session = connect("http://nobody.invalid", { createConnection: nobody });
  session.on("error", () => {});
  patchClient(Object.getPrototypeOf(session));
  session.destroy();
  createServer().once("session", (session) => {
    patchServer(Object.getPrototypeOf(session));
    session.on("error", () => {}).destroy();
  }).emit("connection", nobody());
}

function patchClient(prototype: Anything): void {
  const { request, emit } = prototype;
  prototype.request = function (headers: Anything, options: Anything) {
    return request.call(this, withTrace(headers, makers.get(this)), options);
  };
  prototype.emit = function (name: string, ...args: Anything[]) {
    if (name === "connect") {
      // Whoever was loaded since.
      patchGrpc();
      const trace = currentTrace();
      if (trace) makers.set(this, trace);
    }
    return emit.call(this, name, ...args);
  };
}

function patchServer(prototype: Anything): void {
  const { emit } = prototype;
  prototype.emit = function (name: string, ...args: Anything[]) {
    if (name !== "stream" || isTracerThere()) return emit.call(this, name, ...args);
    const [stream, headers] = args;
    const trace = traceOf(headers);
    if (!trace && !currentTrace()) return emit.call(this, name, ...args);
    if (trace) keepTrace(stream, trace);
    return withinTrace(trace, () => emit.call(this, name, ...args));
  };
}

/** Headers as Node takes them: an object, or from Node 24 on a list of names and values. */
function withTrace(headers: Anything, maker: Trace | undefined): Anything {
  const trace = currentTrace();
  if (!trace || isTracerThere()) return headers;
  const names = Array.isArray(headers) ? headers.filter((_, index) => index % 2 === 0) : Object.keys(headers ?? {});
  const has = (name: string): boolean => names.some((other) => String(other).toLowerCase() === name);
  if (has("traceparent")) return headers;
  // A call of gRPC may have waited for its connection; those that we know have their trace by now, and of the rest we cannot tell.
  if (trace === maker && !Array.isArray(headers) && String(headers?.["content-type"]).startsWith("application/grpc")) return headers;
  const added = traceHeaders(trace).filter(([name]) => !has(name));
  return Array.isArray(headers) ? [...headers, ...added.flat()] : { ...headers, ...Object.fromEntries(added) };
}

/**
 * Calls of grpc-js wait for a connection in a list of its own, which no context passes through. Where its files are loaded as such,
 * their trace is written down when they begin, and their answers come within it; in a bundle there is nothing to be found.
 */
function patchGrpc(): void {
  for (const [file, module] of Object.entries(load.cache)) {
    if (!/[\\/]@grpc[\\/]grpc-js[\\/]build[\\/]src[\\/]resolving-call\.js$/.test(file)) continue;
    const prototype = (module?.exports as Anything)?.ResolvingCall?.prototype;
    if (typeof prototype?.start !== "function" || patched.has(prototype)) continue;
    patched.add(prototype);
    const { start } = prototype;
    prototype.start = function (metadata: Anything, listener: Anything) {
      const trace = currentTrace();
      if (!trace || isTracerThere() || metadata.get("traceparent").length > 0) return start.call(this, metadata, listener);
      const own = metadata.clone();
      for (const [name, value] of traceHeaders(trace)) if (own.get(name).length === 0) own.set(name, value);
      return start.call(this, own, within(trace, listener));
    };
  }
}

function within(trace: Trace, listener: Anything): Anything {
  const told: Anything = Object.create(listener);
  for (const name of ["onReceiveMetadata", "onReceiveMessage", "onReceiveStatus"]) {
    if (typeof listener[name] === "function") told[name] = (...args: Anything[]) => withinTrace(trace, () => listener[name](...args));
  }
  return told;
}
