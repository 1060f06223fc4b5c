import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";

/** What a program behind the gateway was asked. */
export interface Seen {
  service: string;
  method: string;
  target: string;
  /** As they came, in their order. */
  headers: [name: string, value: string][];
  body: string;
}

/**
 * Programs behind one gateway. They answer as the query asks: `status=503`, `h=Name:value` (any number), `b=text`, `n=1000` (so long a
 * text), `fail=2&key=k` (the first two times with `status`, or 503), `hang=1` (never). "auth" judges by Authorization: "allow" is let
 * through with headers, "status=NNN" is answered so, and all else with 403.
 */
export class Backends {
  readonly seen: Seen[] = [];
  readonly #ports = new Map<string, number>();
  readonly #servers: ReturnType<typeof createServer>[] = [];
  readonly #failed = new Map<string, number>();

  async portOf(service: string): Promise<number> {
    const known = this.#ports.get(service);
    if (known !== undefined) return known;
    const server = createServer((request, response) => {
      void buffer(request).then((body) => {
        const headers = Array.from({ length: request.rawHeaders.length / 2 }, (_, i): [string, string] => [request.rawHeaders[2 * i]!, request.rawHeaders[2 * i + 1]!]);
        this.seen.push({ service, method: request.method!, target: request.url!, headers, body: body.length > 200 ? `${body.length} bytes` : body.toString() });
        if (service === "auth") judge(request, response);
        else this.#answer(request, response);
      }, () => {});
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#servers.push(server);
    const { port } = server.address() as { port: number };
    this.#ports.set(service, port);
    return port;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const query = new URLSearchParams(request.url!.split("?")[1] ?? "");
    if (query.has("hang")) return;
    let status = Number(query.get("status") ?? 200);
    const key = query.get("key");
    if (key !== null) {
      const failed = this.#failed.get(key) ?? 0;
      this.#failed.set(key, failed + 1);
      status = failed < Number(query.get("fail")) ? Number(query.get("status") ?? 503) : 200;
    }
    for (const header of query.getAll("h")) response.appendHeader(header.slice(0, header.indexOf(":")), header.slice(header.indexOf(":") + 1));
    if (!response.hasHeader("content-type")) response.setHeader("content-type", "text/plain");
    response.writeHead(status).end(query.has("n") ? "x".repeat(Number(query.get("n"))) : (query.get("b") ?? "echo"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }
}

function judge(request: IncomingMessage, response: ServerResponse): void {
  const word = request.headers.authorization ?? "";
  const [, status] = /status=(\d+)/.exec(word) ?? [];
  if (word.includes("allow")) response.setHeader("x-user", "ann").setHeader("x-secret", "s3").setHeader("x-set", "by-auth").appendHeader("set-cookie", "seen=1").writeHead(200).end("yes");
  else response.setHeader("x-why", "not-you").setHeader("content-type", "text/plain").appendHeader("www-authenticate", "Bearer").writeHead(Number(status ?? 403)).end("denied by auth");
}
