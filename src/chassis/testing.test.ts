import assert from "node:assert/strict";
import { test } from "node:test";
import { currentContext } from "./context.ts";
import { FakeClock, testService } from "./testing.ts";

test("the test kit: asked without a socket and with one, lines, spans and metrics at hand", { timeout: 30_000 }, async () => {
  const clock = new FakeClock();
  let rounds = 0;
  const until = async (is: () => boolean) => {
    while (!is()) await new Promise((resolve) => setImmediate(resolve));
  };
  await using kit = await testService(
    ({ app, log }) => {
      app.get("/greet/:name", async (request) => {
        log.info("greeting");
        return { hello: (request.params as { name: string }).name, trace: currentContext()?.trace.traceId };
      });
      app.post("/echo", async (request) => request.body);
    },
    { name: "greeter", clock },
  );
  kit.service.loop("tick", 60_000, () => void rounds++);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const answer = await kit.get("/greet/anna", { traceparent });
  assert.deepEqual([answer.status, answer.json], [200, { hello: "anna", trace: "0af7651916cd43dd8448eb211c80319c" }]);
  assert.deepEqual((await kit.post("/echo", { a: [1] })).json, { a: [1] });
  assert.equal((await kit.get("/none")).status, 404);
  assert.equal(await (await fetch(`${kit.url}/greet/bert`)).json().then((body) => (body as { hello: string }).hello), "bert");
  // The answer is there before its end is told.
  await until(() => kit.metric('http_requests_total{service="greeter",method="GET",route="/greet/:name",status="200"}') === 2);
  assert.ok(kit.lines.some(({ msg, trace_id: id }) => msg === "greeting" && id === "0af7651916cd43dd8448eb211c80319c"));
  await until(() => rounds === 1 && clock.nextDueMs() !== undefined);
  clock.advance(60_000);
  await until(() => rounds === 2);
  await kit.service.tracer.flush();
  assert.ok(kit.spans.some(({ name }) => name === "GET /greet/:name"));
});
