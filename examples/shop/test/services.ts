import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "./postgres.ts";

const root = dirname(import.meta.dirname);

export interface Service {
  url: string;
  process: ChildProcess;
  log(): string;
  /** Memory in MB: all that is resident, and the part of it that is not pages of files, shared with every Node. */
  memory(): { resident: number; anonymous: number };
  stop(): Promise<{ code: number | null }>;
}

/** Starts a service as its Dockerfile does, on a free loopback port. Resolves at once; see `ready`. */
export async function startService(name: string, env: Record<string, string>): Promise<Service> {
  const port = await freePort();
  const [, ...args] = JSON.parse(/^CMD (.*)$/m.exec(readFileSync(join(root, name === "gateway" ? "Dockerfile.gateway" : "Dockerfile.service"), "utf8"))![1]!) as string[];
  const child = spawn(process.execPath, args, { cwd: join(root, "cmd", name), env: { PATH: process.env["PATH"], HOST: "127.0.0.1", PORT: String(port), ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => void (log += chunk.toString()));
  return {
    url: `http://127.0.0.1:${port}`,
    process: child,
    log: () => log,
    memory() {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const megabytes = (field: string) => Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024);
      return { resident: megabytes("VmRSS"), anonymous: megabytes("RssAnon") };
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, "exit");
        child.kill("SIGTERM");
        await gone;
      }
      return { code: child.exitCode };
    },
  };
}

/** Asks until the answer is as wanted; the last answer is in the error otherwise. */
export async function until<T>(ask: () => Promise<T>, wanted: (answer: T) => boolean, withinMs = 20_000): Promise<T> {
  const end = performance.now() + withinMs;
  let last: unknown;
  while (performance.now() < end) {
    try {
      const answer = await ask();
      if (wanted(answer)) return answer;
      last = answer;
    } catch (error) {
      last = (error as Error).message;
    }
    await delay(20);
  }
  throw new Error(`not within ${withinMs} ms; last: ${JSON.stringify(last)}`);
}

export interface Answer {
  status: number;
  headers: Headers;
  // oxlint-disable-next-line no-explicit-any
  body: any;
}

export async function call(method: string, url: string, body?: unknown, { token, key }: { token?: string; key?: string } = {}): Promise<Answer> {
  const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(key !== undefined && { "idempotency-key": key }) };
  const response = await fetch(url, { method, headers, ...(body !== undefined && { body: JSON.stringify(body) }) });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text };
}
export const get = (url: string, token?: string): Promise<Answer> => call("GET", url, undefined, token === undefined ? {} : { token });
export const ready = (service: Service): Promise<Answer> => until(() => get(`${service.url}/ready`), ({ status }) => status === 200);
