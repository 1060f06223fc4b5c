import assert from "node:assert/strict";
import { test } from "node:test";
import { isTracedByAnother } from "./trace.ts";

test("beside another tracing agent we do not trace", () => {
  const cases: [options: string | undefined, execArgv: string[], expected: boolean][] = [
    [undefined, [], false],
    ["--require /run/wherry/preload.cjs --max-old-space-size=200", [], false],
    ["--require dd-trace/init", [], true],
    ["--require @opentelemetry/auto-instrumentations-node/register", [], true],
    [undefined, ["--import", "@sentry/node/preload"], true],
    [undefined, ["-r", "newrelic"], true],
    [undefined, ["-r", "elastic-apm-node/start"], true],
  ];
  for (const [options, execArgv, expected] of cases) assert.equal(isTracedByAnother({ ...(options !== undefined && { NODE_OPTIONS: options }) }, execArgv), expected, `${options} ${execArgv.join(" ")}`);
});
