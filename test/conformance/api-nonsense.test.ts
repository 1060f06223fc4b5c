import assert from "node:assert/strict";
import { request } from "node:http";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import type { Status } from "../../src/api/status.ts";
import { startApi } from "../harness-api.ts";

/** Requests that no honest client sends: each is refused with a 4xx Status, nothing is changed, nothing falls over. */
const merge = "application/merge-patch+json";
const jsonPatch = "application/json-patch+json";
const account = "/api/v1/namespaces/default/serviceaccounts/default";
const maps = "/api/v1/namespaces/default/configmaps";
const cases: [name: string, code: number, method: string, path: string, body?: string, type?: string][] = [
  ["slash in a name", 404, "GET", "/api/v1/secrets/default%2fs"],
  ["slash in a namespace", 404, "GET", "/api/v1/namespaces/default%2fs/secrets"],
  ["namespaced object without its namespace", 404, "DELETE", "/api/v1/serviceaccounts/default"],
  ["dots", 404, "GET", "/api/v1/namespaces/default/pods/.."],
  ["names of JavaScript's own", 404, "GET", "/api/v1/namespaces/__proto__/constructor"],
  ["absolute address", 404, "GET", "http://x/api/v1/pods"],
  ["null", 400, "POST", maps, "null"],
  ["string", 400, "POST", maps, '"x"'],
  ["metadata of another type", 400, "POST", maps, '{"metadata":5}'],
  ["no name", 422, "POST", maps, '{"metadata":null}'],
  ["depth", 422, "POST", maps, `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`],
  ["broken YAML", 400, "POST", maps, "a: [", "application/yaml"],
  ["broken protobuf", 400, "POST", maps, "k8s\0\xff\xff\xff", "application/vnd.kubernetes.protobuf"],
  ["a list as DeleteOptions", 400, "DELETE", account, "[1]"],
  ["grace of another type", 400, "DELETE", account, '{"gracePeriodSeconds":"x"}'],
  ["preconditions of another type", 400, "DELETE", account, '{"preconditions":5}'],
  ["unknown stage", 422, "DELETE", account, '{"dryRun":["None"]}'],
  ["unknown policy", 422, "DELETE", account, '{"propagationPolicy":"Sideways"}'],
  ["wrong precondition", 409, "DELETE", account, '{"preconditions":{"uid":"x"}}'],
  ["labels of another type", 422, "PATCH", account, '{"metadata":{"labels":5}}', merge],
  ["document gone by patch", 422, "PATCH", account, '[{"op":"replace","path":"","value":null}]', jsonPatch],
  ["patch that is no list", 400, "PATCH", account, "{}", jsonPatch],
  ["name changed by patch", 400, "PATCH", account, '[{"op":"replace","path":"/metadata/name","value":"zz"}]', jsonPatch],
  ["namespace changed by patch", 400, "PATCH", account, '[{"op":"replace","path":"/metadata/namespace","value":"zz"}]', jsonPatch],
  ["other name than the address's", 400, "PUT", account, '{"metadata":{"name":"zz"}}'],
  ["other namespace than the address's", 400, "POST", maps, '{"metadata":{"name":"a","namespace":"zz"}}'],
  ["other kind", 400, "POST", maps, '{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"}}'],
  ["token wish of another type", 400, "POST", `${account}/token`, '{"spec":{"expirationSeconds":"x"}}'],
  ["audiences of another type", 400, "POST", `${account}/token`, '{"spec":{"audiences":{"a":1}}}'],
  ["binding to nothing", 400, "POST", "/api/v1/namespaces/default/pods/x/binding", "null"],
  ["binding to no node", 422, "POST", "/api/v1/namespaces/default/pods/x/binding", `{"metadata":{"name":"x"}}`],
  ["eviction of another type", 400, "POST", "/api/v1/namespaces/default/pods/x/eviction", "5"],
  ["finalize with nothing", 400, "PUT", "/api/v1/namespaces/default/finalize", "null"],
  ["review of nothing", 422, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "{}"],
  ["foreign continue token", 400, "GET", "/api/v1/pods?continue=e30&limit=1"],
  ["limit that is no number", 400, "GET", "/api/v1/pods?limit=x"],
  ["dry run that is none", 422, "POST", `${maps}?dryRun=Some`, '{"metadata":{"name":"a"}}'],
  ["validation that is none", 422, "POST", `${maps}?fieldValidation=Some`, '{"metadata":{"name":"a"}}'],
  ["selector that is none", 400, "GET", "/api/v1/pods?labelSelector=a%20in%20("],
  ["method that is none", 405, "OPTIONS", "/api/v1/pods"],
];

test("nonsense is refused, and changes nothing", async (t) => {
  const server = await startApi();
  t.after(() => server[Symbol.asyncDispose]());
  const wrong: string[] = [];
  const before = server.api.store.revision;
  for (const [name, code, method, path, body, type = "application/json"] of cases) {
    const bytes = body === undefined ? undefined : Buffer.from(body, "latin1");
    const answer = await new Promise<{ code: number; text: string }>((resolve, reject) => {
      const call = request({ socketPath: server.socketPath, method, path, agent: false, headers: bytes ? { "content-type": type, "content-length": bytes.length } : {} }, (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("end", () => resolve({ code: response.statusCode!, text }));
      });
      call.on("error", reject);
      call.end(bytes);
    });
    const status = (answer.text.startsWith("{") ? JSON.parse(answer.text) : {}) as Partial<Status>;
    if (answer.code !== code || status.kind !== "Status" || status.status !== "Failure" || status.code !== code || !status.message) wrong.push(`${name}: ${code} expected, ${answer.code} ${answer.text}`);
  }
  assert.deepEqual(wrong, []);
  assert.equal(server.api.store.revision, before);
  await server.client.get(resources.serviceAccounts, "default", "default");
});
