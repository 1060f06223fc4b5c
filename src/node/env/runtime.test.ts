import assert from "node:assert/strict";
import { test } from "node:test";
import { runtimeVariables } from "./runtime.ts";

const Mi = 2 ** 20;
const small = { memoryBytes: 128 * Mi, cpuMillis: 500 };
const large = { memoryBytes: 2048 * Mi, cpuMillis: 2500 };
const smallHeap = "--max-old-space-size=96 --max-semi-space-size=2";
const smallRam = `-XX:MaxRAM=${128 * Mi} -XX:MaxRAMPercentage=75 -XX:MinRAMPercentage=75`;

test("runtimeVariables() tells a language runtime its limits, and overrides nothing", () => {
  const cases: [why: string, argv: string, limits: { memoryBytes?: number; cpuMillis?: number }, env: Record<string, string>, expected: Record<string, string>][] = [
    ["Node", "node main.js", small, {}, { NODE_OPTIONS: smallHeap, UV_THREADPOOL_SIZE: "2" }],
    ["Node by its path, room for the young generation", "/usr/local/bin/node main.js", large, {}, { NODE_OPTIONS: "--max-old-space-size=1536", UV_THREADPOOL_SIZE: "6" }],
    ["behind a launcher and its options", "/usr/bin/tini -- node main.js", { memoryBytes: 64 * Mi }, {}, { NODE_OPTIONS: "--max-old-space-size=48 --max-semi-space-size=1" }],
    ["behind assignments", "env A=b C= npm start", { cpuMillis: 1000 }, {}, { UV_THREADPOOL_SIZE: "2" }],
    ["other options are joined", "node main.js", small, { NODE_OPTIONS: "--enable-source-maps" }, { NODE_OPTIONS: `${smallHeap} --enable-source-maps`, UV_THREADPOOL_SIZE: "2" }],
    ["a heap of the manifest's wins", "node main.js", small, { NODE_OPTIONS: "--max-old-space-size=64", UV_THREADPOOL_SIZE: "8" }, {}],
    ["however it is spelled", "node main.js", { memoryBytes: 128 * Mi }, { NODE_OPTIONS: "--max_old_space_size 64" }, {}],
    ["and by percentage", "node main.js", { memoryBytes: 128 * Mi }, { NODE_OPTIONS: "--max-old-space-size-percentage=50" }, {}],
    ["an empty value means none", "node main.js", small, { NODE_OPTIONS: "", UV_THREADPOOL_SIZE: "" }, {}],
    ["Java", "java -jar app.jar", small, {}, { JAVA_TOOL_OPTIONS: `${smallRam} -XX:ActiveProcessorCount=1` }],
    ["Java with a heap of its own", "java -jar app.jar", large, { JAVA_TOOL_OPTIONS: "-Xmx1g" }, { JAVA_TOOL_OPTIONS: "-XX:ActiveProcessorCount=3 -Xmx1g" }],
    ["Java with all said elsewhere", "java -jar app.jar", small, { JDK_JAVA_OPTIONS: "-Xmx64m -XX:ActiveProcessorCount=2" }, {}],
    ["the go command", "go run .", small, {}, { GOMEMLIMIT: "115MiB", GOMAXPROCS: "1" }],
    ["whatever it is", "/app/server", small, {}, { NODE_OPTIONS: smallHeap, UV_THREADPOOL_SIZE: "2", GOMEMLIMIT: "115MiB", GOMAXPROCS: "1", JAVA_TOOL_OPTIONS: `${smallRam} -XX:ActiveProcessorCount=1` }],
    ["a shell may start anything", "/bin/sh -c node", { cpuMillis: 2000 }, {}, { UV_THREADPOOL_SIZE: "4", GOMAXPROCS: "2", JAVA_TOOL_OPTIONS: "-XX:ActiveProcessorCount=2" }],
    ["Go as the manifest has it", "/app/server", small, { GOMAXPROCS: "2", GOMEMLIMIT: "96MiB", NODE_OPTIONS: "", UV_THREADPOOL_SIZE: "4", JAVA_TOOL_OPTIONS: "" }, {}],
    ["never more cores than the machine has", "go run .", { cpuMillis: 64_000 }, {}, { GOMAXPROCS: "4" }],
    ["no runtime at all", "redis-server --port 1", small, {}, {}],
    ["no limits", "/app/server", {}, {}, {}],
    ["a limit below everything", "go run .", { memoryBytes: 1000, cpuMillis: 1 }, {}, { GOMEMLIMIT: "1MiB", GOMAXPROCS: "1" }],
  ];
  for (const [why, argv, limits, env, expected] of cases) assert.deepEqual(runtimeVariables({ argv: argv.split(" "), env, limits, cores: 4 }), expected, why);
});
