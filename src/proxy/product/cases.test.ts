import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { type EdgeBinding } from "../../api/network.ts";
import { type ApiObject, apiLabel, type Deployment } from "../../api/product/kinds.ts";
import type { EdgeListener, HttpMatch, HttpRule } from "../../api/traffic.ts";
import { randomInt, seededRandom } from "../../base/random.ts";
import { parseYaml } from "../../api/yaml.ts";
import { LoopbackAddresses } from "../gateway/addresses.ts";
import type { HttpRouteObject } from "../gateway/kinds.ts";
import { Translator } from "../gateway/translate.ts";
import { ObjectWorld } from "../gateway/world.ts";
import { planOf, urlOfStage } from "./plan.ts";

/** Every port can be had. */
class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

const folder = join(import.meta.dirname, "cases");

/** NAME.in.yaml: APIs, and what they name beside what every case has. NAME.out.txt: what each API comes to; WHERRY_UPDATE=1 writes it, and the diff is for reading. */
for (const file of readdirSync(folder).filter((name) => name.endsWith(".in.yaml"))) {
  test(`${file.replace(".in.yaml", "")}: documents come to routes`, () => {
    const expected = join(folder, file.replace(".in.yaml", ".out.txt"));
    const text = served(objectsOf(file));
    if (process.env["WHERRY_UPDATE"]) writeFileSync(expected, text);
    assert.equal(text, readFileSync(expected, "utf8"));
  });
}

const common = `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: wherry}, spec: {controllerName: wherry.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: shop}, spec: {gatewayClassName: wherry, listeners: [{name: web, port: 8080, protocol: HTTP}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Service, metadata: {name: pets, namespace: shop}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: pets-next, namespace: shop}, spec: {ports: [{port: 80}]}}
`;

function objectsOf(file: string): KubeObject[] {
  const objects = [...parseYaml(common), ...parseYaml(readFileSync(join(folder, file), "utf8"))] as KubeObject[];
  const given = { creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" };
  const isGlobal = ({ kind }: KubeObject): boolean => kind === "GatewayClass" || kind === "Namespace";
  return objects.map((object) => ({ ...object, metadata: { ...given, ...(!isGlobal(object) && { namespace: "shop" }), ...object.metadata, uid: `${object.kind}-${object.metadata.name}` } }));
}

/** What the keeper would write is written, and what the gateway makes of it is told, a line for each rule. */
function served(objects: readonly KubeObject[]): string {
  const world = new ObjectWorld(objects);
  const translator = new Translator(world, new FreeAddresses());
  for (const object of objects) translator.changed(object.kind, keyOf(object));
  translator.flush();
  const lines: string[] = [];
  for (const api of objects.filter(({ kind }) => kind === "API") as ApiObject[]) {
    const key = keyOf(api);
    const seen = (parents: Parameters<typeof planOf>[0]["parents"]) => planOf({ api, document: { value: api.spec.document! }, deployments: world.deployments(key), routes: world.routes("HTTPRoute").filter(({ metadata }) => metadata.name.startsWith(`${api.metadata.name}.`)) as HttpRouteObject[], parents, urlOf: (stage) => urlOfStage(stage, "shop", world.gateway, () => "127.99.0.1") });
    const { deploy, routes } = seen(new Map());
    for (const draft of [...(deploy ? [deploy] : []), ...routes]) {
      const object = { ...draft, metadata: { ...draft.metadata, uid: draft.metadata.name, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" } } as unknown as KubeObject;
      world.put(object);
      translator.changed(object.kind, keyOf(object));
    }
    const parents = new Map(translator.flush().statuses.flatMap((status) => (status.kind === "HTTPRoute" ? [[status.key.slice(status.key.indexOf("/") + 1), status.parents] as const] : [])));
    const { status, deploy: again } = seen(parents);
    assert.equal(again, undefined, "what is deployed is not deployed once more");
    const [accepted] = status.conditions;
    lines.push(`# ${api.metadata.name}: ${accepted!.status === "True" ? "accepted" : `${accepted!.reason}: ${accepted!.message}`}`);
    for (const { name, deployment, url, operations, ready, message } of status.stages ?? []) {
      lines.push(`## ${name}: deployment ${deployment ?? "none"}, ${operations} operations, ${url}${message === undefined ? "" : `\n${ready ? "note" : "not ready"}: ${message}`}`);
      for (const route of translator.snapshot().routes) if (route.type === "http" && route.id.split("~")[0] === `HTTPRoute/shop/${api.metadata.name}.${name}`) lines.push(...route.rules.map(lineOf));
    }
    lines.push("");
  }
  return lines.join("\n");
}

function lineOf({ name, matches, filters, backends, timeouts }: HttpRule): string {
  const match = ({ method = "*", path, headers = [], sample, priority }: HttpMatch): string => `${method} ${path.type} ${path.value}${headers.map(({ name, type, value }) => ` ${name} ${type} ${value}`).join("")}${sample ? ` of ${JSON.stringify(sample)}` : ""}${priority ? ` (${priority})` : ""}`;
  const filter = ({ type, ...rest }: HttpRule["filters"][number]): string => `${type}${JSON.stringify(rest)}`;
  const backend = backends.map(({ upstream, error }) => (error ? `${error.status}: ${error.reason}` : upstream!)).join(" ");
  return [`${name}: ${matches.map(match).join(" | ")}`, ...filters.map(filter), ...(timeouts ? [`timeouts${JSON.stringify(timeouts)}`] : []), ...(backend ? [backend] : [])].join("\n  → ");
}

test("APIs, deployments and routes that come, change and go in any order come to what a fresh translation makes of them", () => {
  const base = objectsOf("basic.in.yaml");
  const [api] = base.filter(({ kind }) => kind === "API") as ApiObject[];
  const key = keyOf(api!);
  const { routes } = planOf({ api: api!, document: { value: api!.spec.document! }, deployments: [], routes: [], parents: new Map(), urlOf: () => undefined });
  const given = (object: object, uid: string): KubeObject => ({ ...object, metadata: { ...(object as KubeObject).metadata, uid, creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" } }) as KubeObject;
  const revision = (n: number): KubeObject => given({ apiVersion: "apps/v1", kind: "ControllerRevision", metadata: { ...routes[0]!.metadata, name: `${api!.metadata.name}.${n}`, labels: { [apiLabel]: api!.metadata.name } }, revision: n, data: { document: { ...api!.spec.document, paths: { [`/p${n}/{id}`]: { get: { operationId: `get${n}` } } } } } }, `revision ${n}`);
  const variants = (deployment: number | undefined): KubeObject => ({ ...api!, spec: { ...api!.spec, stages: api!.spec.stages!.map((stage) => ({ ...stage, ...(deployment !== undefined && { deployment }) })) } });
  const objects = [...base, revision(1), revision(2), revision(3), ...routes.map((route) => given(route, route.metadata.name)), variants(1), variants(2), variants(undefined)];
  let served = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    const world = new ObjectWorld();
    const translator = new Translator(world, new FreeAddresses());
    const present = new Map<string, KubeObject>();
    for (let step = 0; step < 80; step++) {
      const object = objects[randomInt(random, objects.length)]!;
      const id = `${object.kind}/${keyOf(object)}`;
      if (present.has(id) && randomInt(random, 3) === 0) {
        present.delete(id);
        world.remove(object.kind, keyOf(object));
      } else {
        present.set(id, object);
        world.put(object);
      }
      translator.changed(object.kind, keyOf(object));
      if (randomInt(random, 3) === 0) translator.flush();
    }
    translator.flush();
    const fresh = new Translator(new ObjectWorld([...present.values()]), new FreeAddresses());
    for (const object of present.values()) fresh.changed(object.kind, keyOf(object));
    fresh.flush();
    served += fresh.snapshot().routes.flatMap((route) => (route.type === "http" ? route.rules : [])).filter(({ name }) => /^get\d$/.test(name)).length;
    const sorted = (values: readonly { id: string }[]) => values.toSorted((a, b) => (a.id < b.id ? -1 : 1));
    for (const part of ["routes", "upstreams"] as const) assert.deepEqual(sorted(translator.snapshot()[part]), sorted(fresh.snapshot()[part]), `seed ${seed}: ${part} of ${key}`);
  }
  assert.ok(served > 5, "it is about something");
});

test("a stage stays with the deployment that it names, and one that names none follows the newest", () => {
  const [api] = objectsOf("basic.in.yaml").filter(({ kind }) => kind === "API") as ApiObject[];
  const deployed = (revision: number, version: string) => ({ apiVersion: "apps/v1", kind: "ControllerRevision", metadata: { name: `x.${revision}`, creationTimestamp: `2026-01-0${revision}T00:00:00Z` }, revision, data: { document: { ...api!.spec.document, info: { title: "Pets", version } } } }) as unknown as Deployment;
  const stages = [{ name: "dev", parentRefs: [{ name: "edge" }] }, { name: "prod", deployment: 1, parentRefs: [{ name: "edge" }] }];
  const backed = stages.map((stage) => ({ ...stage, backendRef: { name: "pets", port: 80 } }));
  const plan = planOf({ api: { ...api!, spec: { ...api!.spec, revisionHistoryLimit: 1, document: deployed(3, "3").data!.document!, stages: backed } }, document: { value: deployed(3, "3").data!.document! }, deployments: [1, 2, 3].map((n) => deployed(n, String(n))), routes: [], parents: new Map(), urlOf: () => undefined });
  assert.equal(plan.deploy, undefined);
  assert.deepEqual(plan.status.deployments?.map(({ revision, version, liveIn }) => [revision, version, liveIn]), [[3, "3", ["dev"]], [2, "2", undefined], [1, "1", ["prod"]]]);
  assert.deepEqual(plan.remove.deployments, [], "one that nobody serves is kept by the limit");
  const changed = planOf({ api: { ...api!, spec: { ...api!.spec, revisionHistoryLimit: 0, stages: backed } }, document: { value: deployed(9, "4").data!.document! }, deployments: [1, 2, 3].map((n) => deployed(n, String(n))), routes: [], parents: new Map(), urlOf: () => undefined });
  assert.deepEqual([changed.deploy?.metadata.name, changed.deploy?.["revision"], changed.remove.deployments.map(({ revision }) => revision)], [`${api!.metadata.name}.4`, 4, [2]]);
});
