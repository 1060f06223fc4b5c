import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { connect, type Socket } from "node:net";
import { bindHandle } from "../../../base/handles.ts";
import type { Handler, LocalAnswer, RequestView } from "../../../policy/exchange.ts";
import type { Endpoint, Picked, Refused, TryResult, UpstreamPolicy } from "../../../policy/upstream.ts";
import { defaultBounds, Engine, type EngineOptions } from "../engine.ts";
import type { Bounds, Listener, Routed } from "../routing.ts";

/** Endpoints in turn; remembers what came of each try. */
export class TurnPolicy implements UpstreamPolicy {
  #endpoints: Endpoint[] = [];
  readonly results: TryResult[] = [];
  connectionsMax = Infinity;
  pendingMax = Infinity;
  connections = 0;
  pending = 0;
  running = 0;
  #turn = 0;

  configure(): void {}
  update(endpoints: readonly Endpoint[]): void {
    this.#endpoints = [...endpoints];
  }
  pick(_request?: RequestView, tried: readonly string[] = []): Picked | Refused {
    const untried = this.#endpoints.filter(({ key }) => !tried.includes(key));
    const from = untried.length > 0 ? untried : this.#endpoints;
    if (from.length === 0) return { status: 503, flag: "UH", reason: "nobody is there" };
    this.running++;
    let open = true;
    return {
      endpoint: from[this.#turn++ % from.length]!,
      done: (result) => {
        if (!open) throw new Error("done twice");
        open = false;
        this.running--;
        this.results.push(result);
      },
    };
  }
  mayRetry(): boolean {
    return true;
  }
  endpoints(): { key: string; active: number; ejectedForMs: number; latencyMs: number }[] {
    return this.#endpoints.map(({ key }) => ({ key, active: 0, ejectedForMs: 0, latencyMs: 0 }));
  }
  connectionOpened(): boolean {
    if (this.connections >= this.connectionsMax) return false;
    this.connections++;
    return true;
  }
  connectionClosed(): void {
    this.connections--;
  }
  pendingStarted(): boolean {
    if (this.pending >= this.pendingMax) return false;
    this.pending++;
    return true;
  }
  pendingEnded(): void {
    this.pending--;
  }
}

export interface TestGateway extends AsyncDisposable {
  engine: Engine;
  port: number;
  policy: TurnPolicy;
  lines: Record<string, unknown>[];
  /** What routes say from now on. */
  routed: { handler?: Handler; answer?: LocalAnswer } & Partial<Routed>;
  open(): Promise<Client>;
}

/** The engine on a port of loopback, before these ports; all requests go to them unless the test says otherwise. */
export function startGateway(upstreams: number[], options: { bounds?: Partial<Bounds>; trusted?: boolean; engine?: EngineOptions; connectMs?: number; /** The programs speak it, without TLS. */ http2?: boolean; /** As a Service's listener between pods. */ isTransparent?: boolean } = {}): TestGateway {
  const lines: Record<string, unknown>[] = [];
  const engine = new Engine({ accessLog: (text) => lines.push(...text.toString().trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)), ...options.engine });
  const policy = new TurnPolicy();
  policy.update(upstreams.map((port) => ({ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` })));
  engine.putUpstream({ id: "shop/web/80", http2: options.http2 ?? false, connectMs: options.connectMs ?? 1_000, idleMs: 30_000 }, policy);
  const bound = bindHandle("127.0.0.1", 0);
  const { handle } = bound;
  if (!handle) throw new Error(bound.code);
  const forward: Handler = (exchange, outcome) => {
    exchange.upstream ??= "shop/web/80";
    outcome.forward(exchange);
  };
  const routed: TestGateway["routed"] = {};
  const listener: Listener = {
    id: "test",
    port: bound.port,
    scheme: "http",
    trusted: options.trusted ?? false,
    isTransparent: options.isTransparent ?? false,
    bounds: { ...defaultBounds, ...options.bounds },
    route: () => routed.answer ?? { name: "all", handler: forward, ...routed },
  };
  handle.onconnection = (status, client) => {
    if (status === 0) engine.accept(client, listener);
  };
  handle.listen(1024);
  const clients: Client[] = [];
  return {
    engine,
    port: bound.port,
    policy,
    lines,
    routed,
    async open() {
      const socket = connect({ port: bound.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
      await once(socket, "connect");
      const client = new Client(socket);
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.socket.destroy();
      engine.close();
      await new Promise<void>((resolve) => handle.close(resolve));
    },
  };
}

/** The program at `port` gets copies of what goes to the others; `more` names upstreams that do not exist. */
export function mirrorTo(gateway: TestGateway, port: number, { http2 = false, more = [] }: { http2?: boolean; more?: string[] } = {}): TurnPolicy {
  const policy = new TurnPolicy();
  policy.update([{ ip: "127.0.0.1", port, key: `127.0.0.1:${port}` }]);
  gateway.engine.putUpstream({ id: "shop/shadow/80", http2, connectMs: 1_000, idleMs: 1_000 }, policy);
  gateway.routed.handler = (exchange, outcome) => {
    exchange.upstream = "shop/web/80";
    exchange.mirrors = ["shop/shadow/80", ...more];
    outcome.forward(exchange);
  };
  return policy;
}

/** A program behind the gateway. */
export async function startProgram(handler: RequestListener): Promise<Server & { port: number } & AsyncDisposable> {
  const server = createServer(handler).listen(0, "127.0.0.1");
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket).size);
  await once(server, "listening");
  return Object.assign(server, {
    port: (server.address() as { port: number }).port,
    [Symbol.asyncDispose]: async () => {
      // Also those that were upgraded, which the server no longer knows.
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

/** Reads whole answers off a connection, as text in latin1. */
export class Client {
  readonly socket: Socket;
  received = "";
  ended = false;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.received += text;
      this.#wake?.();
    });
    for (const event of ["end", "close"]) socket.on(event, () => ((this.ended = true), this.#wake?.()));
    socket.on("error", () => {});
  }
  send(text: string | Buffer): void {
    this.socket.write(typeof text === "string" ? Buffer.from(text, "latin1") : text);
  }
  /** Until the text received fulfils the condition, or the connection has ended. */
  async until(isEnough: (received: string) => boolean): Promise<string> {
    while (!isEnough(this.received) && !this.ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.received;
  }
  /** The next answer: head and body by Content-Length, chunks taken apart, or until the end. */
  async answer(options: { isHead?: boolean } = {}): Promise<{ status: number; head: string; body: string; header(name: string): string | undefined }> {
    await this.until((text) => text.includes("\r\n\r\n"));
    const end = this.received.indexOf("\r\n\r\n");
    if (end < 0) throw new Error(`no answer: ${JSON.stringify(this.received)}`);
    const head = this.received.slice(0, end + 2);
    this.received = this.received.slice(end + 4);
    const status = Number(head.slice(9, 12));
    const header = (name: string) => new RegExp(`^${name}: *(.*?)\r$`, "im").exec(head)?.[1];
    let body = "";
    const length = header("content-length");
    if (options.isHead || status === 204 || status === 304 || status < 200) {
      body = "";
    } else if (header("transfer-encoding")) {
      for (;;) {
        await this.until((text) => /^[0-9a-f]+\r\n/i.test(text));
        const [line, digits] = /^([0-9a-f]+)\r\n/i.exec(this.received) ?? [];
        if (line === undefined) throw new Error(`cut off: ${JSON.stringify(this.received)}`);
        const size = parseInt(digits!, 16);
        if (size === 0) {
          await this.until((text) => text.slice(line.length).startsWith("\r\n") || text.includes("\r\n\r\n"));
          const rest = this.received.slice(line.length);
          this.received = rest.startsWith("\r\n") ? rest.slice(2) : rest.slice(rest.indexOf("\r\n\r\n") + 4);
          break;
        }
        await this.until((text) => text.length >= line.length + size + 2);
        body += this.received.slice(line.length, line.length + size);
        this.received = this.received.slice(line.length + size + 2);
      }
    } else if (length !== undefined) {
      await this.until((text) => text.length >= Number(length));
      body = this.received.slice(0, Number(length));
      this.received = this.received.slice(Number(length));
    } else {
      await this.until(() => false);
      body = this.received;
      this.received = "";
    }
    return { status, head, body, header };
  }
  /** Until the other side has closed; what came is in `received`. */
  async end(): Promise<string> {
    return this.until(() => false);
  }
}

/** Until something that is told by nobody has come about. */
export async function until(holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 30_000; !holds(); await new Promise((resolve) => setImmediate(resolve))) {
    if (performance.now() > deadline) throw new Error(`not within 30 s: ${holds.toString()}`);
  }
}
