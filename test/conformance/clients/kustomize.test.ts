import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { hasKubectl, startApi } from "../../harness-api.ts";
import { needs } from "../../needs.ts";
import { goClient } from "./build.ts";

const version = "v5.7.1";
const overlay = join(import.meta.dirname, "..", "kubectl-verbs", "files", "kustomize", "overlay");

test(`kustomize ${version}: an overlay with generators, patches and images, applied and nothing left to change`, { timeout: 600_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building kustomize takes a minute: npm run conformance");
  if (!needs(t, "go") || !(await hasKubectl(t, "1.33"))) return;
  const program = goClient("kustomize", `sigs.k8s.io/kustomize/kustomize/v5@${version}`);
  if (!program) return t.skip("kustomize could not be built here");
  const run = promisify(execFile);
  const { stdout: built } = await run(program, ["build", overlay]);
  await using server = await startApi();
  assert.equal((await server.kubectl("1.33", ["kustomize", overlay])).stdout, built, "kubectl's own kustomize builds the same");
  const apply = await server.kubectl("1.33", ["apply", "-f", "-"], { input: built });
  assert.match(apply.stdout, /^configmap\/big-settings-\w+ created\ndeployment\.apps\/big-painter created\n$/, apply.stderr);
  const diff = await server.kubectl("1.33", ["diff", "-f", "-"], { input: built });
  assert.deepEqual([diff.stdout, diff.code], ["", 0]);
  const served = await server.kubectl("1.33", ["apply", "--server-side", "--force-conflicts", "-f", "-"], { input: built });
  assert.equal(served.code, 0, served.stderr);
  const settings = JSON.parse((await server.kubectl("1.33", ["get", "deployment", "big-painter", "-o", "jsonpath={.spec}"])).stdout) as { replicas: number; template: { spec: { containers: { image: string; command: string[]; envFrom: { configMapRef: { name: string } }[] }[] } } };
  const [container] = settings.template.spec.containers;
  assert.deepEqual([settings.replicas, container!.image, container!.command], [3, "painter:2", ["paint"]]);
  const { stdout: data } = await server.kubectl("1.33", ["get", "configmap", container!.envFrom[0]!.configMapRef.name, "-o", "jsonpath={.data}"]);
  assert.deepEqual(JSON.parse(data), { colour: "red", width: "10" });
});
