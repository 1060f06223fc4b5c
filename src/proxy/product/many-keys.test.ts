import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { ApiObject } from "../../api/product/kinds.ts";
import type { HttpRoute } from "../../api/traffic.ts";
import { seededRandom } from "../../base/random.ts";
import { RouteTable } from "../../policy/route-table.ts";
import type { AddressBook } from "../gateway/gateways.ts";
import { Translator } from "../gateway/translate.ts";
import { ObjectWorld } from "../gateway/world.ts";
import { planOf } from "./plan.ts";

const [keys, operations] = [1_000, 500];
const addresses: AddressBook = { addressOf: () => ({ value: "127.99.0.1" }), bindingOf: ({ address, port }) => ({ address, port, protocol: "TCP", boundPort: port }) } as AddressBook;
const given = (object: object): KubeObject => ({ ...object, metadata: { namespace: "shop", uid: JSON.stringify(object).slice(0, 80), creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1", ...(object as { metadata: object }).metadata } }) as unknown as KubeObject;
const secret = given({ apiVersion: "v1", kind: "Secret", metadata: { name: "gold" }, data: Object.fromEntries(Array.from({ length: keys }, (_, i) => [`client-${i}`, Buffer.from(`key-${i}`).toString("base64")])) });
const edge = [given({ kind: "GatewayClass", metadata: { name: "wherry", namespace: undefined }, spec: { controllerName: "wherry.dev/gateway-controller" } }), given({ kind: "Gateway", metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } }), given({ kind: "Service", metadata: { name: "web" }, spec: { ports: [{ port: 80 }] } })];
const parentRefs = [{ name: "edge" }];

/** What the engine is told of the routes of these. */
function routesOf(objects: readonly KubeObject[]): HttpRoute[] {
  const world = new ObjectWorld(objects);
  const translator = new Translator(world, addresses);
  for (const object of objects) translator.changed(object.kind!, keyOf(object));
  translator.flush();
  for (const api of objects.filter(({ kind }) => kind === "API") as ApiObject[]) {
    const { deploy, routes } = planOf({ api, document: { value: api.spec.document! }, deployments: [], routes: [], parents: new Map(), urlOf: () => undefined });
    for (const draft of [...(deploy ? [deploy] : []), ...routes]) {
      const object = given({ ...draft, metadata: { ...draft.metadata, uid: draft.metadata.name } });
      world.put(object);
      translator.changed(object.kind!, keyOf(object));
    }
  }
  translator.flush();
  return translator.snapshot().routes as HttpRoute[];
}

const api = given({
  apiVersion: "api.wherry.dev/v1alpha1",
  kind: "API",
  metadata: { name: "many" },
  spec: {
    document: { openapi: "3.1.0", info: { title: "Many", version: "1" }, components: { securitySchemes: { key: { type: "apiKey", in: "header", name: "x-api-key" } } }, paths: Object.fromEntries(Array.from({ length: operations }, (_, i) => [`/p${i}`, { get: { operationId: `get${i}`, security: [{ key: [] }] } }])) },
    stages: [{ name: "prod", parentRefs, hostnames: ["many.test"], backendRef: { name: "web", port: 80 }, plans: [{ name: "gold", secretRef: { name: "gold" }, quota: { requests: 100, unit: "Month" } }] }],
  },
});
const plain = [given({ kind: "HTTPRoute", metadata: { name: "plain" }, spec: { parentRefs, rules: Array.from({ length: 16 }, (_, i) => ({ matches: [{ path: { type: "PathPrefix", value: `/r${i}` } }], backendRefs: [{ name: "web", port: 80 }] })) } }), given({ kind: "SecurityPolicy", apiVersion: "gateway.envoyproxy.io/v1alpha1", metadata: { name: "keys" }, spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "plain" }], apiKeyAuth: { credentialRefs: [{ name: "gold" }], extractFrom: [{ headers: ["x-api-key"] }] } } })];

for (const [what, objects, rules] of [["a plan of a stage", [...edge, secret, api], operations], ["a policy of a route", [...edge, secret, ...plain], 16]] as const) {
  test(`${what}: a thousand keys are said once, for however many rules, and open each of them`, () => {
    const route = routesOf(objects).find((one) => one.rules.filter(({ filters }) => filters.some(({ type }) => type === "apiKey")).length === rules);
    assert.ok(route, "the route is served, and asks for keys in each rule");
    const text = JSON.stringify(route);
    const hash = createHash("sha256").update("key-7").digest("hex");
    assert.equal(text.split(hash).length - 1, 1);
    assert.ok(text.length < 150 * keys + 1_500 * rules, `${text.length} characters`);
    const table = new RouteTable({ random: seededRandom(1), nowMs: () => 0, setTimer: () => ({ cancel() {} }) });
    table.put(JSON.parse(text) as HttpRoute);
    for (const path of rules === 16 ? ["/r0", "/r15"] : ["/p0", "/p499"]) {
      const ask = (key: string): number | undefined => {
        const request = { method: "GET", scheme: "http" as const, host: "many.test", port: 80, path, query: "", client: "10.0.0.1", header: (name: string) => (name === "x-api-key" ? key : undefined) };
        let status: number | undefined;
        const { rule } = table.find("shop/edge/web", request);
        rule!.serve({ request, caller: undefined, onEnd() {}, onResponse() {}, takeAnswer() {} } as never, { forward: () => void (status = 200), answer: (_, answer) => void (status = answer.status) });
        return status;
      };
      assert.deepEqual([ask("key-7"), ask("key-999"), ask("key-1000")], [200, 200, 401], path);
    }
  });
}
