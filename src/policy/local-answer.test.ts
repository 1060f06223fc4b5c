import assert from "node:assert/strict";
import { test } from "node:test";
import { flags } from "./flags.ts";
import { localAnswer } from "./local-answer.ts";
import { requestView } from "./testing/request.ts";

test("a browser gets the status and a line of text", () => {
  assert.deepEqual(localAnswer(requestView({}), "UH", "shop/cart/80 has no endpoint"), {
    status: 503,
    headers: [["content-type", "text/plain; charset=utf-8"]],
    body: "shop/cart/80 has no endpoint\n",
    flag: "UH",
    reason: "shop/cart/80 has no endpoint",
  });
});

test("a gRPC client gets its status where it looks for it", () => {
  for (const [type, grpc] of [["application/grpc", true], ["application/grpc+proto", true], ["application/grpc; x=y", true], ["application/grpc-web", false], ["text/plain", false]] as const) {
    const answer = localAnswer(requestView({ headers: { "content-type": type } }), "UH", "no endpoint: 100 %");
    assert.equal(answer.status, grpc ? 200 : 503, type);
    if (grpc) assert.deepEqual(answer.headers, [["content-type", "application/grpc"], ["grpc-status", "14"], ["grpc-message", "no endpoint%3A 100 %25"]]);
  }
});

test("each flag says what it means in a sentence, and has a status that HTTP knows", () => {
  for (const [flag, { status, meaning }] of Object.entries(flags)) {
    assert.match(flag, /^[A-Z]{2,4}$/);
    assert.match(meaning, /^[A-Z].*\.$/);
    assert.ok(status === 0 || (status >= 200 && status <= 599), flag);
  }
});
