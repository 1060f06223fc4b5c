import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../tools/bundle-preload.mjs";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { examples } from "../scenarios/stack.ts";

/** Seed 004's canary, 90 to 10, as callers of two languages meet it: within two points over 4,000 requests, however they are sent. */
const skip = process.env["WHERRY_CONFORMANCE"] ? false : "set WHERRY_CONFORMANCE=1 to run it";
const requests = 4_000;
const wanted = { v1: 0.9, v2: 0.1 };
const tolerance = 0.02;
const patienceMs = 60_000;

const script = (name: string): string => readFileSync(join(import.meta.dirname, "canary", name), "utf8");
const program = `require("node:http").createServer((request, response) => response.end(process.env.VERSION)).listen(8080)`;
const callers = {
  "Node": { image: "node:26", labels: {}, command: ["node", "--input-type=module", "-e", script("ask.mjs")] },
  "Node, meshed": { image: "node:26", labels: { "wherry.dev/mesh": "direct" }, command: ["node", "--input-type=module", "-e", script("ask.mjs")] },
  "Python": { image: "python:3", labels: {}, command: ["python3", "-c", script("ask.py")] },
};
const podOf = (caller: string): string => caller.toLowerCase().replace(", ", "-");

test("a canary's weights over 4,000 requests from Node and from Python", { skip, timeout: 900_000 }, async (t) => {
  if (!needs(t, "kubectl", "python3")) return;
  await bundlePreload();
  await using wherry = await startWherry({ test: t });
  const { client } = wherry;
  for (const [version, replicas] of [["v1", 2], ["v2", 1]] as const) {
    const labels = { app: "go-app", version };
    await client.create(resources.deployments, "default", {
      metadata: { name: `go-app-${version}` },
      spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers: [{ name: "go-app", image: "node:26", command: ["node", "-e", program], env: [{ name: "VERSION", value: version }], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] } } },
    });
  }
  await client.create(resources.services, "default", { metadata: { name: "go-app" }, spec: { selector: { app: "go-app" }, ports: [{ port: 80, targetPort: 8080 }] } });
  for (const [caller, { image, labels }] of Object.entries(callers)) {
    await client.create(resources.pods, "default", { metadata: { name: podOf(caller), labels }, spec: { containers: [{ name: "caller", image, command: ["sleep", "100000"] }], terminationGracePeriodSeconds: 0 } });
  }
  const run = async (...args: string[]): Promise<string> => {
    const { stdout, stderr, code } = await wherry.kubectl(...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  for (const name of ["go-app-v1", "go-app-v2"]) await run("rollout", "status", `deployment/${name}`, "--timeout=100s");
  await run("wait", "--for=condition=Ready", "pod", "--all", "--timeout=100s");
  await run("apply", "-f", join(examples, "go-app/k8s/canary.yaml"));
  const count = async (caller: keyof typeof callers, times: number, atOnce: number, connections: string): Promise<Record<string, number>> =>
    JSON.parse(await run("exec", podOf(caller), "--", ...callers[caller].command, String(times), String(atOnce), connections)) as Record<string, number>;
  await eventually(async () => (await count("Node", 10, 1, "kept"))["v2"] === 1, patienceMs);

  for (const caller of Object.keys(callers) as (keyof typeof callers)[]) {
    for (const connections of ["kept", "new"]) {
      for (const atOnce of [1, 16]) {
        await t.test(`${caller}, ${connections} connections, ${atOnce} at a time`, async (t) => {
          const counts = await count(caller, requests, atOnce, connections);
          t.diagnostic(JSON.stringify(counts));
          assert.deepEqual(Object.keys(counts).sort(), Object.keys(wanted), "nothing fails, and nobody else answers");
          assert.equal(counts["v1"]! + counts["v2"]!, requests);
          for (const [version, share] of Object.entries(wanted)) assert.ok(Math.abs(counts[version]! / requests - share) <= tolerance, `${version}: ${counts[version]} of ${requests}`);
        });
      }
    }
  }
});
