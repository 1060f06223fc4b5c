import assert from "node:assert/strict";
import { test } from "node:test";
import { shippedDefinitions } from "../../api/definitions/definitions.ts";
import { policyKinds } from "../../api/envoy/kinds.ts";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { Schema } from "../../api/schema.ts";
import type { EdgeListener, HttpRule } from "../../api/traffic.ts";
import { FakeClock } from "../../base/clock.ts";
import { randomInt, type Random, seededRandom } from "../../base/random.ts";
import { RouteTable } from "../../policy/route-table.ts";
import { toolsAt } from "../../policy/testing/request.ts";
import { LoopbackAddresses } from "../gateway/addresses.ts";
import { Translator } from "../gateway/translate.ts";
import { ObjectWorld } from "../gateway/world.ts";

/**
 * Policies as their schemas let people write them, by a seed: none makes the translation fail, what is compiled is taken by the engine,
 * and a policy that is told to be accepted does not close what it is for. FUZZ_FROM=N begins elsewhere, FUZZ_SEEDS=N runs so many.
 */
const from = Number(process.env["FUZZ_FROM"] ?? 1);
const seeds = Number(process.env["FUZZ_SEEDS"] ?? (process.env["WHERRY_CONFORMANCE"] ? 20_000 : 400));
const group = "gateway.networking.k8s.io";
const specs = new Map(
  shippedDefinitions("envoy-gateway").map((definition) => {
    const { versions, names } = definition["spec"] as { versions: { storage: boolean; schema: { openAPIV3Schema: Schema } }[]; names: { kind: string } };
    return [names.kind, versions.find(({ storage }) => storage)!.schema.openAPIV3Schema.properties!["spec"]!];
  }),
);

class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}
const pick = <T>(random: Random, list: readonly T[]): T => list[randomInt(random, list.length)]!;
const made = (kind: string, name: string, more: object): KubeObject => ({ apiVersion: `${group}/v1`, kind, metadata: { name, namespace: "f", uid: `${kind}/${name}`, generation: 1, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, ...more });
const secret = (name: string, data: Record<string, string>): KubeObject => made("Secret", name, { data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")])) });
const world: readonly KubeObject[] = [
  { apiVersion: `${group}/v1`, kind: "GatewayClass", metadata: { name: "wherry", uid: "class", creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec: { controllerName: "wherry.dev/gateway-controller" } },
  made("Gateway", "edge", { spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } }),
  made("HTTPRoute", "shop", { spec: { parentRefs: [{ name: "edge" }], rules: [{ backendRefs: [{ name: "web", port: 80 }] }] } }),
  made("Service", "web", { spec: { ports: [{ port: 80 }] } }),
  made("ConfigMap", "map", { data: { "jwks": '{"keys":[]}', "response.body": "sorry", "ca.crt": "none" } }),
  secret("all", { "client-secret": "s", "client-id": "c", credential: "x", ".htpasswd": "ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", ann: "key", "ca.crt": "none" }),
];

/** What people write, by the name of the field; and what they write by mistake. */
const texts: Record<string, readonly string[]> = {
  name: ["x-user", "web", "all", "map", "Host", "Content-Length", "a b", "", "__proto__", "x-user\n"],
  value: ["a", "%REQ(x)%", "", "a\r\nb", "^a+$", "(", "é"],
  uri: ["https://keys.example/k", "http://web.f.svc/k", "ftp://x", "https://127.0.0.1/", ":"],
  issuer: ["https://login.example", "http://web.f.svc", "nonsense"],
  inline: ['{"keys":[]}', "{", "text"],
  path: ["/", "/a", "a", "//"],
  hostname: ["a.example", "*.a.example", ""],
  pattern: ["^/a", "(", "a{1001}"],
  substitution: ["/b", "\\1", "$1", "\\"],
  maxAge: ["1m", "0s", "1h30m", "-1s"],
};
const durations = ["0s", "1ms", "10s", "1h", "1m30s", "876000h"];
const anything = ["a", "GET", "10.0.0.0/8", "::/0", "10.0.0.0/99", "x-a", "https://a.com", "https://*.a.com", "*", "", "503", "1Ki", "64Ki", "1.5G", "(", "é", "a b", "constructor"];

function value(random: Random, schema: Schema, name: string, depth: number): unknown {
  if (schema.enum) return pick(random, schema.enum);
  if (schema.properties) {
    const all = Object.entries(schema.properties);
    // Few of many, so that what is wrong with one does not hide the next.
    const least = depth === 0 ? 0 : Math.min(1, all.length);
    const wanted = new Set(Array.from({ length: least + randomInt(random, 3) }, () => pick(random, all)[0]));
    for (const required of schema.required ?? []) if (randomInt(random, 12) > 0) wanted.add(required);
    return Object.fromEntries(all.flatMap(([field, inner]) => (wanted.has(field) ? [[field, value(random, inner, field, depth + 1)]] : [])));
  }
  if (schema.items) return Array.from({ length: randomInt(random, 8) === 0 ? 0 : 1 + randomInt(random, 2) }, () => value(random, schema.items!, name, depth + 1));
  if (schema.additionalProperties) return { [pick(random, anything)]: value(random, schema.additionalProperties, name, depth + 1) };
  switch (schema.type) {
    case "boolean":
      return randomInt(random, 2) === 0;
    case "integer":
    case "number":
      return pick(random, [schema["minimum" as keyof Schema] ?? 0, schema["maximum" as keyof Schema] ?? 100, 1, 2, 80, 200, 503].map(Number));
    default:
      if (/timeout|duration|interval|ttl|window|delay|period|time$/i.test(name) && randomInt(random, 10) > 0) return pick(random, durations);
      if (name === "kind") return pick(random, ["Service", "Secret", "ConfigMap"]);
      if (name === "group") return "";
      if (name === "namespace") return pick(random, ["f", "f", "other"]);
      return pick(random, texts[name] ?? anything);
  }
}

function isClosed({ backends }: HttpRule, kind: string): boolean {
  return backends.some(({ error }) => error?.reason.includes(kind) || error?.reason.includes("Invalid value") || error?.reason.includes("must"));
}

test("policies as people write them", () => {
  let accepted = 0;
  const wrong: string[] = [];
  for (let seed = from; seed < from + seeds; seed++) {
    const random = seededRandom(seed);
    const kind = pick(random, policyKinds);
    const { targetRef: _one, targetRefs: _refs, targetSelectors: _selectors, ...rest } = value(random, specs.get(kind)!, "spec", 0) as Record<string, unknown>;
    const target = { group, kind: kind === "ClientTrafficPolicy" ? "Gateway" : "HTTPRoute", name: kind === "ClientTrafficPolicy" ? "edge" : "shop" };
    const policy = made(kind, "policy", { apiVersion: "gateway.envoyproxy.io/v1alpha1", spec: { ...rest, targetRefs: [target] } });
    const said = `seed ${seed}: ${kind} ${JSON.stringify(rest)}`;
    try {
      const translator = new Translator(new ObjectWorld([...world, policy]), new FreeAddresses());
      for (const object of [...world, policy]) translator.changed(object.kind, keyOf(object));
      const { statuses } = translator.flush();
      const { routes, listeners } = translator.snapshot();
      const status = statuses.find((one) => one.kind === kind);
      assert.ok(status && "ancestors" in status, "it is told of");
      const isAccepted = status.ancestors[0]!.conditions.find(({ type }) => type === "Accepted")!.status === "True";
      const [route] = routes;
      assert.ok(route?.type === "http", "the route is there");
      new RouteTable(toolsAt(new FakeClock())).put(route);
      const closed = kind === "ClientTrafficPolicy" ? listeners[0]!.refusal !== undefined : route.rules.some((rule) => isClosed(rule, kind));
      assert.equal(closed, !isAccepted, `${isAccepted ? "accepted" : "not accepted"}, and ${closed ? "closed" : "open"}: ${JSON.stringify(status.ancestors[0]!.conditions)} ${JSON.stringify(route.rules)}`);
      if (isAccepted) accepted++;
    } catch (error) {
      wrong.push(`${said}\n${error instanceof assert.AssertionError ? error.message : (error as Error).stack}`);
    }
  }
  assert.equal(wrong.length, 0, `${wrong.length} are wrong, such as\n${wrong.slice(0, 5).join("\n\n")}`);
  assert.ok(accepted > seeds / 20, `${accepted} of ${seeds} were accepted, which is too few to mean anything`);
});
