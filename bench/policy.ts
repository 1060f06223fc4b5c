import type { HttpFilter, HttpRoute } from "../src/api/traffic.ts";
import { systemRandom } from "../src/base/random.ts";
import type { Exchange, Outcome, RequestView } from "../src/policy/exchange.ts";
import { RouteTable } from "../src/policy/route-table.ts";
import { SessionNames } from "../src/policy/session-token.ts";
import type { TryResult } from "../src/policy/upstream.ts";
import { createUpstreamPolicy } from "../src/policy/upstream-policy.ts";
import { median, print } from "./measure.ts";

/**
 * What does the policy cost a request: route, filters, endpoint, and what its answer teaches? And what does a change of a
 * route cost? At 10 and at 5,000 routes on one host name, which should make no difference; beside a search from the first
 * route to the last, which is what a table without an index would do.
 */
const rounds = 9;
const tools = { random: systemRandom, nowMs: () => performance.now(), setTimer: () => ({ cancel() {} }) };
const headers: HttpFilter[] = [
  { type: "requestHeaders", set: [{ name: "x-env", value: "bench" }], remove: ["x-debug"] },
  { type: "responseHeaders", add: [{ name: "x-by", value: "bench" }] },
  { type: "rewrite", path: { type: "prefix", value: "/" } },
];
const route = (n: number, filters: HttpFilter[], isExpression = false): HttpRoute => ({
  id: `HTTPRoute/bench/${n}`,
  type: "http",
  createdAt: n,
  attachments: [{ listener: "l", hostnames: ["api.example.com"] }],
  rules: [{ name: "", matches: [{ path: isExpression ? { type: "regex", value: `^/team-${n % 50}/service-${n}(/|$)(.*)`, partial: true, ignoreCase: true } : { type: "prefix", value: `/team-${n % 50}/service-${n}` } }], filters, backends: [{ upstream: "u", weight: 1 }] }],
});
const requestTo = (path: string): RequestView => ({ method: "GET", scheme: "http", host: "api.example.com", port: 80, path, query: "", client: "192.0.2.1", header: () => undefined });
const answered: TryResult = { type: "answered", status: 200, latencyMs: 1 };
const outcome: Outcome = { forward() {}, answer: () => undefined };
const exchangeOf = (request: RequestView, match: HttpRoute["rules"][number]["matches"][number]): Exchange => ({
  request, host: undefined, target: undefined, query: undefined, caller: undefined, requestHeaders: undefined, responseHeaders: undefined, upstream: undefined, mirrors: undefined, bodyBytesMax: undefined, match, captures: undefined, onResponse() {}, onEnd() {}, readBody() {}, replaceBody() {}, hold: () => true, takeAnswer() {},
});

/** Nanoseconds of processor time a call, the middle of several rounds: other work on the machine counts for little. */
function cost(call: (i: number) => void, calls: number): number {
  for (let i = 0; i < calls; i++) call(i);
  return median(
    Array.from({ length: rounds }, () => {
      const before = process.threadCpuUsage();
      for (let i = 0; i < calls; i++) call(i);
      const { user, system } = process.threadCpuUsage(before);
      return ((user + system) * 1000) / calls;
    }),
  );
}

export async function run(): Promise<void> {
  const rows: string[][] = [];
  const row = (what: string, costs: number[], digits = 0) => rows.push([what, ...costs.map((ns) => ns.toFixed(digits)), ...costs.map((ns) => Math.round(1e9 / ns).toLocaleString("en"))]);
  const counts = [10, 5_000];
  const tables = counts.map((count) => tableOf(count, []));
  // A request has its own strings, as from a socket: what a hash of them costs is a part of it.
  const pathOf = (i: number, count: number) => ["/team-", (i % count) % 50, "/service-", i % count, "/users/7"].join("");
  const requests = counts.map((count) => Array.from({ length: 50_000 }, (_, i) => requestTo(pathOf(i * 7, count))));
  const upstream = createUpstreamPolicy({ id: "u", namespace: "bench", service: "u", port: 80, protocol: "http1" }, { ...tools, sessions: new SessionNames("0".repeat(32)) });
  upstream.update(Array.from({ length: 10 }, (_, i) => ({ ip: `10.0.0.${i}`, port: 80, key: `10.0.0.${i}:80` })));

  const serve = (table: RouteTable, request: RequestView) => {
    const found = table.find("l", request);
    const { rule } = found;
    if (!rule) throw new Error(`nothing found for ${request.path}`);
    if (rule.handler) rule.handler(exchangeOf(request, found.match), outcome);
    else if (rule.choose(request).error) throw new Error("no backend");
    const picked = upstream.pick(request);
    if (!picked.endpoint) throw new Error(picked.reason);
    picked.done(answered);
  };
  row("route, endpoint, result; no filters", tables.map((table, t) => cost((i) => serve(table, requests[t]![i]!), 50_000)));
  const filtered = counts.map((count) => tableOf(count, headers));
  row("the same with three filters", filtered.map((table, t) => cost((i) => serve(table, requests[t]![i]!), 50_000)));
  row("the route alone", tables.map((table, t) => cost((i) => void table.find("l", requests[t]![i]!), 50_000)));
  const linear = counts.map((count) => Array.from({ length: count }, (_, n) => route(n, []).rules[0]!.matches[0]!.path.value));
  row("the route by looking at each", linear.map((paths, t) => cost((i) => void paths.find((path) => requests[t]![i]!.path.startsWith(path)), t === 0 ? 50_000 : 500)));
  const expressions = counts.map((count) => tableOf(count, [], true));
  row("the route by regular expression", expressions.map((table, t) => cost((i) => void table.find("l", requests[t]![i]!), 20_000)));
  row("a route put, seen, and removed", tables.map((table, t) => cost((i) => {
    const n = counts[t]! + (i % 1000);
    table.put(route(n, headers));
    if (!table.find("l", requestTo(`/team-${n % 50}/service-${n}/x`)).rule) throw new Error("not seen");
    table.remove(`HTTPRoute/bench/${n}`);
  }, 2_000)));
  print(["", ...counts.map((count) => `ns, ${count} routes`), ...counts.map((count) => `a second, ${count}`)], rows);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const kept = tableOf(5_000, headers);
  globalThis.gc?.();
  process.stdout.write(`5,000 routes with three filters: ${((process.memoryUsage().heapUsed - before) / 1e6).toFixed(1)} MB of heap${globalThis.gc ? "" : " (no collection forced; node --expose-gc for that)"}, ${kept.size} routes\n`);
}

function tableOf(count: number, filters: HttpFilter[], areExpressions = false): RouteTable {
  const table = new RouteTable(tools);
  for (let n = 0; n < count; n++) table.put(route(n, filters, areExpressions));
  return table;
}
