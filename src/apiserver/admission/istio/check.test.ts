import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import { startApi } from "../../../../test/harness-api.ts";
import { installDefinitions } from "../../../api/definitions/definitions.ts";
import type { KubeObject } from "../../../api/meta.ts";
import { StatusError } from "../../../api/status.ts";
import { problemsOf } from "./check.ts";

interface Case {
  line: number;
  kind: string;
  spec: object;
  problems: string[];
}
const cases: Case[] = [];
for (const [i, text] of readFileSync(join(import.meta.dirname, "cases.txt"), "utf8").split("\n").entries()) {
  if (text.startsWith("-> ")) cases.at(-1)!.problems.push(text.slice(3));
  else if (/^[A-Z]/.test(text)) cases.push({ line: i + 1, kind: text.slice(0, text.indexOf(" ")), spec: load(text.slice(text.indexOf(" "))) as object, problems: [] });
}

for (const { line, kind, spec, problems } of cases) test(`cases.txt:${line}: ${kind}`, () => assert.deepEqual(problemsOf(kind, { apiVersion: "", kind, metadata: { name: "x", namespace: "shop" }, spec } as never), problems));

test("the API: what is wrong is refused as istiod's webhook does, and every version that the definitions serve is the same object", async () => {
  await using server = await startApi();
  const { client } = server;
  await installDefinitions(client);
  const of = (version: string) => ({ group: "networking.istio.io", version, resource: "virtualservices" });
  const virtualService = (name: string, http: unknown) => ({ metadata: { name }, spec: { hosts: ["web"], http } });
  const good = [{ route: [{ destination: { host: "web" } }] }];
  await client.create(of("v1alpha3"), "default", virtualService("web", good));
  for (const version of ["v1", "v1beta1", "v1alpha3"]) {
    const read = await client.get<KubeObject>(of(version), "default", "web");
    assert.deepEqual([read.apiVersion, read["spec"]], [`networking.istio.io/${version}`, { hosts: ["web"], http: good }]);
  }
  const refused = (what: Promise<unknown>, message: RegExp) => assert.rejects(what, (error: StatusError) => error instanceof StatusError && message.test(error.message) || assert.fail(String(error)));
  await refused(client.create(of("v1"), "default", virtualService("bad", [{}])), /^admission webhook "validation\.istio\.io" denied the request: configuration is invalid: HTTP route, redirect or direct_response is required$/);
  await refused(client.patch(of("v1beta1"), "default", "web", { spec: { http: [{ redirect: {} }, {}] } }, { type: "merge" }), /configuration is invalid: 2 errors occurred:\n\t\* redirect must specify URI, authority, scheme, or port\n\t\* HTTP route, redirect or direct_response is required\n\n$/);
  // The schema speaks first: what is of another shape gets that far nowhere.
  await refused(client.create(of("v1"), "default", virtualService("shape", "all")), /VirtualService.*is invalid: \[spec\.http/);
  await refused(client.create(of("v1"), "default", virtualService("timeout", [{ ...good[0], timeout: "0.1ms" }])), /must be a valid duration greater than 1ms/);
});
