import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { connect, type Socket } from "node:net";
import type { EdgeListener, HttpFilter } from "../../../api/traffic.ts";
import { bindHandle } from "../../../base/handles.ts";
import { silentLog } from "../../../base/log.ts";
import { systemRandom } from "../../../base/random.ts";
import { dial } from "../../dial.ts";
import { Engine } from "../../http/engine.ts";
import { Client } from "../../http/testing/gateway.ts";
import { ServiceTable } from "../../service-table.ts";
import { Connections } from "../../tcp-service.ts";
import { port, snapshot } from "../../testing/network.ts";
import { Edge } from "../edge.ts";

export interface EdgeWorld extends AsyncDisposable {
  edge: Edge;
  engine: Engine;
  port: number;
  /** Lines of the access log. */
  lines: Record<string, unknown>[];
  /** What the program was asked. */
  asked: IncomingMessage[];
  open(): Promise<Client>;
}

/** One listener on a port of loopback, and a program behind it that tells what it was asked as JSON, unless `program` answers. */
export async function startEdge(listener: Partial<EdgeListener>, { filters = [], program }: { filters?: HttpFilter[]; program?: RequestListener } = {}): Promise<EdgeWorld> {
  const asked: IncomingMessage[] = [];
  const told: RequestListener = (request, response) => {
    asked.push(request);
    if (program) return program(request, response);
    request.resume().on("end", () => response.setHeader("content-type", "application/json").end(JSON.stringify({ url: request.url, headers: request.headers, raw: request.rawHeaders })));
  };
  const server = createServer(told).listen(0, "127.0.0.1");
  await once(server, "listening");
  const lines: Record<string, unknown>[] = [];
  const engine = new Engine({ accessLog: (text) => lines.push(...text.toString().trim().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)) });
  const bound = bindHandle("127.0.0.1", 0);
  const { handle } = bound;
  if (!handle) throw new Error(bound.code);
  const table = new ServiceTable(snapshot(1, { name: "web", clusterIPs: [], ports: [port(80, [{ ip: "127.0.0.1", port: (server.address() as { port: number }).port }])] }), systemRandom);
  const edge = new Edge(
    { table, dial, connections: new Connections(10, dial), random: systemRandom, log: silentLog, engine },
    {
      revision: 1,
      listeners: [{ id: "l", address: "127.0.0.1", port: bound.port, protocol: "HTTP", ...listener }],
      upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1" }],
      routes: [{ id: "HTTPRoute/default/web", type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], rules: [{ name: "", matches: [{ path: { type: "prefix", value: "/" } }], filters, backends: [{ upstream: "default/web/80", weight: 1 }] }] }],
    },
  );
  handle.onconnection = (status, client) => void (status === 0 && edge.accept(client, "127.0.0.1", bound.port));
  handle.listen(16);
  const sockets: Socket[] = [];
  return {
    edge,
    engine,
    port: bound.port,
    lines,
    asked,
    async open() {
      const socket = connect({ port: bound.port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true }).on("error", () => {});
      sockets.push(socket);
      await once(socket, "connect");
      return new Client(socket);
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      edge.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => handle.close(resolve));
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
