import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../../harness.ts";
import { find, needs } from "../../needs.ts";
import { goClient } from "./build.ts";

const version = "v1.5.7";

/**
 * The provider comes from Terraform's registry, as for everybody, or is a program that is there already: in `.cache/clients`,
 * or named by WHERRY_TERRAFORM_PROVIDER.
 */
test(`Terraform ${version} with its kubernetes provider: applied, nothing left to do, changed, destroyed`, { timeout: 900_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building Terraform takes minutes: npm run conformance");
  if (!needs(t, "python3", "go")) return;
  const program = goClient("terraform", `github.com/hashicorp/terraform@${version}`);
  if (!program) return t.skip("Terraform could not be built here");
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "terraform");
  cpSync(join(import.meta.dirname, "terraform"), folder, { recursive: true });
  const provider = process.env["WHERRY_TERRAFORM_PROVIDER"] ?? find(".cache/clients/terraform-provider-kubernetes");
  const config = join(folder, "cli.tfrc");
  writeFileSync(config, provider ? `provider_installation {\n  dev_overrides { "hashicorp/kubernetes" = "${dirname(provider)}" }\n  direct {}\n}\n` : "");
  const env = { ...wherry.env, KUBE_CONFIG_PATH: wherry.kubeconfig, TF_CLI_CONFIG_FILE: config, TF_IN_AUTOMATION: "1", CHECKPOINT_DISABLE: "1" };
  const terraform = (...args: string[]) =>
    new Promise<{ code: number; output: string }>((resolve) => {
      execFile(program, args, { cwd: folder, env, timeout: 180_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, output: stdout + stderr }));
    });
  if (!provider && (await terraform("init", "-no-color")).code !== 0) return t.skip("the provider could not be had: Terraform's registry is not reached");

  const planned = async (...args: string[]) => terraform("plan", "-no-color", "-input=false", "-detailed-exitcode", ...args);
  const applied = await terraform("apply", "-auto-approve", "-no-color", "-input=false");
  assert.equal(applied.code, 0, applied.output);
  assert.match(applied.output, /Apply complete! Resources: 11 added, 0 changed, 0 destroyed\./);
  assert.match(applied.output, /namespaces = true/);
  const again = await planned();
  assert.equal(again.code, 0, again.output);
  assert.match(again.output, /No changes\. Your infrastructure matches the configuration\./);

  const more = await planned("-var=replicas=3");
  assert.equal(more.code, 2, more.output);
  assert.match(more.output, /Plan: 0 to add, 1 to change, 0 to destroy\./);
  const changed = await terraform("apply", "-auto-approve", "-no-color", "-input=false", "-var=replicas=3");
  assert.equal(changed.code, 0, changed.output);
  assert.equal((await wherry.kubectl("get", "deployment", "web", "-n", "terraformed", "-o", "jsonpath={.status.readyReplicas}")).stdout, "3");

  // What somebody else changed is seen, and put back.
  await wherry.kubectl("patch", "configmap", "page", "-n", "terraformed", "-p", '{"data":{"index.html":"drifted"}}');
  const drifted = await planned("-var=replicas=3");
  assert.equal(drifted.code, 2, drifted.output);
  assert.match(drifted.output, /kubernetes_config_map_v1\.page will be updated in-place/);

  const destroyed = await terraform("destroy", "-auto-approve", "-no-color", "-input=false");
  assert.equal(destroyed.code, 0, destroyed.output);
  assert.match(destroyed.output, /Destroy complete! Resources: 11 destroyed\./);
  assert.match((await wherry.kubectl("get", "namespace", "terraformed")).stderr, /NotFound/);
});
