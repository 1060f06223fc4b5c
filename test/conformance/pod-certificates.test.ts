import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startApi } from "../harness-api.ts";
import { hasOracle, startOracle } from "./differential/oracle.ts";
import { answers } from "./pod-certificates/cases.ts";

const file = join(import.meta.dirname, "pod-certificates", "answers.txt");
const why = !process.env["WHERRY_CONFORMANCE"] ? "a real kube-apiserver is started for it: npm run conformance" : hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";

test("PodCertificateRequests and ClusterTrustBundles are judged as answers.txt says", async () => {
  await using api = await startApi();
  assert.equal(await answers(api.http()), readFileSync(file, "utf8"));
});

test("answers.txt is what the real kube-apiserver says", { skip: why, timeout: 120_000 }, async () => {
  await using oracle = await startOracle({ args: ["--runtime-config", "certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,ClusterTrustBundleProjection=true,PodCertificateRequest=true"] });
  const said = await answers(oracle.client);
  if (process.env["RECORD"]) writeFileSync(file, said);
  assert.equal(said, readFileSync(file, "utf8"));
});
