import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { currentContext, remainingMs, runInContext } from "./context.ts";
import { createGrpcClient, createGrpcServer, type GrpcClientOptions, type GrpcMethods, loadProto } from "./grpc.ts";
import { healthDefinition } from "./grpc-health.ts";
import { loadGrpc } from "./grpc-load.ts";
import { Problem } from "./problem.ts";
import { createService, type Service } from "./service.ts";

const proto = `
  syntax = "proto3";
  package shop.v1;
  message Query { string id = 1; }
  message Item { string id = 1; string note = 2; }
  service Stock {
    rpc Get (Query) returns (Item) { option idempotency_level = NO_SIDE_EFFECTS; }
    rpc Take (Query) returns (Item);
    rpc List (Query) returns (stream Item);
  }`;

async function started(t: TestContext, methods: Partial<GrpcMethods>, options: Partial<GrpcClientOptions> = {}) {
  const folder = mkdtempSync(join(tmpdir(), "wherry-grpc-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, "stock.proto"), proto);
  const { Stock } = await loadProto(join(folder, "stock.proto"), "shop.v1");
  const service: Service = createService({ name: "stock", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { level: "silent" } });
  t.after(() => service.stop());
  const server = await createGrpcServer({ service });
  server.add(Stock!, { Get: async () => ({}), Take: async () => ({}), List: (call) => call.end(), ...(methods as GrpcMethods) });
  const port = await server.listen(0, "127.0.0.1");
  await service.start();
  const address = `127.0.0.1:${port}`;
  const client = await createGrpcClient(Stock!, { address, ...options });
  t.after(() => client.close());
  const { loader } = await loadGrpc();
  const health = await createGrpcClient(healthDefinition(loader), { address });
  t.after(() => health.close());
  return { service, server, client, health };
}

test("a call and its answer, a stream, and metrics by method and code", async (t) => {
  const { client, service } = await started(t, {
    Get: async ({ id }: { id: string }) => ({ id, note: "here" }),
    List: (call) => {
      for (const id of ["a", "b"]) call.write({ id });
      call.end();
    },
    Take: async () => {
      throw new Problem(409, "sold out");
    },
  });
  assert.deepEqual(await client.call("Get", { id: "7" }), { id: "7", note: "here" });
  const items: string[] = [];
  for await (const item of client.stream<{ id: string }>("List", {})) items.push((item as { id: string }).id);
  assert.deepEqual(items, ["a", "b"]);
  await assert.rejects(client.call("Take", {}), { code: 10, details: "sold out" });
  const metrics = service.metrics.render();
  assert.match(metrics, /grpc_server_handled_total\{service="stock",grpc_service="shop\.v1\.Stock",grpc_method="Get",grpc_code="OK"\} 1\n/);
  assert.match(metrics, /grpc_method="Take",grpc_code="ABORTED"\} 1\n/);
});

test("an error that is not for others says nothing of itself", async (t) => {
  const { client } = await started(t, { Take: () => Promise.reject(new Error("password of the database")) });
  await assert.rejects(client.call("Take", {}), { code: 13, details: "internal error" });
});

test("trace and deadline go with the call, and its end reaches the method", { timeout: 60_000 }, async (t) => {
  const seen = Promise.withResolvers<{ trace: string; left: number; tracestate: string | undefined }>();
  const ended = Promise.withResolvers<void>();
  const { client } = await started(t, {
    Take: (_request, call: { signal: AbortSignal }) => {
      seen.resolve({ trace: currentContext()!.trace.traceId, left: remainingMs()!, tracestate: currentContext()!.trace.tracestate });
      return new Promise((resolve) => call.signal.addEventListener("abort", () => (ended.resolve(), resolve({}))));
    },
    Get: () => new Promise(() => {}),
  });
  const trace = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", sampled: true, tracestate: "a=1" };
  const stop = new AbortController();
  const call = runInContext({ trace, deadlineMs: performance.now() + 30_000, signal: stop.signal }, () => client.call("Take", {}, { timeoutMs: 60_000 }));
  const { left, ...rest } = await seen.promise;
  stop.abort();
  await assert.rejects(call, { code: 1 });
  await ended.promise;
  assert.deepEqual(rest, { trace: trace.traceId, tracestate: "a=1" });
  assert.ok(left > 0 && left <= 30_000, String(left));
  await assert.rejects(client.call("Get", {}, { timeoutMs: 50 }), { code: 4 });
  await assert.rejects(runInContext({ trace, deadlineMs: performance.now() + 50 }, () => client.call("Get", {})), { code: 4 });
});

test("only what its proto file calls idempotent is tried again", async (t) => {
  const asked: Record<string, number> = { Get: 0, Take: 0 };
  const { grpc } = await loadGrpc();
  const flaky = (name: string) => async () => {
    if (asked[name]!++ === 0) throw Object.assign(new Error("later"), { code: grpc.status.UNAVAILABLE });
    return { id: name };
  };
  const { client } = await started(t, { Get: flaky("Get"), Take: flaky("Take") });
  assert.equal((await client.call<{ id: string }>("Get", {})).id, "Get");
  await assert.rejects(client.call("Take", {}), { code: 14, details: "later" });
  assert.deepEqual(asked, { Get: 2, Take: 1 });
});

test("the circuit opens on failures of the server, and not on its refusals", async (t) => {
  let asked = 0;
  let code = 5;
  const { client } = await started(t, { Take: async () => { asked++; throw Object.assign(new Error("no"), { code }); } }, { circuit: { consecutiveFailures: 3, openMs: 60_000 } });
  for (let i = 0; i < 5; i++) await assert.rejects(client.call("Take", {}), { code: 5 });
  code = 14;
  for (let i = 0; i < 3; i++) await assert.rejects(client.call("Take", {}), { code: 14 });
  await assert.rejects(client.call("Take", {}), { name: "CallError", code: "circuit_open" });
  assert.equal(asked, 8);
});

test("health by grpc.health.v1: the whole, one service, none; watched to the end", async (t) => {
  const { health, server, service } = await started(t, {});
  const check = async (name: string) => (await health.call<{ status: string }>("Check", { service: name })).status;
  assert.deepEqual([await check(""), await check("shop.v1.Stock")], ["SERVING", "SERVING"]);
  await assert.rejects(check("shop.v1.Other"), { code: 5 });
  server.setServing("shop.v1.Stock", "NOT_SERVING");
  assert.deepEqual([await check(""), await check("shop.v1.Stock")], ["SERVING", "NOT_SERVING"]);
  const statuses: string[] = [];
  const first = Promise.withResolvers<void>();
  const watch = health.stream<{ status: string }>("Watch", { service: "" });
  watch.on("data", ({ status }: { status: string }) => (statuses.push(status), first.resolve()));
  const ended = new Promise((resolve) => watch.on("end", resolve));
  watch.on("error", () => {});
  await first.promise;
  await service.stop();
  await ended;
  assert.deepEqual(statuses, ["SERVING", "NOT_SERVING"]);
});

test("the end waits for the call under way", async (t) => {
  const begun = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const { client, service } = await started(t, { Take: async () => (begun.resolve(), await release.promise, { id: "done" }) });
  const call = client.call<{ id: string }>("Take", {});
  await begun.promise;
  const stopped = service.stop();
  release.resolve();
  assert.equal((await call).id, "done");
  await stopped;
});
