import assert from "node:assert/strict";
import { test } from "node:test";
import type { AdmissionFilter } from "../../api/traffic-health.ts";
import { FakeClock } from "../../base/clock.ts";
import { seededRandom } from "../../base/random.ts";
import type { AnswerFilter, AnswerSink, Exchange, ResponseView } from "../exchange.ts";
import { requestView, toolsAt } from "../testing/request.ts";
import { admission } from "./admission.ts";

const base: AdmissionFilter = { type: "admission", windowMs: 30_000, successPercent: 95, aggression: 1, minPerSecond: 0, rejectionPercentMax: 80 };
const nowhere: AnswerSink = { isBlocked: false, begin() {}, content() {}, end() {}, fail() {} };
const head = (status: number, headers: Record<string, string> = {}): ResponseView => ({ status, header: (name) => headers[name] });

/** `answer`: what comes of a request that goes; the share of `requests` that do not. */
function world(config: Partial<AdmissionFilter> = {}) {
  const clock = new FakeClock();
  const handlerOf = admission({ ...base, ...config }, { ...toolsAt(clock), random: seededRandom(1) });
  const ask = (answer: number | ((look: (response: ResponseView) => AnswerSink | undefined) => void) | "left", type = "text/plain"): boolean => {
    let looked: ((response: ResponseView) => void) | undefined;
    let taken: AnswerFilter | undefined;
    const exchange = { request: requestView({ headers: { "content-type": type } }), onResponse: (look: (response: ResponseView) => void) => (looked = look), takeAnswer: (filter: AnswerFilter) => (taken = filter) } as unknown as Exchange;
    let refused = false;
    handlerOf(() => {
      if (typeof answer === "number") looked!(head(answer));
      else if (answer !== "left") answer((response) => taken!(response, nowhere, () => {}));
    })(exchange, { forward() {}, answer: (_, { flag, status }) => void ((refused = true), assert.equal(flag, "AC"), assert.ok(status === 503 || status === 200)) });
    return refused;
  };
  const share = (requests: number, answer: Parameters<typeof ask>[0], type?: string): number => Array.from({ length: requests }, () => ask(answer, type)).filter(Boolean).length / requests;
  return { clock, ask, share };
}

test("nobody is refused while enough succeed; who is refused counts for nothing", () => {
  const { share } = world();
  assert.equal(share(1_000, 200), 0);
  assert.equal(share(50, 503), 0, "950 of 1000 is enough");
});

test("the more fail, the more are refused, up to the most", () => {
  const { share } = world();
  share(400, 500);
  const refused = share(2_000, 500);
  assert.ok(refused > 0.75 && refused < 0.85, `${refused}`);
});

test("half of them fail: about as many are refused as the formula says", () => {
  const { ask } = world({ rejectionPercentMax: 100 });
  let [refused, turn] = [0, 0];
  for (let i = 0; i < 4_000; i++) if (ask(turn % 2 === 0 ? 200 : 500)) refused++; else turn++;
  // 1 - 0.5 / 0.95.
  assert.ok(refused / 4_000 > 0.42 && refused / 4_000 < 0.53, `${refused / 4_000}`);
});

test("what is forgotten is forgiven, and a trickle is let through", () => {
  const { clock, share } = world({ minPerSecond: 10 });
  assert.equal(share(299, 500), 0, "fewer than ten a second");
  assert.ok(share(200, 500) > 0.5);
  clock.advance(31_000);
  assert.equal(share(1, 200), 0);
});

test("what counts as a success can be said; who has left says nothing", () => {
  const odd = world({ statuses: [418] });
  assert.equal(odd.share(100, 418), 0);
  assert.ok(world({ statuses: [418] }).share(500, 200) > 0.5);
  assert.equal(world().share(500, "left"), 0);
  assert.equal(world().share(500, 404), 0, "an answer, though not the wished one");
});

test("gRPC: by its status, wherever that stands; a call that breaks off has failed", async (t) => {
  const grpc = "application/grpc";
  const cases: { what: string; answer: (look: (response: ResponseView) => AnswerSink | undefined) => void; isRefused: boolean; config?: Partial<AdmissionFilter> }[] = [
    { what: "OK in the trailers", answer: (look) => look(head(200))!.end([["grpc-status", "0"]]), isRefused: false },
    { what: "UNAVAILABLE in the trailers", answer: (look) => look(head(200))!.end([["grpc-status", "14"]]), isRefused: true },
    { what: "UNAVAILABLE in the head", answer: (look) => void look(head(200, { "grpc-status": "14" })), isRefused: true },
    { what: "NOT_FOUND is an answer", answer: (look) => void look(head(200, { "grpc-status": "5" })), isRefused: false },
    { what: "NOT_FOUND, where only OK is a success", answer: (look) => void look(head(200, { "grpc-status": "5" })), isRefused: true, config: { grpcStatuses: [0] } },
    { what: "no gRPC at all", answer: (look) => void look(head(502)), isRefused: true },
    { what: "without a status", answer: (look) => look(head(200))!.end(), isRefused: true },
    { what: "broken off", answer: (look) => look(head(200))!.fail("UC", "it broke"), isRefused: true },
  ];
  for (const { what, answer, isRefused, config } of cases) await t.test(what, () => assert.equal(world(config).share(500, answer, grpc) > 0.5, isRefused));
});

test("what cannot be meant is refused", () => {
  for (const wrong of [{ windowMs: 999 }, { successPercent: 0 }, { aggression: 0.5 }, { rejectionPercentMax: 101 }]) assert.throws(() => world(wrong), /must be/);
});
