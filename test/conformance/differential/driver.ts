import { Agent, request as httpsRequest } from "node:https";
import { type Answer, type Difference, differences } from "./compare.ts";
import type { Request, Sequence } from "./generate.ts";
import { known } from "./known.ts";

export interface Server {
  url: string;
  /** PEM; of the oracle its own certificate. */
  ca: string;
  headers?: Record<string, string>;
  cert?: string;
  key?: string;
}
export interface Finding {
  sequence: Sequence;
  /** The request whose answers differ; those before it are what it takes. */
  requests: Request[];
  differences: Difference[];
}

/** Sends the same to both servers and compares each answer; a difference is made as small as it goes. */
export class Driver implements Disposable {
  readonly #ours: Connection;
  readonly #theirs: Connection;
  #runs = 0;
  sent = 0;

  constructor(ours: Server, theirs: Server) {
    this.#ours = new Connection(ours);
    this.#theirs = new Connection(theirs);
  }
  [Symbol.dispose](): void {
    this.#ours.close();
    this.#theirs.close();
  }

  /** Gives both what the sequences are about, and waits until both serve it. */
  async prepare(requests: readonly Request[], paths: readonly string[]): Promise<void> {
    for (const request of requests) for (const [server, { status, body }] of (await this.#both(request)).entries()) if (status !== 201) throw new Error(`${server === 0 ? "we" : "the real server"} answered ${status} to ${request.path}: ${JSON.stringify(body).slice(0, 2_000)}`);
    const deadline = performance.now() + 60_000;
    for (const path of paths) {
      for (;;) {
        const answers = await this.#both({ method: "GET", path });
        if (answers.every(({ status }) => status === 200)) break;
        if (performance.now() > deadline) throw new Error(`${path} is not served: ${answers.map(({ status }) => status).join(" and ")}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async run(sequence: Sequence): Promise<Finding | undefined> {
    const found = await this.#play(sequence.requests);
    if (!found) return undefined;
    let requests = sequence.requests.slice(0, found.index + 1);
    let { differences: last } = found;
    const same = async (candidate: Request[]) => {
      const again = await this.#play(candidate);
      if (!again || again.index !== candidate.length - 1 || !isSame(again.differences[0]!, last[0]!)) return false;
      last = again.differences;
      return true;
    };
    for (let index = requests.length - 2; index >= 0; index--) {
      const fewer = requests.filter((_, at) => at !== index);
      if (await same(fewer)) requests = fewer;
    }
    const final = requests.at(-1)!;
    for (let smaller = true, rounds = 0; smaller && rounds < 40; rounds++) {
      smaller = false;
      for (const body of shrunk(final.body)) {
        if (!(await same([...requests.slice(0, -1), { ...final, body }]))) continue;
        final.body = body;
        smaller = true;
        break;
      }
    }
    return { sequence, requests: [...requests.slice(0, -1), final], differences: last };
  }

  /** In a namespace of its own; ends at the first answer that differs in a way that is not known. */
  async #play(requests: readonly Request[]): Promise<{ index: number; differences: Difference[] } | undefined> {
    const run = `run-${process.pid}-${this.#runs++}`;
    for (const made of prelude) await this.#both(placed(made, run));
    const memories: [Memory, Memory] = [{}, {}];
    try {
      for (const [index, request] of requests.entries()) {
        const { found, diverged } = await this.#compare(request, run, memories);
        this.sent++;
        if (found.length > 0) return { index, differences: found };
        // A known difference in what is stored now would be told again and again.
        if (diverged) return undefined;
      }
      return undefined;
    } finally {
      for (const path of new Set(requests.map(({ path }) => path.split("?")[0]!).filter((path) => !path.includes("/namespaces/")))) {
        const { path: at } = placed({ method: "DELETE", path }, run);
        if (at.includes(run)) await this.#both({ method: "DELETE", path: at.replace(/\/(status|scale|nothing)$/, "") });
      }
    }
  }
  async #compare(request: Request, run: string, memories: [Memory, Memory]): Promise<{ found: Difference[]; diverged: boolean }> {
    const deadline = performance.now() + agreementMs;
    for (;;) {
      const [ours, theirs] = await this.#both(placed(request, run), memories);
      const all = differences(ours, theirs);
      const found = all.filter((difference) => !known.some((exception) => exception.is(request, difference, ours, theirs)));
      const diverged = request.method !== "GET" && (ours.status < 300 || theirs.status < 300) && all.some(({ at }) => at !== "warnings");
      if (found.length === 0 || !request.eventually || performance.now() > deadline) return { found, diverged };
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  async #both(request: Request, [ours, theirs]: [Memory, Memory] = [{}, {}]): Promise<[Answer, Answer]> {
    return Promise.all([this.#ours.ask(request, ours), this.#theirs.ask(request, theirs)]);
  }
}

/** Whether a smaller sequence still shows it: of two lists, something that only one of them names. */
function isSame(a: Difference, b: Difference): boolean {
  if (a.at !== b.at) return false;
  const marks = onlyOnce(b);
  return marks.length === 0 || onlyOnce(a).some((mark) => marks.includes(mark));
}
function onlyOnce({ ours, theirs }: Difference): string[] {
  if (!Array.isArray(ours) || !Array.isArray(theirs)) return [];
  const [left, right] = [ours, theirs].map((list) => list.map((item) => JSON.stringify(item))) as [string[], string[]];
  return [...left.filter((item) => !right.includes(item)), ...right.filter((item) => !left.includes(item))];
}

const agreementMs = 4_000;
const watchMs = 6_000;

/** What one server said, for later requests to refer to. */
interface Memory {
  first?: string;
  last?: string;
  list?: string;
  continue?: string;
}

function remembered(request: Request, memory: Memory): Request {
  const text = JSON.stringify(request);
  if (!/RV-|CONTINUE/.test(text)) return request;
  return JSON.parse(text.replaceAll("RV-FIRST", memory.first ?? "1").replaceAll("RV-LAST", memory.last ?? "1").replaceAll("RV-LIST", memory.list ?? "1").replaceAll("CONTINUE", encodeURIComponent(memory.continue ?? "none"))) as Request;
}

function remember(body: unknown, memory: Memory): void {
  const { kind, metadata } = (body ?? {}) as { kind?: string; metadata?: { resourceVersion?: string; continue?: string } };
  const { resourceVersion } = metadata ?? {};
  if (resourceVersion === undefined) return;
  if (!/List$|^Table$/.test(kind ?? "")) {
    memory.last = resourceVersion;
    memory.first ??= resourceVersion;
  } else if (metadata!.continue !== undefined || kind !== "Table") {
    memory.list = resourceVersion;
    if (metadata!.continue) memory.continue = metadata!.continue;
  }
}

const prelude: Request[] = [
  { method: "POST", path: "/api/v1/namespaces", contentType: "application/json", body: { metadata: { name: "NS" } } },
  { method: "POST", path: "/api/v1/namespaces/NS/serviceaccounts", contentType: "application/json", body: { metadata: { name: "default" } } },
];

function placed(request: Request, run: string): Request {
  return JSON.parse(JSON.stringify(request).replaceAll("NS", run)) as Request;
}

/** Bodies with one thing less, biggest first. */
function* shrunk(body: unknown, depth = 0): Generator<unknown> {
  if (typeof body !== "object" || body === null) return;
  if (Array.isArray(body)) {
    for (let index = 0; index < body.length; index++) yield body.filter((_, at) => at !== index);
    for (let index = 0; index < body.length; index++) for (const smaller of shrunk(body[index], depth + 1)) yield body.with(index, smaller);
    return;
  }
  const object = body as Record<string, unknown>;
  for (const key of Object.keys(object)) if (depth > 0 || !["apiVersion", "kind"].includes(key)) yield Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));
  for (const key of Object.keys(object)) for (const smaller of shrunk(object[key], depth + 1)) yield { ...object, [key]: smaller };
}

interface WatchEvent {
  type: string;
  object?: { metadata?: { name?: string }; rows?: { object?: { metadata?: { name?: string } } }[] };
}

class Connection {
  readonly #server: Server;
  readonly #agent: Agent;

  constructor(server: Server) {
    this.#server = server;
    this.#agent = new Agent({ keepAlive: true, maxSockets: 4, ca: server.ca, ...(server.cert && { cert: server.cert, key: server.key }) });
  }
  close(): void {
    this.#agent.destroy();
  }
  /** Asks with what this server said before in the places that refer to it. */
  async ask(request: Request, memory: Memory): Promise<Answer> {
    const own = remembered(request, memory);
    if (own.until) return this.#watch(own);
    const answer = await this.send(own);
    remember(answer.body, memory);
    return answer;
  }
  /** The events of a watch up to the object that ends it. */
  async #watch(request: Request): Promise<Answer> {
    const { path, name, body } = request.until!;
    await this.send({ method: "POST", path, body });
    return this.send({ ...request, path: request.path }, (events) => events.some(({ object }) => object?.metadata?.name === name || object?.rows?.some((row) => row.object?.metadata?.name === name)));
  }
  send({ method, path, contentType, body, accept }: Request, isEnough?: (events: WatchEvent[]) => boolean): Promise<Answer> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = { accept: accept ?? "application/json", "user-agent": "differential", ...this.#server.headers, ...(payload !== undefined && { "content-type": contentType ?? "application/json", "content-length": String(Buffer.byteLength(payload)) }) };
    return new Promise((resolve, reject) => {
      const request = httpsRequest(this.#server.url + path, { method, agent: this.#agent, headers, timeout: 30_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        const finish = () => {
          let parsed: unknown = text;
          try {
            parsed = JSON.parse(text);
          } catch {
            // A text is compared as a text.
          }
          const warnings = [response.headers["warning"] ?? []].flat().flatMap((header) => [...String(header).matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, words]) => words!));
          resolve({ status: response.statusCode!, body: parsed, warnings });
        };
        if (isEnough && response.statusCode === 200) {
          const events = (): WatchEvent[] => text.split("\n").slice(0, -1).filter(Boolean).map((line) => JSON.parse(line) as WatchEvent);
          const end = () => {
            clearTimeout(timer);
            text = JSON.stringify(events().filter(({ type }) => type !== "BOOKMARK"));
            finish();
            request.destroy();
          };
          const timer = setTimeout(end, watchMs);
          response.on("data", (chunk: string) => (text += chunk) && isEnough(events()) && end());
          response.on("end", end);
          response.on("error", () => {});
          return;
        }
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", finish);
      });
      // An idle connection may be closed by the server at the moment it is used again; one of its own, when the real server
      // panics, as it does at some tests of JSON patches.
      request.on("error", (error: NodeJS.ErrnoException) => (request.reusedSocket && error.code === "ECONNRESET" ? resolve(this.send({ method, path, body, ...(contentType !== undefined && { contentType }), ...(accept !== undefined && { accept }) }, isEnough)) : error.code === "ECONNRESET" ? resolve({ status: 500, body: "the connection was closed without an answer", warnings: [] }) : reject(error)));
      request.on("timeout", () => request.destroy(new Error(`${method} ${path}: no answer in 30 s`)));
      request.end(payload);
    });
  }
}
