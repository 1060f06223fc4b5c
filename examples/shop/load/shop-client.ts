import { randomUUID } from "node:crypto";
import http, { type IncomingHttpHeaders } from "node:http";
import https from "node:https";
import type { LookupFunction } from "node:net";

/** One line of the ledger: an order that the shop said it has. */
export interface Acknowledged {
  user_id: string;
  key: string;
  order_id: string;
}

export interface Answer {
  status: number;
  // oxlint-disable-next-line no-explicit-any
  body: any;
  headers: IncomingHttpHeaders;
}

const agents = { http: new http.Agent({ keepAlive: true }), https: new https.Agent({ keepAlive: true }) };
/** Names below localhost are this machine, which browsers and curl know, and not every resolver. Source: RFC 6761 §6.3. */
const loopback: LookupFunction = (_name, options, done) => (options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4));

interface Asked {
  body?: unknown;
  token?: string | undefined;
  key?: string;
  /** Statuses that are right here; any other is a failure of the shop. */
  expect: readonly number[];
  /** From when it is counted: when it should have been sent. */
  dueMs?: number;
  timeoutMs?: number;
}

/** Asks the shop, and keeps count: how long each operation took, what came back, and from which pod. */
export class ShopClient {
  readonly url: string;
  readonly operations = new Map<string, { ms: number[]; statuses: Map<string, number> }>();
  readonly pods = new Map<string, number>();
  readonly failures: string[] = [];
  failureCount = 0;
  readonly ledger: Acknowledged[] = [];

  constructor(url: string) {
    this.url = url.replace(/\/$/, "");
  }

  async ask(operation: string, method: string, path: string, asked: Asked): Promise<Answer> {
    const { body, token, key, expect, dueMs = performance.now(), timeoutMs = 15_000 } = asked;
    const answer = await this.#send(method, path, { body, token, key, timeoutMs }).catch((error: Error) => error);
    const status = answer instanceof Error ? (signalled(answer) ? "given up" : ((answer as { code?: string }).code ?? answer.name)) : answer.status;
    this.count(operation, String(status), performance.now() - dueMs);
    if (!(answer instanceof Error)) {
      const pod = answer.headers["x-instance-id"];
      if (typeof pod === "string") this.pods.set(pod, (this.pods.get(pod) ?? 0) + 1);
      if (!expect.includes(answer.status)) this.fail(`${operation}: ${method} ${path} answers ${answer.status}: ${JSON.stringify(answer.body).slice(0, 200)}`);
      return answer;
    }
    if (!expect.includes(0)) this.fail(`${operation}: ${method} ${path}: ${answer.message} (${status})`);
    return { status: 0, body: undefined, headers: {} };
  }

  async #send(method: string, path: string, { body, token, key, timeoutMs }: { body: unknown; token: string | undefined; key: string | undefined; timeoutMs: number }): Promise<Answer> {
    const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(key !== undefined && { "idempotency-key": `"${key}"` }) };
    const url = new URL(this.url + path);
    const lib = url.protocol === "https:" ? https : http;
    const signal = AbortSignal.timeout(timeoutMs);
    return await new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
      const outgoing = lib.request(url, { method, headers: { ...headers, ...(payload !== undefined && { "content-length": Buffer.byteLength(payload) }) }, agent: url.protocol === "https:" ? agents.https : agents.http, signal, ...(url.hostname.endsWith(".localhost") && { lookup: loopback }) }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          const isJson = String(response.headers["content-type"]).includes("json");
          try {
            resolve({ status: response.statusCode!, headers: response.headers, body: isJson ? JSON.parse(text) : text });
          } catch (error) {
            reject(error as Error);
          }
        });
      });
      outgoing.on("error", reject);
      outgoing.end(payload);
    });
  }

  count(operation: string, status: string, ms: number): void {
    let one = this.operations.get(operation);
    if (!one) this.operations.set(operation, (one = { ms: [], statuses: new Map() }));
    one.ms.push(ms);
    one.statuses.set(status, (one.statuses.get(status) ?? 0) + 1);
  }
  fail(text: string): void {
    this.failureCount++;
    if (this.failures.length < 20) this.failures.push(text);
  }
}

const signalled = ({ name }: Error): boolean => name === "AbortError" || name === "TimeoutError";

export interface Customer {
  id: string;
  username: string;
  password: string;
  token: string;
}

/** Joins and logs in, as often as it takes within `patienceMs`. */
export async function join(shop: ShopClient, patienceMs = 10_000): Promise<Customer> {
  const giveUpMs = performance.now() + patienceMs;
  const [username, password] = [`load-${randomUUID()}`, randomUUID()];
  const patiently = async (operation: string, path: string, body: object, wanted: readonly number[]): Promise<Answer> => {
    for (let attempt = 1; ; attempt++) {
      const answer = await shop.ask(operation, "POST", path, { body, expect: [...wanted, 0, 503, 504], timeoutMs: 60_000 });
      if (wanted.includes(answer.status)) return answer;
      if (performance.now() > giveUpMs) throw new Error(answer.status === 0 ? `${shop.url} cannot be reached` : `${operation}: ${answer.status} ${JSON.stringify(answer.body)}`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, 200 * attempt)));
    }
  };
  // A try that was answered by nobody may have been done.
  await patiently("join", "/users", { username, email: `${username}@example.com`, password }, [201, 409]);
  const { body } = await patiently("log in", "/users/login", { username, password }, [200]);
  return { id: body.user.id, username, password, token: body.access_token };
}
