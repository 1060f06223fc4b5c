import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { cpuShares, cpuWeight } from "./cgroups.ts";
import { probeIsolation } from "./probe.ts";
import { containerSpec, SandboxHarness } from "./testing.ts";

const isRoot = process.getuid?.() === 0;
const possible = await probeIsolation(isRoot);

test("a request is a weight: shares of kubelet, weights of runc", () => {
  for (const [millis, shares, weight] of [[0, 2, 1], [1, 2, 1], [100, 102, 17], [250, 256, 35], [1000, 1024, 100], [4000, 4096, 303], [1_000_000, 262_144, 10_000]] as const) {
    assert.deepEqual([cpuShares(millis), cpuWeight(cpuShares(millis))], [shares, weight], `${millis}m`);
  }
});

const v1 = "/sys/fs/cgroup/cpu";
for (const [isolation, impossible] of [["isolated", possible.tools ? false : possible.finding.message], ["plain", false]] as const) {
  test(`two containers that fight for CPU get it by what they asked for: ${isolation}`, { skip: impossible || (isRoot && existsSync(v1) ? false : "needs a writable cpu control group"), timeout: 20_000 }, async () => {
    await using harness = await SandboxHarness.start({ isolation });
    const pod = await harness.pod();
    const burn = (name: string, cpuRequestMillis: number) => pod.startContainer(containerSpec(["/usr/bin/python3", "-c", "import os\nos.sched_setaffinity(0, {0})\nwhile True: pass"], { name, limits: { cpuRequestMillis } }));
    const [much, little] = [await burn("much", 800), await burn("little", 50)];
    const sharesOf = (name: string) => readdirSync(v1, { withFileTypes: true }).filter((entry) => entry.name.startsWith("wherry-")).flatMap((entry) => readdirSync(join(v1, entry.name)).filter((group) => group.includes(`.${name}.`)).map((group) => readFileSync(join(v1, entry.name, group, "cpu.shares"), "latin1").trim()));
    if (isolation === "isolated") assert.ok(sharesOf("little").includes("102") && sharesOf("much").includes("819"), "while it starts it has a tenth of a core's at least");
    for (const container of [much, little]) container.applyCpuLimit();
    if (isolation === "isolated") assert.ok(sharesOf("little").includes("51") && sharesOf("much").includes("819"));
    const [a, b] = [await much.usage(), await little.usage()];
    await new Promise((resolve) => setTimeout(resolve, 800));
    const [c, d] = [await much.usage(), await little.usage()];
    const ratio = (c.cpuNs - a.cpuNs) / (d.cpuNs - b.cpuNs);
    assert.ok(ratio > 3, `16 to 1 was asked for, it was ${ratio.toFixed(1)} to 1`);
    little.setLimits({ cpuRequestMillis: 800 });
    if (isolation === "isolated") assert.ok(!sharesOf("little").includes("51"), "another request, another weight");
    for (const container of [much, little]) container.signal("SIGKILL");
  });
}
