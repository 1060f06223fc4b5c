import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";

/** As the preload has it: one CommonJS file for Node 18 and later, which brings its own engine for regular expressions. */
const program = `
  import * as re2js from "re2js";
  import { bringRegexEngine } from "./src/policy/pattern.ts";
  import { RouteTable } from "./src/policy/route-table.ts";
  import { SessionNames } from "./src/policy/session-token.ts";
  import { createUpstreamPolicy } from "./src/policy/upstream-policy.ts";
  import { decideRetry } from "./src/policy/retry.ts";
  bringRegexEngine(re2js);
  const random = { next: () => 0.5 };
  const tools = { random, nowMs: () => performance.now(), setTimer: () => ({ cancel() {} }) };
  const table = new RouteTable(tools);
  table.put({ id: "r", type: "http", createdAt: 0, attachments: [{ listener: "l", hostnames: [""] }], rules: [{ name: "found", matches: [{ path: { type: "regex", value: "/a(.*)" } }], filters: [{ type: "rewrite", path: { type: "regex", substitution: "/b$1" } }], backends: [{ upstream: "u", weight: 1 }] }] });
  const request = { method: "GET", scheme: "http", host: "h", port: 80, path: "/a/1", query: "", client: "::1", header: () => undefined };
  const { rule, match, captures } = table.find("l", request);
  const exchange = { request, match, captures };
  rule.serve(exchange, { forward() {}, answer() {} });
  const upstream = createUpstreamPolicy({ id: exchange.upstream, namespace: "n", service: "s", port: 80, protocol: "http1", balancer: { type: "maglev", by: "address" } }, { ...tools, sessions: new SessionNames("0".repeat(32)) });
  upstream.update([{ ip: "127.0.0.1", port: 80, key: "127.0.0.1:80" }]);
  const picked = upstream.pick(request);
  picked.done({ type: "local", latencyMs: 1 });
  const decision = decideRetry({ rule: rule.rule, method: "GET", failure: { type: "connect", sent: false }, tries: 1, canRepeat: true, elapsedMs: 0, random });
  console.log(rule.rule.name, exchange.target, picked.endpoint.key, decision.retry);
`;

test("the policy runs as one file, and asks nothing of Node but a way to load modules", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-policy-"));
  try {
    const outfile = join(folder, "policy.cjs");
    const { metafile } = await build({ stdin: { contents: program, resolveDir: join(import.meta.dirname, "../.."), loader: "ts" }, outfile, bundle: true, platform: "node", target: "node18", format: "cjs", metafile: true, logLevel: "error" });
    const inputs = Object.entries(metafile.inputs);
    assert.ok(inputs.length > 30);
    const outside = inputs.flatMap(([file, { imports }]) => imports.filter(({ external }) => external).map(({ path }) => `${file}: ${path}`));
    assert.deepEqual(outside.filter((line) => builtinModules.some((name) => line.endsWith(`: node:${name}`))), ["src/base/lazy.ts: node:module"]);
    assert.deepEqual(inputs.map(([file]) => file).filter((file) => file.startsWith("src/") && !/^src\/(base|policy)\//.test(file)), [], "types alone come from elsewhere");
    assert.equal(execFileSync(process.execPath, [outfile], { encoding: "utf8" }), "found /b/1 127.0.0.1:80 true\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
