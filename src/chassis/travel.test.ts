import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { currentContext, remainingMs, timeoutHeader } from "./context.ts";
import { createGrpcClient, createGrpcServer, loadProto } from "./grpc.ts";
import { createHttpClient } from "./http-client.ts";
import { createJsonRpcClient, serveJsonRpc } from "./json-rpc.ts";
import { testService, type TestService } from "./testing.ts";

/**
 * What travels with a piece of work from service to service, whatever they speak:
 *
 *   who asks ── HTTP ──▶ front ── gRPC ──▶ stock ── JSON-RPC ──▶ ledger
 */
const proto = `
  syntax = "proto3";
  package shop.v1;
  message Query { string id = 1; }
  message Item { string id = 1; string note = 2; }
  service Stock {
    rpc Take (Query) returns (Item);
    rpc List (Query) returns (stream Item);
  }`;

interface Hop {
  left: number | undefined;
  traceId: string;
}

async function chain(t: TestContext, write: (signal: AbortSignal) => unknown) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-travel-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "stock.proto"), proto);
  const { Stock } = await loadProto(join(folder, "stock.proto"), "shop.v1");
  const hops: Hop[] = [];
  const passed = () => void hops.push({ left: remainingMs(), traceId: currentContext()!.trace.traceId });

  const ledger = await testService(({ app }) => {
    serveJsonRpc(app, "/rpc", {
      write: () => {
        passed();
        return write(currentContext()!.signal!);
      },
    });
  }, { name: "ledger" });
  t.after(() => ledger.stop());

  let port = 0;
  const stock = await testService(async (service) => {
    const rpc = createJsonRpcClient(createHttpClient({ url: ledger.url, name: "ledger", timeoutMs: 60_000, service }), "/rpc");
    const server = await createGrpcServer({ service });
    server.add(Stock!, {
      async Take({ id }: { id: string }) {
        passed();
        return { id, note: await rpc.call<string>("write", { id }) };
      },
      List(call: { write(item: object): void; end(): void }) {
        call.write({ id: "a" });
        call.end();
      },
    });
    port = await server.listen(0, "127.0.0.1");
  }, { name: "stock" });
  t.after(() => stock.stop());

  const front = await testService(async (service) => {
    const client = await createGrpcClient(Stock!, { address: `127.0.0.1:${port}`, timeoutMs: 60_000, service });
    service.app.get("/take/:id", async (request) => {
      passed();
      return await client.call("Take", { id: (request.params as { id: string }).id });
    });
    service.app.get("/list", async () => {
      const items: unknown[] = [];
      for await (const item of client.stream("List", {})) items.push(item);
      return items;
    });
  }, { name: "front" });
  t.after(() => front.stop());
  return { front, stock, ledger, hops };
}

/** Each as "kind name", from the outermost: each is below the one before, in one trace. */
async function spanChain(services: TestService[], traceId: string): Promise<string[]> {
  await Promise.all(services.map(({ service }) => service.tracer.flush()));
  const spans = services.flatMap(({ spans }) => spans).filter(({ trace }) => trace.traceId === traceId);
  const names: string[] = [];
  for (let parent = callerSpan; ; ) {
    const next = spans.filter(({ parentSpanId }) => parentSpanId === parent);
    if (next.length === 0) return names;
    assert.equal(next.length, 1);
    names.push(`${next[0]!.kind} ${next[0]!.name}${next[0]!.error === undefined ? "" : " failed"}`);
    parent = next[0]!.trace.spanId;
  }
}
const callerSpan = "b7ad6b7169203331";
const traceparent = (traceId: string) => `00-${traceId}-${callerSpan}-01`;
const [first, second, third] = ["0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736", "7d3efb1b173fecfa0b2c7e1f0a5c7d11"] as const;

test("a deadline and a trace go from HTTP through gRPC to JSON-RPC, and each hop is told as spans", { timeout: 60_000 }, async (t) => {
  const { front, stock, ledger, hops } = await chain(t, () => "written");
  const answer = await fetch(`${front.url}/take/7`, { headers: { traceparent: traceparent(first), [timeoutHeader]: "30000" } });
  assert.deepEqual([answer.status, await answer.json()], [200, { id: "7", note: "written" }]);
  assert.deepEqual(hops.map(({ traceId }) => traceId), [first, first, first]);
  const left = hops.map((hop) => hop.left!);
  assert.ok(left.every((ms, i) => ms > 0 && ms <= (left[i - 1] ?? 30_000) + 1), `of 30 s there is less left at each: ${left.join(", ")}`);
  assert.deepEqual(await spanChain([front, stock, ledger], first), ["server GET /take/:id", "client shop.v1.Stock/Take", "server shop.v1.Stock/Take", "client POST", "server POST /rpc"]);
  const { attributes } = stock.spans.find(({ name }) => name === "shop.v1.Stock/Take")!;
  assert.deepEqual(attributes, { "rpc.system": "grpc", "rpc.service": "shop.v1.Stock", "rpc.method": "Take", "rpc.grpc.status_code": 0 });

  const listed = await fetch(`${front.url}/list`, { headers: { traceparent: traceparent(third) } });
  assert.deepEqual(await listed.json(), [{ id: "a", note: "" }]);
  assert.deepEqual(await spanChain([front, stock, ledger], third), ["server GET /list", "client shop.v1.Stock/List", "server shop.v1.Stock/List"]);
  assert.equal(stock.metric('grpc_server_handled_total{service="stock",grpc_service="shop.v1.Stock",grpc_method="List",grpc_code="OK"}'), 1);
});

test("where the time is over, who works last hears it, and who asked gets 504", { timeout: 60_000 }, async (t) => {
  const ended = Promise.withResolvers<unknown>();
  let isSlow = false;
  const { front, stock, ledger } = await chain(t, (signal) => isSlow && new Promise((_, reject) => signal.addEventListener("abort", () => (ended.resolve(signal.reason), reject(signal.reason as Error)))));
  // All connections are there already, so that what is left of the time is enough to get to the last.
  await (await fetch(`${front.url}/take/7`)).text();
  isSlow = true;
  const answer = await fetch(`${front.url}/take/7`, { headers: { traceparent: traceparent(second), [timeoutHeader]: "2000" } });
  assert.equal(answer.status, 504, await answer.text());
  assert.match(String(await ended.promise), /deadline|went away|gave up/);
  // The last of them tells its span when it has heard.
  const told = async () => await spanChain([front, stock, ledger], second);
  let spans = await told();
  while (spans.length < 5) {
    await new Promise((resolve) => setImmediate(resolve));
    spans = await told();
  }
  // Of the server either its own deadline or the client's cancelling comes first, and the latter is no failure of its.
  assert.deepEqual(spans.slice(0, 2), ["server GET /take/:id failed", "client shop.v1.Stock/Take failed"]);
  assert.match(spans[2]!, /^server shop\.v1\.Stock\/Take/);
});
