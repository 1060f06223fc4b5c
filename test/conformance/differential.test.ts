import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { startApi } from "../harness-api.ts";
import { Driver, type Finding } from "./differential/driver.ts";
import { acceptedDocuments, compareDocuments } from "./differential/documents.ts";
import { sequence } from "./differential/generate.ts";
import { hasOracle, startOracle } from "./differential/oracle.ts";
import { world, worldReady } from "./differential/world.ts";

/**
 * The same requests to Wherry and to the real kube-apiserver: generated objects made, read, changed in every way,
 * spoilt and deleted. Fixed seeds, and some of the day; every difference that `known.ts` does not name fails.
 */
const sequencesMin = 150;
const requestsMin = 2000;
const dayMs = 24 * 3600 * 1000;
const why = !process.env["WHERRY_CONFORMANCE"] ? "set WHERRY_CONFORMANCE=1 to compare with the real kube-apiserver" : hasOracle() ? false : "the real kube-apiserver is not built: node tools/build-oracle.mjs";

test("the API answers as the real kube-apiserver does", { skip: why, timeout: 1_200_000 }, async (context) => {
  await using oracle = await startOracle();
  await using api = await startApi();
  using driver = new Driver({ url: api.url, ca: api.pki.ca, ...api.pki.admin }, { url: oracle.url, ca: readFileSync(oracle.certificate, "utf8"), headers: { authorization: "Bearer oracle" } });
  await driver.prepare(world, worldReady);
  const ofTheDay = 1_000_000 + Math.floor(Date.now() / dayMs) * 1000;
  context.diagnostic(`seeds 1… and, of this day, ${ofTheDay}…`);
  const found: Finding[] = [];
  let sequences = 0;
  for (; sequences < sequencesMin || driver.sent < requestsMin; sequences++) {
    const isOfTheDay = sequences % 5 === 4;
    const seed = isOfTheDay ? ofTheDay + sequences : sequences + 1;
    const finding = await driver.run(sequence(seed));
    if (finding) found.push(finding);
  }
  context.diagnostic(`${driver.sent} requests in ${sequences} sequences: ${found.length} with a difference that is not known`);
  assert.equal(found.length, 0, `${found.map(report).join("\n\n")}\n\nTo see them again: node test/conformance/differential/main.ts --full --seeds ${found.map(({ sequence: { seed } }) => seed).join(",")}\n(a seed is good for as long as the schemas that it draws from are the same)`);
});

/** What is needed to see a difference: the requests, the last as small as it goes, and where the answers differ. */
function report({ sequence: { seed, kind }, requests, differences }: Finding): string {
  const asked = requests.map(({ method, path, contentType = "", body }) => `  ${method} ${path} ${contentType} ${JSON.stringify(body ?? "")}`);
  const places = differences.slice(0, 3).map(({ at, ours, theirs }) => `  ${at}\n    ours   ${JSON.stringify(ours)}\n    theirs ${JSON.stringify(theirs)}`);
  return [`seed ${seed}: ${kind}`, ...asked, ...places].join("\n");
}

test("discovery, table columns and OpenAPI v3 say what the real kube-apiserver says", { skip: why, timeout: 300_000 }, async (context) => {
  // Served here without being asked for.
  await using oracle = await startOracle({ args: ["--runtime-config", "admissionregistration.k8s.io/v1beta1=true,certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,ClusterTrustBundleProjection=true,PodCertificateRequest=true"] });
  await using api = await startApi();
  const { compared, differences } = await compareDocuments(api.http(), oracle.client);
  context.diagnostic(`${compared.resources} resources, ${compared.columns} columns, ${compared.fields} fields of schemas, ${compared.operations} operations`);
  assert.ok(compared.resources > 100 && compared.fields > 3000, "there was something to compare");
  assert.deepEqual(differences.filter((line) => !acceptedDocuments.some(({ is }) => is.test(line))), []);
});
