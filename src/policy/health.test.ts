import assert from "node:assert/strict";
import { test } from "node:test";
import { EndpointHealth, type Finding } from "./health.ts";

/** Findings in their order (w: well, s: silent, x: unwell), and what the endpoint is taken for after each (+ well, - not). */
const cases: { what: string; unhealthy?: number; healthy?: number; found: string; is: string }[] = [
  { what: "the first good one decides, whatever is asked for later", healthy: 3, found: "w", is: "+" },
  { what: "so does the first that fails", unhealthy: 3, found: "s", is: "-" },
  { what: "silence must last", unhealthy: 3, found: "wsssw", is: "+++-+" },
  { what: "a good one in between begins it anew", unhealthy: 2, found: "wswswss", is: "++++++-" },
  { what: "a wrong answer decides at once", unhealthy: 3, found: "wxw", is: "+-+" },
  { what: "good ones must come in a row", healthy: 3, found: "wxwwxwww", is: "+------+" },
  { what: "flapping at every check is seen at every check with thresholds of one", unhealthy: 1, found: "wxwxwsw", is: "+-+-+-+" },
];
const names: Record<string, Finding> = { w: "well", s: "silent", x: "unwell" };

for (const { what, unhealthy = 3, healthy = 1, found, is } of cases) {
  test(what, () => {
    const health = new EndpointHealth();
    assert.equal(health.isWell, undefined);
    const told = [...found].map((letter) => {
      const before = health.isWell;
      assert.equal(health.learn(names[letter]!, { unhealthyThreshold: unhealthy, healthyThreshold: healthy }), health.isWell !== before);
      return health.isWell ? "+" : "-";
    });
    assert.equal(told.join(""), is);
  });
}
