import { randomUUID } from "node:crypto";

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
  headers: Headers;
}

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
    const answer = await this.#send(method, path, { body, token, key, timeoutMs }).catch((error: Error & { cause?: Error }) => error);
    const status = answer instanceof Error ? ((answer as { cause?: { code?: string } }).cause?.code ?? answer.name) : answer.status;
    this.count(operation, String(status), performance.now() - dueMs);
    if (!(answer instanceof Error)) {
      const pod = answer.headers.get("x-instance-id");
      if (pod) this.pods.set(pod, (this.pods.get(pod) ?? 0) + 1);
      if (!expect.includes(answer.status)) this.fail(`${operation}: ${method} ${path} answers ${answer.status}: ${JSON.stringify(answer.body).slice(0, 200)}`);
      return answer;
    }
    if (!expect.includes(0)) this.fail(`${operation}: ${method} ${path}: ${answer.message} (${status})`);
    return { status: 0, body: undefined, headers: new Headers() };
  }

  async #send(method: string, path: string, { body, token, key, timeoutMs }: { body: unknown; token: string | undefined; key: string | undefined; timeoutMs: number }): Promise<Answer> {
    const headers = { ...(body !== undefined && { "content-type": "application/json" }), ...(token !== undefined && { authorization: `Bearer ${token}` }), ...(key !== undefined && { "idempotency-key": `"${key}"` }) };
    const response = await fetch(`${this.url}${path}`, { method, headers, ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }), signal: AbortSignal.timeout(timeoutMs) });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text };
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

export interface Customer {
  id: string;
  username: string;
  password: string;
  token: string;
}

/** Joins and logs in, as often as it takes. */
export async function join(shop: ShopClient): Promise<Customer> {
  const [username, password] = [`load-${randomUUID()}`, randomUUID()];
  const patiently = async (operation: string, path: string, body: object, wanted: readonly number[]): Promise<Answer> => {
    for (let attempt = 1; ; attempt++) {
      const answer = await shop.ask(operation, "POST", path, { body, expect: [...wanted, 0, 503, 504], timeoutMs: 60_000 });
      if (wanted.includes(answer.status)) return answer;
      if (attempt === 10) throw new Error(`${operation}: ${answer.status} ${JSON.stringify(answer.body)}`);
      await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
    }
  };
  // A try that was answered by nobody may have been done.
  await patiently("join", "/users", { username, email: `${username}@example.com`, password }, [201, 409]);
  const { body } = await patiently("log in", "/users/login", { username, password }, [200]);
  return { id: body.user.id, username, password, token: body.access_token };
}
