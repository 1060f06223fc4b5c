import assert from "node:assert/strict";
import { test } from "node:test";
import { createHttpClient } from "./http-client.ts";
import { createJsonRpcClient, createJsonRpcServer, JsonRpcError, jsonRpcErrors, serveJsonRpc } from "./json-rpc.ts";
import { createService } from "./service.ts";

const heard: unknown[] = [];
const methods = {
  subtract: (params: [number, number] | { minuend: number; subtrahend: number }) => (Array.isArray(params) ? params[0] - params[1] : params.minuend - params.subtrahend),
  hear: (params: unknown) => void heard.push(params),
  nothing: () => undefined,
  check: () => {
    throw jsonRpcErrors.invalidParams({ field: "quantity" });
  },
  fail: () => {
    throw new Error("password of the database");
  },
};

// What comes in, and what goes out; "" for nothing.
const cases: [what: string, message: string, answer: string][] = [
  ["parameters by position", '{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":1}', '{"jsonrpc":"2.0","id":1,"result":19}'],
  ["parameters by name", '{"jsonrpc":"2.0","method":"subtract","params":{"subtrahend":23,"minuend":42},"id":"a"}', '{"jsonrpc":"2.0","id":"a","result":19}'],
  ["no result is null", '{"jsonrpc":"2.0","method":"nothing","id":2}', '{"jsonrpc":"2.0","id":2,"result":null}'],
  ["a notification", '{"jsonrpc":"2.0","method":"hear","params":[1]}', ""],
  ["a notification that fails", '{"jsonrpc":"2.0","method":"fail"}', ""],
  ["a notification of a method that is not there", '{"jsonrpc":"2.0","method":"none"}', ""],
  ["id null is a request", '{"jsonrpc":"2.0","method":"nothing","id":null}', '{"jsonrpc":"2.0","id":null,"result":null}'],
  ["a method that is not there", '{"jsonrpc":"2.0","method":"none","id":"1"}', '{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}'],
  ["what every object has is no method", '{"jsonrpc":"2.0","method":"constructor","id":"1"}', '{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"1"}'],
  ["no JSON", '{"jsonrpc":"2.0","method":"foobar,"params":"bar","baz]', '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"},"id":null}'],
  ["a method that is no name", '{"jsonrpc":"2.0","method":1,"params":[]}', '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}'],
  ["parameters that are no structure", '{"jsonrpc":"2.0","method":"subtract","params":"bar","id":4}', '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":4}'],
  ["version 1", '{"method":"nothing","id":1}', '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":1}'],
  ["an error with data", '{"jsonrpc":"2.0","method":"check","id":3}', '{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":{"field":"quantity"}},"id":3}'],
  ["an error that is not for others", '{"jsonrpc":"2.0","method":"fail","id":3}', '{"jsonrpc":"2.0","error":{"code":-32603,"message":"Internal error"},"id":3}'],
  ["an empty batch", "[]", '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}'],
  ["a batch of nonsense", "[1,2]", '[{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null}]'],
  ["a batch of all sorts", '[{"jsonrpc":"2.0","method":"subtract","params":[3,1],"id":"1"},{"jsonrpc":"2.0","method":"hear"},{"foo":"boo"},{"jsonrpc":"2.0","method":"none","id":"5"}]', '[{"jsonrpc":"2.0","id":"1","result":2},{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request"},"id":null},{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":"5"}]'],
  ["a batch of notifications", '[{"jsonrpc":"2.0","method":"hear"},{"jsonrpc":"2.0","method":"hear"}]', ""],
];
for (const [what, message, answer] of cases) {
  test(`JSON-RPC server: ${what}`, async () => {
    assert.equal((await createJsonRpcServer(methods)(message)) ?? "", answer);
  });
}

test("a batch has a bound", async () => {
  const answer = await createJsonRpcServer(methods, { batchMax: 2 })(JSON.stringify([1, 2, 3].map((id) => ({ jsonrpc: "2.0", method: "nothing", id }))));
  assert.equal(answer, '{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"3 calls, more than 2"},"id":null}');
});

test("client and server over HTTP: calls, errors, notifications, batches", async (t) => {
  const service = createService({ name: "calculator", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { level: "silent" } });
  t.after(() => service.stop());
  serveJsonRpc(service.app, "/rpc", methods);
  await service.start();
  const http = createHttpClient({ url: service.url, name: "calculator" });
  t.after(() => http.close());
  const rpc = createJsonRpcClient(http, "/rpc");
  assert.equal(await rpc.call<number>("subtract", [42, 23]), 19);
  assert.equal(await rpc.call("subtract", { minuend: 5, subtrahend: 2 }), 3);
  await assert.rejects(rpc.call("check"), (error: JsonRpcError) => (assert.ok(error instanceof JsonRpcError), assert.deepEqual([error.code, error.data], [-32602, { field: "quantity" }]), true));
  heard.length = 0;
  await rpc.notify("hear", { of: "it" });
  assert.deepEqual(heard, [{ of: "it" }]);
  const results = await rpc.batch([{ method: "subtract", params: [2, 1] }, { method: "hear", isNotification: true }, { method: "none" }]);
  assert.deepEqual([results[0], results[1], (results[2] as JsonRpcError).code], [1, undefined, -32601]);
  assert.deepEqual(await rpc.batch([]), []);
  await assert.rejects(createJsonRpcClient(http, "/nowhere").call("subtract"), /calculator: POST \/nowhere answers 404/);
  const bad = await fetch(`${service.url}/rpc`, { method: "POST", body: "{", headers: { "content-type": "application/json" } });
  assert.deepEqual([bad.status, ((await bad.json()) as { error: { code: number } }).error.code], [200, -32700]);
});
