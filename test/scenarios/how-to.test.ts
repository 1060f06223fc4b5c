import assert from "node:assert/strict";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { Client } from "../../src/api/client.ts";
import { shippedDefinitions } from "../../src/api/definitions/definitions.ts";
import { envoyResources, policyResources } from "../../src/api/envoy/kinds.ts";
import { keyOf } from "../../src/api/informer.ts";
import type { GroupVersionResource, KubeObject } from "../../src/api/meta.ts";
import { productDefinition } from "../../src/api/product/definition.ts";
import { type ApiObject, apiResource } from "../../src/api/product/kinds.ts";
import { resources } from "../../src/api/resources.ts";
import { parseYaml } from "../../src/api/yaml.ts";
import { LoopbackAddresses } from "../../src/proxy/gateway/addresses.ts";
import { type Condition, gatewayResources, type HttpRouteObject } from "../../src/proxy/gateway/kinds.ts";
import { Translator } from "../../src/proxy/gateway/translate.ts";
import { ObjectWorld } from "../../src/proxy/gateway/world.ts";
import { planOf } from "../../src/proxy/product/plan.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { entry } from "../../src/wherry.ts";
import { startApi } from "../harness-api.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { examples } from "./stack.ts";
import { parsePage, runTranscript } from "./transcript.ts";

const root = dirname(examples);
const pages = ["limit", "cache", "validate", "transform"];
/** What it applies are files, which the typed page serves. */
const typed = [...pages, "move-from-api-gateway"];
const pageOf = (name: string): string => join(root, "docs", "how-to", `${name}.md`);

test("the how-to pages of policies, as printed", { timeout: 300_000 }, async (t) => {
  if (!process.env["WHERRY_CONFORMANCE"]) return t.skip("set WHERRY_CONFORMANCE=1; npm run conformance does");
  if (!needs(t, "kubectl", "curl")) return;
  // As on a machine with two cores, which is what the page about caches says it shows.
  await using wherry = await startWherry({ test: t, netWorkers: 1 });
  // Kinds that are there from the start come a moment after it, sooner than a reader types.
  for (const resource of [...Object.values(policyResources), apiResource]) await eventually(() => wherry.client.list(resource, { limit: 1 }), 60_000);
  const program = join(dirname(wherry.dataDir), "bin", "wherry");
  writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(program, 0o755);
  const onStep = (command: string, ms: number) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`);
  const only = process.env["PAGES"]?.split(",");
  for (const page of typed.filter((name) => only?.includes(name) ?? true)) {
    await t.test(page, () => runTranscript(pageOf(page), { cwd: root, env: { ...wherry.env, WHERRY_DATA_DIR: wherry.dataDir }, ...(process.env["STEPS"] && { onStep }) }));
  }
});

const known: Record<string, GroupVersionResource> = {
  ...policyResources,
  HTTPRouteFilter: envoyResources.httpRouteFilters,
  Gateway: gatewayResources.gateways,
  HTTPRoute: gatewayResources.httpRoutes,
  GatewayClass: gatewayResources.gatewayClasses,
  API: apiResource,
  Deployment: resources.deployments,
  Service: resources.services,
  Secret: resources.secrets,
};
const resourceOf = (kind: string): GroupVersionResource => known[kind] ?? assert.fail(`${kind} of a how-to page is not known to this test`);

test("manifests of the how-to pages are admitted, accepted and compiled whole", async (t) => {
  await using api = await startApi();
  const wanted = new Set(Object.values(known).map(({ resource, group }) => `${resource}.${group}`));
  for (const definition of [...shippedDefinitions("gateway-api"), ...shippedDefinitions("envoy-gateway"), productDefinition]) {
    if (wanted.has(definition.metadata.name)) await api.client.create(resources.customResourceDefinitions, undefined, definition);
  }
  await api.client.create(gatewayResources.gatewayClasses, undefined, { apiVersion: "gateway.networking.k8s.io/v1", kind: "GatewayClass", metadata: { name: "wherry" }, spec: { controllerName: "wherry.dev/gateway-controller" } });
  await write(api.client, readFileSync(join(examples, "policies", "pets.yaml"), "utf8"));
  let manifests = 0;
  for (const page of pages) {
    await t.test(page, async () => {
      for (const { command, line } of parsePage(readFileSync(pageOf(page), "utf8"))) {
        const given = /^kubectl apply -f - <<'END'\n([^]*)\nEND$/.exec(command)?.[1];
        const patch = /^kubectl patch (\w+) (\w+) --type json -p '([^]*)'$/.exec(command);
        if (given !== undefined) await write(api.client, given);
        else if (patch) await api.client.patch(resourceOf(Object.keys(known).find((kind) => kind.toLowerCase() === patch[1])!), "default", patch[2]!, JSON.parse(patch[3]!) as object[], { type: "json" });
        else continue;
        manifests++;
        assert.deepEqual(await wrongIn(api.client), [], `${page}.md:${line}`);
      }
      for (const kind of ["API", "HTTPRouteFilter", "BackendTrafficPolicy", "SecurityPolicy"]) for (const { metadata } of (await api.client.list(resourceOf(kind), { namespace: "default" })).items) await api.client.delete(resourceOf(kind), "default", metadata.name);
    });
  }
  assert.ok(manifests > 10);
});

/** As `kubectl apply` does: what is there has another spec then. */
async function write(client: Client, text: string): Promise<void> {
  for (const object of parseYaml(text) as KubeObject[]) await client.patch(resourceOf(object.kind!), "default", object.metadata.name, object, { type: "apply", fieldManager: "reader", force: true });
}

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: { address: string; port: number }) {
    return { address, port, protocol: "TCP" as const, boundPort: port };
  }
}

/** What of what is stored is not served as it is written. */
async function wrongIn(client: Client): Promise<string[]> {
  const objects = (await Promise.all(Object.entries(known).map(async ([kind, resource]) => (await client.list<KubeObject>(resource)).items.map((object) => ({ ...object, kind }))))).flat();
  const world = new ObjectWorld(objects);
  const translator = new Translator(world, new FreeAddresses());
  for (const object of objects) translator.changed(object.kind, object.metadata.namespace === undefined ? object.metadata.name : keyOf(object));
  const wrong: string[] = [];
  for (const api of objects.filter(({ kind }) => kind === "API") as ApiObject[]) {
    const { deploy, routes } = planOf({ api, document: { value: api.spec.document! }, deployments: [], routes: [], parents: new Map(), urlOf: () => undefined });
    for (const draft of [...(deploy ? [deploy] : []), ...routes]) {
      const object = { ...draft, metadata: { ...draft.metadata, uid: draft.metadata.name, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" } } as unknown as KubeObject;
      world.put(object);
      translator.changed(object.kind!, keyOf(object));
    }
  }
  const { statuses } = translator.flush();
  const parents = new Map(statuses.flatMap((status) => (status.kind === "HTTPRoute" ? [[status.key.slice(status.key.indexOf("/") + 1), status.parents] as const] : [])));
  for (const api of objects.filter(({ kind }) => kind === "API") as ApiObject[]) {
    const { problems } = planOf({ api, document: { value: api.spec.document! }, deployments: world.deployments(keyOf(api)), routes: world.routes("HTTPRoute").filter(({ metadata }) => metadata.name.startsWith(`${api.metadata.name}.`)) as HttpRouteObject[], parents, urlOf: () => undefined });
    wrong.push(...problems);
  }
  const isWrong = ({ type, status }: Condition): boolean => (type === "PartiallyInvalid" || type === "Conflicted" ? status === "True" : status === "False" && (type === "Accepted" || type === "ResolvedRefs"));
  const told = (conditions: readonly Condition[], key: string): string[] => conditions.filter(isWrong).map(({ type, message }) => `${key}: ${type}: ${message}`);
  for (const status of statuses) {
    if ("parents" in status) wrong.push(...status.parents.flatMap(({ conditions }) => told(conditions, status.key)));
    if ("ancestors" in status) wrong.push(...status.ancestors.flatMap(({ conditions }) => told(conditions, status.key)));
  }
  for (const route of translator.snapshot().routes) if (route.type === "http") wrong.push(...route.rules.flatMap(({ name, backends }) => backends.flatMap(({ error }) => (error ? [`${route.id} ${name}: ${error.reason}`] : []))));
  return wrong;
}
