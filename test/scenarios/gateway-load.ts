import { Agent, request } from "node:http";
import { connect as connectHttp2, type ClientHttp2Session } from "node:http2";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import type { Kill } from "./gateway-kill.ts";

export interface LoadResult {
  ok: number;
  /** What became of requests that got no 200. */
  failures: string[];
  /** Of them not counted as failures: those on a connection that a killed worker held. */
  cut: string[];
  /** Answers by their text. */
  answers: Map<string, number>;
  /** Good answers by the kind of connection. */
  served: Record<string, number>;
  /** Pings that came back. */
  pings: number;
  /** WebSockets that ended, were not made, or whose ping did not come back. Those of a killed worker are made anew, and are in `cut`. */
  lost: string[];
}

export interface LoadOptions {
  address: string;
  port: number;
  /** Of the Host header. */
  host: string;
  path: string;
  /** Connections that are kept, each with one request after the other. */
  clients: number;
  /** And those that make a new one for each request. */
  fresh?: number;
  pauseMs?: number;
  /** With it, over TLS, each request on a connection of its own: the server name, and the port. */
  secure?: { serverName: string; port: number; clients: number; /** Connections of HTTP/2, each with three requests at a time. */ http2?: number };
  sockets?: { host: string; count: number; everyMs: number };
}

const answerMs = 10_000;
const streamsPerSession = 3;
const brokenOff = /ECONNRESET|EPIPE|socket hang up|ERR_HTTP2|closed with 1006/;

/** One connection to the gateway: the kernel's name for it, and since when there may have been one. */
class Connection {
  readonly dialledAt = performance.now();
  port: number | undefined;

  of(socket: Socket): this {
    const note = () => (this.port = socket.localPort);
    if (socket.connecting) socket.once("connect", note);
    else note();
    return this;
  }
}

export interface Load extends AsyncDisposable {
  result: LoadResult;
  /** A worker was killed, with these connections. */
  killed(kill: Kill): void;
  stop(): Promise<LoadResult>;
}

/**
 * Steady requests on kept connections, and WebSockets that are pinged, until `stop`. A client never repeats a request: whatever
 * fails is counted.
 */
export async function gatewayLoad({ address, port, host, path, clients, fresh = 0, pauseMs = 2, secure, sockets }: LoadOptions): Promise<Load> {
  const result: LoadResult = { ok: 0, failures: [], cut: [], answers: new Map(), served: {}, pings: 0, lost: [] };
  const stopping = new AbortController();
  const stopped = stopping.signal;
  const kills: Kill[] = [];
  /** Excused is what broke off on a connection that the kernel says was the killed worker's: asked for before, and open then. */
  const isCut = ({ dialledAt, port: own }: Connection, what: string) => brokenOff.test(what) && own !== undefined && kills.some((kill) => dialledAt < kill.at && kill.ports.has(own));
  const count = (kind: string, { status, text }: Answer, connection: Connection) => {
    const what = `${kind} ${status} ${text}`;
    if (status === 200) {
      result.ok++;
      result.served[kind] = (result.served[kind] ?? 0) + 1;
      result.answers.set(text, (result.answers.get(text) ?? 0) + 1);
    } else if (isCut(connection, what)) result.cut.push(what);
    else result.failures.push(what);
  };
  const pause = () => new Promise((resolve) => setTimeout(resolve, pauseMs));
  const client = async (kind: string, agent: Agent | SecureAgent, at: number): Promise<void> => {
    const connections = new WeakMap<Socket, Connection>();
    while (!stopped.aborted) {
      let connection = new Connection();
      const answer = await ask(agent, address, at, host, path, (socket) => {
        const known = connections.get(socket);
        if (known) connection = known;
        else connections.set(socket, connection.of(socket));
      });
      count(kind, answer, connection);
      await pause();
    }
    agent.destroy();
  };
  const session = async ({ serverName, port: at }: { serverName: string; port: number }): Promise<void> => {
    let now: { session: ClientHttp2Session; connection: Connection } | undefined;
    const lane = async () => {
      while (!stopped.aborted) {
        if (!now || now.session.closed || now.session.destroyed) {
          const connection = new Connection();
          const made = connectHttp2(`https://${address}:${at}`, { servername: serverName, rejectUnauthorized: false });
          connection.of(made.socket as Socket);
          made.on("error", () => {});
          now = { session: made, connection };
        }
        const { session: own, connection } = now;
        count("h2", await askHttp2(own, host, path), connection);
        await pause();
      }
    };
    await Promise.all(Array.from({ length: streamsPerSession }, lane));
    now?.session.destroy();
  };
  const open: (() => Promise<void>)[] = [];
  const reopening = new Set<Promise<void>>();
  for (let index = 0; index < (sockets?.count ?? 0); index++) {
    const openOne = async (): Promise<void> => {
      const connection = new Connection();
      const end = await pinged(`ws://${address}:${port}/socket`, sockets!.host, sockets!.everyMs, connection, result, (why) => {
        if (!isCut(connection, why)) return void result.lost.push(`${index}: ${why}`);
        result.cut.push(`socket ${why}`);
        if (stopped.aborted) return undefined;
        const again = openOne().finally(() => reopening.delete(again));
        reopening.add(again);
        return again;
      });
      if (end) open[index] = end;
    };
    await openOne();
  }
  const all = Array.from({ length: clients }, () => client("kept", new Agent({ keepAlive: true, maxSockets: 1 }), port));
  for (let i = 0; i < fresh; i++) all.push(client("fresh", new Agent({ keepAlive: false }), port));
  // Whose certificate it is does not matter here: that there is one does.
  for (let i = 0; i < (secure?.clients ?? 0); i++) all.push(client("tls", new SecureAgent({ keepAlive: false, servername: secure!.serverName, rejectUnauthorized: false }), secure!.port));
  for (let i = 0; i < (secure?.http2 ?? 0); i++) all.push(session(secure!));
  const stop = async (): Promise<LoadResult> => {
    stopping.abort();
    await Promise.all(all);
    await Promise.all(reopening);
    await Promise.all(open.map((end) => end()));
    return result;
  };
  return { result, killed: (kill) => void kills.push(kill), stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}

export interface Answer {
  status: number | string;
  text: string;
  location?: string | undefined;
  /** Of the header x-change. */
  change?: string | undefined;
}

/** One request; what it came to. */
export function ask(agent: Agent | SecureAgent, address: string, port: number, host: string, path: string, onSocket?: (socket: Socket) => void): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ status: (error as NodeJS.ErrnoException).code ?? "error", text: error.message });
    const asked = (agent instanceof SecureAgent ? secureRequest : request)({ agent, host: address, port, path, headers: { host }, timeout: answerMs }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text: text.trim(), location: response.headers.location, change: response.headers["x-change"] as string | undefined }));
      response.on("error", failed);
    });
    if (onSocket) asked.on("socket", onSocket);
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${answerMs} ms`)));
    asked.on("error", failed);
    asked.end();
  });
}

/** The same on a connection of HTTP/2. */
function askHttp2(session: ClientHttp2Session, host: string, path: string): Promise<Answer> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ status: (error as NodeJS.ErrnoException).code ?? "error", text: error.message });
    let status = 0;
    let text = "";
    try {
      const stream = session.request({ ":path": path, ":authority": host });
      stream.setTimeout(answerMs, () => stream.destroy(new Error(`no answer within ${answerMs} ms`)));
      stream.setEncoding("utf8");
      stream.on("response", (headers) => (status = headers[":status"]!));
      stream.on("data", (chunk: string) => (text += chunk));
      stream.on("error", failed);
      // Destroyed with its session it ends without an error, and without its answer.
      stream.on("close", () => resolve(stream.rstCode === 0 && text.endsWith("\n") ? { status, text: text.trim() } : { status: "ERR_HTTP2_CLOSED", text: `after ${JSON.stringify(text)}` }));
    } catch (error) {
      failed(error as Error);
    }
  });
}

/** Resolves when it is open, with how to end it once the last ping has come back; with nothing when `broke` has another open instead. */
function pinged(url: string, host: string, everyMs: number, connection: Connection, result: LoadResult, broke: (why: string) => Promise<void> | undefined): Promise<(() => Promise<void>) | undefined> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, {
      headers: { host },
      handshakeTimeout: answerMs,
      createConnection: ((options: { host: string; port: number }) => {
        const made = connect({ host: options.host, port: options.port });
        connection.of(made);
        return made;
      }) as never,
    });
    const { promise: ended, resolve: tellEnded } = Promise.withResolvers<void>();
    let over = false;
    let isEnding = false;
    let next: NodeJS.Timeout | undefined;
    let overdue: NodeJS.Timeout | undefined;
    const end = (why?: string) => {
      if (over) return;
      over = true;
      clearTimeout(next);
      clearTimeout(overdue);
      socket.terminate();
      const successor = why === undefined ? undefined : broke(why);
      tellEnded();
      if (successor === undefined) resolve(() => ended);
      else void successor.then(() => resolve(undefined));
    };
    const ping = () => {
      overdue = setTimeout(() => end(`no answer to a ping within ${answerMs} ms`), answerMs);
      next = undefined;
      socket.ping("there?");
    };
    socket.on("open", () => {
      ping();
      resolve(() => {
        isEnding = true;
        // One more, now: whoever is open must still answer.
        if (!over && next !== undefined) {
          clearTimeout(next);
          ping();
        }
        return ended;
      });
    });
    socket.on("pong", () => {
      clearTimeout(overdue);
      next = undefined;
      result.pings++;
      if (isEnding) end();
      else next = setTimeout(ping, everyMs);
    });
    socket.on("error", (error) => end(error.message));
    socket.on("close", (code) => end(`closed with ${code}`));
  });
}
