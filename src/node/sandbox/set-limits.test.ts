import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { probeIsolation } from "./probe.ts";
import { containerSpec, said, SandboxHarness } from "./testing.ts";

const isRoot = process.getuid?.() === 0;
const possible = await probeIsolation(isRoot);
const modes = [["isolated", possible.tools ? false : possible.finding.message], ["plain", false]] as const;
/** Takes as much memory as each line it reads says, and says so. */
const taker = ["/usr/bin/python3", "-uc", "import sys\nkept = []\nprint('ready')\nfor line in sys.stdin:\n    kept.append(bytearray(int(line)))\n    print('took', line, end='')"];

for (const [isolation, skip] of modes) {
  for (const cgroups of isRoot ? [undefined, false] : [false]) {
    test(`memory is limited anew while a program runs: ${isolation}, ${cgroups === false ? "watched" : "by control group"}`, { skip }, async () => {
      await using harness = await SandboxHarness.start({ isolation, ...(cgroups === false && { cgroups }) });
      const container = await (await harness.pod()).startContainer(containerSpec(taker, { limits: { memoryBytes: 60e6 }, stdin: true }));
      await said(container.stdout, "ready");
      container.setLimits({ memoryBytes: 200e6 });
      container.stdin!.write("100000000\n");
      await said(container.stdout, "took 100000000");
      container.setLimits({ memoryBytes: 130e6 });
      container.stdin!.write("100000000\n");
      const exit = await container.exited;
      assert.deepEqual([exit.exitCode, exit.oomKilled], [137, true]);
      container.setLimits({ memoryBytes: 300e6 });
    });
  }
  test(`the CPU quota that has begun changes at once: ${isolation}`, { skip: skip || (isRoot && existsSync("/sys/fs/cgroup/cpu") ? false : "needs a writable cpu control group") }, async () => {
    await using harness = await SandboxHarness.start({ isolation });
    const container = await (await harness.pod()).startContainer(containerSpec(["/usr/bin/python3", "-c", "while True: pass"], { limits: { cpuMillis: 100 } }));
    const share = async () => {
      const [before, startMs] = [await container.usage(), performance.now()];
      await new Promise((resolve) => setTimeout(resolve, 700));
      const [after, endMs] = [await container.usage(), performance.now()];
      return (after.cpuNs - before.cpuNs) / 1e6 / (endMs - startMs);
    };
    container.setLimits({ cpuMillis: 50 });
    container.applyCpuLimit();
    await share();
    const little = await share();
    container.setLimits({ cpuMillis: 100_000 });
    const much = await share();
    assert.ok(little < 0.2 && much > 2 * little, `${little} then ${much} of a core`);
    container.signal("SIGKILL");
  });
}
