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

  async run(sequence: Sequence): Promise<Finding | undefined> {
    const found = await this.#play(sequence.requests);
    if (!found) return undefined;
    let requests = sequence.requests.slice(0, found.index + 1);
    let { differences: last } = found;
    const same = async (candidate: Request[]) => {
      const again = await this.#play(candidate);
      if (!again || again.index !== candidate.length - 1 || again.differences[0]!.at !== last[0]!.at) return false;
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
    try {
      for (const [index, request] of requests.entries()) {
        const [ours, theirs] = await this.#both(placed(request, run));
        this.sent++;
        const found = differences(ours, theirs).filter((difference) => !known.some((exception) => exception.is(request, difference, ours, theirs)));
        if (found.length > 0) return { index, differences: found };
      }
      return undefined;
    } finally {
      for (const path of new Set(requests.map(({ path }) => path.split("?")[0]!).filter((path) => !path.includes("/namespaces/")))) {
        const { path: at } = placed({ method: "DELETE", path }, run);
        if (at.includes(run)) await this.#both({ method: "DELETE", path: at.replace(/\/(status|scale|nothing)$/, "") });
      }
    }
  }
  async #both(request: Request): Promise<[Answer, Answer]> {
    return Promise.all([this.#ours.send(request), this.#theirs.send(request)]);
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
  send({ method, path, contentType, body }: Request): Promise<Answer> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = { accept: "application/json", "user-agent": "differential", ...this.#server.headers, ...(payload !== undefined && { "content-type": contentType ?? "application/json", "content-length": String(Buffer.byteLength(payload)) }) };
    return new Promise((resolve, reject) => {
      const request = httpsRequest(this.#server.url + path, { method, agent: this.#agent, headers, timeout: 30_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          let parsed: unknown = text;
          try {
            parsed = JSON.parse(text);
          } catch {
            // A text is compared as a text.
          }
          const warnings = [response.headers["warning"] ?? []].flat().flatMap((header) => [...String(header).matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)].map(([, words]) => words!));
          resolve({ status: response.statusCode!, body: parsed, warnings });
        });
      });
      // An idle connection may be closed by the server at the moment it is used again.
      request.on("error", (error: NodeJS.ErrnoException) => (request.reusedSocket && error.code === "ECONNRESET" ? resolve(this.send({ method, path, body, ...(contentType !== undefined && { contentType }) })) : reject(error)));
      request.on("timeout", () => request.destroy(new Error(`${method} ${path}: no answer in 30 s`)));
      request.end(payload);
    });
  }
}
