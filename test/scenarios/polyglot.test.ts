import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { startWherry } from "../harness.ts";
import { find, needs } from "../needs.ts";
import { until } from "./gateway-stack.ts";
import { applyFolders, directUrl, examples } from "./stack.ts";
import { runTranscript } from "./transcript.ts";

test("examples/polyglot: plain programs in TypeScript, Python and Go get the mesh by the listener alone", { timeout: 300_000 }, async (t) => {
  if (!needs(t, "kubectl", "curl", "python3")) return;
  await using wherry = await startWherry({ test: t });
  // A copy: what Go makes is not written into the example.
  const folder = join(dirname(wherry.dataDir), "polyglot");
  cpSync(join(examples, "polyglot"), folder, { recursive: true });
  await applyFolders(wherry, [], [folder]);
  const addresses: Record<string, string> = {};
  /** Applies manifests that bring a Service, and waits until this machine has an address of it. */
  const bring = async (service: string, ...manifests: string[]) => {
    const { code, stderr } = await wherry.kubectl("apply", ...manifests.flatMap((name) => ["-f", join(folder, "k8s", name)]));
    assert.equal(code, 0, stderr);
    await until(`the address of ${service}`, () => wherry.hostAddresses().some((entry) => entry.service === service), 20_000);
    addresses[service.toUpperCase()] = directUrl(wherry, "polyglot", service);
  };
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const play = (name: string) => runTranscript(join(import.meta.dirname, `${name}.transcript`), { cwd: folder, env: wherry.env, variables: addresses, ...(process.env["STEPS"] && { onStep }) });
  await bring("desk", "namespace.yaml", "desk.yaml");
  await play("polyglot");

  await t.test("Go", { skip: !process.env["WHERRY_CONFORMANCE"] ? "compiles for a while; npm run conformance runs it" : find("go") ? false : "needs go" }, async () => {
    await promisify(execFile)(find("go")!, ["build", "-o", "bin/stock", "."], { cwd: join(folder, "stock"), env: { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false", GOTOOLCHAIN: "local" } });
    await bring("stock", "stock.yaml");
    await play("polyglot-go");
  });
});
