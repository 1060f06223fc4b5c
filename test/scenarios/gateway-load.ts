import { Agent, request } from "node:http";
import { Agent as SecureAgent, request as secureRequest } from "node:https";
import { WebSocket } from "ws";

export interface LoadResult {
  ok: number;
  /** What became of requests that got no 200. */
  failures: string[];
  /** Answers by their text. */
  answers: Map<string, number>;
  /** Pings that came back. */
  pings: number;
  /** WebSockets that ended, were not made, or whose ping did not come back. */
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
  pauseMs?: number;
  /** With it, over TLS, each request on a connection of its own: the server name, and the port. */
  secure?: { serverName: string; port: number; clients: number };
  sockets?: { host: string; count: number; everyMs: number };
}

const answerMs = 10_000;

/**
 * Steady requests on kept connections, and WebSockets that are pinged, until `stop`. A client never repeats a request: whatever
 * fails is counted.
 */
export async function gatewayLoad({ address, port, host, path, clients, pauseMs = 2, secure, sockets }: LoadOptions): Promise<{ result: LoadResult; stop(): Promise<LoadResult> } & AsyncDisposable> {
  const result: LoadResult = { ok: 0, failures: [], answers: new Map(), pings: 0, lost: [] };
  const stopping = new AbortController();
  const stopped = stopping.signal;
  const client = async (agent: Agent | SecureAgent, at: number): Promise<void> => {
    while (!stopped.aborted) {
      const { status, text } = await ask(agent, address, at, host, path);
      if (status === 200) {
        result.ok++;
        result.answers.set(text, (result.answers.get(text) ?? 0) + 1);
      } else result.failures.push(`${status} ${text}`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
    agent.destroy();
  };
  const open = await Promise.all(Array.from({ length: sockets?.count ?? 0 }, (_, index) => pinged(`ws://${address}:${port}/socket`, sockets!.host, sockets!.everyMs, index, result)));
  const all = Array.from({ length: clients }, () => client(new Agent({ keepAlive: true, maxSockets: 1 }), port));
  // Whose certificate it is does not matter here: that there is one does.
  for (let i = 0; i < (secure?.clients ?? 0); i++) all.push(client(new SecureAgent({ keepAlive: false, servername: secure!.serverName, rejectUnauthorized: false }), secure!.port));
  const stop = async (): Promise<LoadResult> => {
    stopping.abort();
    await Promise.all(all);
    await Promise.all(open.map((end) => end()));
    return result;
  };
  return { result, stop, [Symbol.asyncDispose]: async () => void (await stop()) };
}

/** One request; what it came to. */
export function ask(agent: Agent | SecureAgent, address: string, port: number, host: string, path: string): Promise<{ status: number | string; text: string; location?: string | undefined }> {
  return new Promise((resolve) => {
    const failed = (error: Error) => resolve({ status: (error as NodeJS.ErrnoException).code ?? "error", text: error.message });
    const asked = (agent instanceof SecureAgent ? secureRequest : request)({ agent, host: address, port, path, headers: { host }, timeout: answerMs }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text: text.trim(), location: response.headers.location }));
      response.on("error", failed);
    });
    asked.on("timeout", () => asked.destroy(new Error(`no answer within ${answerMs} ms`)));
    asked.on("error", failed);
    asked.end();
  });
}

/** Resolves when it is open, with how to end it once the last ping has come back. */
function pinged(url: string, host: string, everyMs: number, index: number, result: LoadResult): Promise<() => Promise<void>> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { headers: { host }, handshakeTimeout: answerMs });
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
      if (why !== undefined) result.lost.push(`${index}: ${why}`);
      socket.terminate();
      tellEnded();
      resolve(() => ended);
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
