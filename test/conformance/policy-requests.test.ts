import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { envoyResources } from "../../src/api/envoy/kinds.ts";
import { shippedDefinitions } from "../../src/api/definitions/definitions.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import type { Service } from "../../src/api/types.ts";
import { gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { startApi } from "../harness-api.ts";
import { ask } from "./policy-requests/ask.ts";
import { Backends } from "./policy-requests/backends.ts";
import { differences, type Outcome } from "./policy-requests/compare.ts";
import { missing, startEnvoy } from "./policy-requests/envoy.ts";
import { startOurs } from "./policy-requests/ours.ts";
import { reasons } from "./policy-requests/reasons.ts";
import { readCases, services } from "./policy-requests/table.ts";

/**
 * The same manifests in Envoy, as Envoy Gateway translates them, and here; the same bytes to both. policy-requests/README.md says how a
 * case is written. ONLY=text runs those whose titles contain it. What differs and is not written below its request is a failure, and so
 * is what is written there and does not differ.
 */
/** A port where nobody listens. */
const nobody = 1;
const isWanted = Boolean(process.env["WHERRY_CONFORMANCE"]);
const cases = readCases(join(import.meta.dirname, "policy-requests")).filter(({ title, file }) => `${file} ${title}`.includes(process.env["ONLY"] ?? ""));

const resourceOf = { Service: resources.services, Secret: resources.secrets, ConfigMap: resources.configMaps, Gateway: gatewayResources.gateways, HTTPRoute: gatewayResources.httpRoutes, SecurityPolicy: envoyResources.securityPolicies, BackendTrafficPolicy: envoyResources.backendTrafficPolicies, ClientTrafficPolicy: envoyResources.clientTrafficPolicies, HTTPRouteFilter: envoyResources.httpRouteFilters };

/** As the API server keeps them: looked at, and with the defaults of their kinds. */
async function stored(): Promise<KubeObject[]> {
  await using api = await startApi();
  const { client } = api;
  for (const definition of [...shippedDefinitions("gateway-api"), ...shippedDefinitions("envoy-gateway")]) await client.create(resources.customResourceDefinitions, undefined, definition);
  for (const resource of Object.values(resourceOf)) await eventually(() => client.list(resource, { limit: 1 }), 60_000);
  const objects: KubeObject[] = [{ apiVersion: "gateway.networking.k8s.io/v1", kind: "GatewayClass", metadata: { name: "judged", uid: "class", creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" }, spec: { controllerName: "wherry.dev/gateway-controller" } }];
  const refused: string[] = [];
  for (const { namespace, objects: own, title } of cases) {
    objects.push(await client.create<KubeObject>(resources.namespaces, undefined, { metadata: { name: namespace } }));
    for (const object of own) {
      const made = await client.create<KubeObject>(resourceOf[object.kind as keyof typeof resourceOf], namespace, object).catch((error: unknown) => void refused.push(`${title}: ${String(error)}`));
      if (made) objects.push(made);
    }
  }
  assert.deepEqual(refused, []);
  return objects;
}

test(`requests to Envoy and to Wherry: ${cases.length} cases`, { timeout: 900_000, skip: isWanted ? missing ?? false : "set WHERRY_CONFORMANCE=1 to run it" }, async (t) => {
  const objects = await stored();
  const backends = { envoy: new Backends(), ours: new Backends() };
  await using _ = { [Symbol.asyncDispose]: async () => void (await Promise.all(Object.values(backends).map((each) => each[Symbol.asyncDispose]()))) };
  const [theirPorts, ownPorts] = await Promise.all(Object.values(backends).map(async (each) => new Map(await Promise.all(services.map(async (name) => [name as string, await each.portOf(name)] as const)))));
  t.diagnostic(`${objects.length} objects after ${Math.round(performance.now())} ms`);
  const made = objects.filter(({ kind }) => kind === "Service") as Service[];
  const nameOf = new Map(made.map(({ spec, metadata }) => [spec!.clusterIP, metadata.name]));
  await using envoy = await startEnvoy(objects.map((object) => (object.kind === "GatewayClass" ? { ...object, spec: { controllerName: "gateway.envoyproxy.io/gatewayclass-controller" } } : object)), (clusterIP) => theirPorts!.get(nameOf.get(clusterIP) ?? assert.fail(`no Service has ${clusterIP}`)) ?? nobody);
  await using ours = await startOurs(objects, made.map(({ metadata }) => ({ namespace: metadata.namespace!, name: metadata.name })), (name) => ownPorts!.get(name) ?? nobody);
  t.diagnostic(`served after ${Math.round(performance.now())} ms`);
  const used = new Set<string>();
  let count = 0;
  for (const { file, title, namespace, calls, texts } of cases) {
    await t.test(`${file.replace(".txt", "")}: ${title}`, async () => {
      assert.ok(calls.length > 0, "nothing is asked");
      const refused = ours.refused.filter((line) => line.includes(`/${namespace}/`));
      assert.deepEqual(refused, [], "not honoured");
      const found: string[] = [];
      for (const call of calls) {
        const outcome = async (side: "envoy" | "ours"): Promise<Outcome> => {
          backends[side].seen.length = 0;
          const answer = side === "envoy" ? await ask(envoy.port, envoy.addressOf(`${namespace}/edge`), call.bytes) : await ask(ours.portOf(`${namespace}/edge`), "127.0.0.1", call.bytes);
          return { answer, seen: [...backends[side].seen] };
        };
        const lines = new Set<string>();
        for (let i = 0; i < call.times; i++) {
          count++;
          for (const line of differences(await outcome("envoy"), await outcome("ours"), texts)) lines.add(line);
        }
        for (const { reason } of call.known) used.add(reason);
        const unknown = [...lines].filter((line) => !call.known.some(({ line: known }) => known === line));
        const stale = call.known.filter(({ line }) => !lines.has(line)).map(({ line }) => `no longer: ${line}`);
        if (unknown.length + stale.length > 0) found.push(`${call.at}\n${[...unknown.map((line) => `~ ${line} ()`), ...stale].join("\n")}`, ...(process.env["LOG"] ? [envoy.log(), ours.log()] : []));
      }
      assert.equal(found.length, 0, `\n${found.join("\n")}`);
    });
  }
  t.diagnostic(`${count} requests in ${cases.length} cases`);
  for (const reason of used) assert.ok(reasons[reason] !== undefined, `reasons.ts does not know ${reason}`);
  if (!process.env["ONLY"]) assert.deepEqual(Object.keys(reasons).filter((reason) => !used.has(reason)), []);
});
