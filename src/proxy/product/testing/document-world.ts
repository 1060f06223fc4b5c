import { once } from "node:events";
import { createServer, request as requestHttp, type IncomingMessage } from "node:http";
import { buffer, text } from "node:stream/consumers";
import { keyOf } from "../../../api/informer.ts";
import type { KubeObject } from "../../../api/meta.ts";
import type { EdgeBinding } from "../../../api/network.ts";
import type { ApiObject } from "../../../api/product/kinds.ts";
import type { EdgeListener } from "../../../api/traffic.ts";
import { bindHandle } from "../../../base/handles.ts";
import { systemRandom } from "../../../base/random.ts";
import type { FilterTools } from "../../../policy/exchange.ts";
import { RouteTable } from "../../../policy/route-table.ts";
import { routeOn } from "../../edge/http-port.ts";
import { LoopbackAddresses } from "../../gateway/addresses.ts";
import { Translator } from "../../gateway/translate.ts";
import { ObjectWorld } from "../../gateway/world.ts";
import { defaultBounds, Engine } from "../../http/engine.ts";
import { TurnPolicy } from "../../http/testing/gateway.ts";
import { planOf } from "../plan.ts";

/** What a program behind the gateway was asked. */
export interface Seen {
  service: string;
  method: string;
  target: string;
  headers: IncomingMessage["headers"];
  body: string;
}
/** What programs answer to a method and path, without query; others are answered with what was asked. */
export interface Prepared {
  method: string;
  path: string;
  status: number;
  headers: [name: string, value: string][];
  body: string;
}

/** Programs behind a gateway. */
export class Programs {
  readonly seen: Seen[] = [];
  prepared: readonly Prepared[] = [];
  readonly #ports = new Map<string, number>();
  readonly #servers: ReturnType<typeof createServer>[] = [];

  async portOf(service: string): Promise<number> {
    const known = this.#ports.get(service);
    if (known !== undefined) return known;
    const server = createServer((request, response) => {
      void text(request).then((body) => {
        const asked: Seen = { service, method: request.method!, target: request.url!, headers: request.headers, body };
        const { status, headers, body: answer } = this.prepared.find(({ method, path }) => method === asked.method && path === asked.target.split("?")[0]) ?? { status: 200, headers: [["content-type", "application/json"]], body: JSON.stringify({ service, method: asked.method, target: asked.target, body }) };
        // A status of 0: it never answers, and whether it was asked in time is nobody's to say.
        if (status === 0) return;
        this.seen.push(asked);
        for (const [name, value] of headers) response.appendHeader(name, value);
        response.writeHead(status).end(answer);
        // Whoever asked may be gone before all of his body is here.
      }, () => {});
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#servers.push(server);
    const { port } = server.address() as { port: number };
    this.#ports.set(service, port);
    return port;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
}

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

export interface DocumentWorld extends AsyncDisposable {
  port: number;
  /** Why there is nothing of it. */
  problem: string | undefined;
  /** Of operations that are answered with 500, by the method and path that refuse them. */
  refused: string[];
  lines: Record<string, unknown>[];
}

/** The API in front of the programs, by the machine's clock unless another is given: keeper, translator, route table and engine are those that serve. */
export async function serveDocument(api: ApiObject, others: readonly KubeObject[], programs: Pick<Programs, "portOf">, clock: Partial<Pick<FilterTools, "nowMs" | "dateMs">> = {}): Promise<DocumentWorld> {
  const world = new ObjectWorld([api, ...others]);
  const translator = new Translator(world, new FreeAddresses());
  for (const object of [api, ...others]) translator.changed(object.kind, keyOf(object));
  translator.flush();
  const { deploy, routes, status } = planOf({ api, document: { value: api.spec.document! }, deployments: [], routes: [], parents: new Map(), urlOf: () => undefined });
  for (const draft of [...(deploy ? [deploy] : []), ...routes]) {
    const object = { ...draft, metadata: { ...draft.metadata, uid: draft.metadata.name, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" } } as unknown as KubeObject;
    world.put(object);
    translator.changed(object.kind, keyOf(object));
  }
  translator.flush();
  const snapshot = translator.snapshot();
  const lines: Record<string, unknown>[] = [];
  const engine = new Engine({ accessLog: (log) => lines.push(...log.toString().trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)) });
  const table = new RouteTable({ random: systemRandom, nowMs: () => performance.now(), dateMs: () => 0, setTimer: (ms, go) => timer(ms, go), sessionKey: "0123456789abcdef0123456789abcdef", call: (request, then) => engine.call(request, then), ...clock });
  const refused: string[] = [];
  for (const route of snapshot.routes) {
    if (route.type !== "http") continue;
    table.put(route);
    for (const rule of route.rules) for (const { error } of rule.backends) if (error) refused.push(error.reason);
  }
  for (const { id, service } of snapshot.upstreams) {
    const policy = new TurnPolicy();
    policy.update([{ ip: "127.0.0.1", port: await programs.portOf(service), key: service }]);
    engine.putUpstream({ id, http2: false, connectMs: 5_000, idleMs: 30_000 }, policy);
  }
  const bound = bindHandle("127.0.0.1", 0);
  const { handle } = bound;
  if (!handle) throw new Error(bound.code);
  const listener = snapshot.listeners[0]!.id;
  handle.onconnection = (code, client) => void (code === 0 && engine.accept(client, { id: listener, port: bound.port, scheme: "http", trusted: false, bounds: defaultBounds, route: (request) => routeOn(table, listener, request) }));
  handle.listen(16);
  const [accepted] = status.conditions;
  return {
    port: bound.port,
    problem: accepted!.status === "True" ? undefined : accepted!.message,
    refused,
    lines,
    async [Symbol.asyncDispose]() {
      engine.close();
      await new Promise<void>((resolve) => handle.close(resolve));
    },
  };
}

function timer(ms: number, go: () => void): { cancel(): void } {
  const running = setTimeout(go, ms).unref();
  return { cancel: () => clearTimeout(running) };
}

export interface Answer {
  status: number;
  headers: IncomingMessage["headers"];
  body: Buffer;
}

export async function ask(port: number, { method, target, headers, body }: { method: string; target: string; headers: [name: string, value: string][]; body: string | undefined }): Promise<Answer> {
  const given = [...(headers.some(([name]) => name.toLowerCase() === "host") ? [] : [["host", "api.example.com"] as [string, string]]), ...headers, ...(body === undefined ? [] : [["content-length", String(Buffer.byteLength(body))] as [string, string]])];
  const asked = requestHttp({ host: "127.0.0.1", port, method, path: target, agent: false, headers: given.flat() });
  asked.end(body);
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, headers: answer.headers, body: await buffer(answer) };
}
