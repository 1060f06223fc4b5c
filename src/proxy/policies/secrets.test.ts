import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { startApi } from "../../../test/harness-api.ts";
import { envoyResources } from "../../api/envoy/kinds.ts";
import { Informer } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import type { EdgeBinding } from "../../api/network.ts";
import type { TrafficPatch } from "../../api/traffic.ts";
import { systemClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { gatewayResources } from "../gateway/kinds.ts";
import { startGateways } from "../gateway/start.ts";
import { eventually } from "../testing/network.ts";
import { TrafficState } from "../traffic-state.ts";

const hash = (key: string): string => createHash("sha256").update(key).digest("hex");
const patienceMs = 20_000;

test("a Secret that a policy names: in force with the first look at the world, followed, and closed without; no key leaves the compiler", { timeout: 60_000 }, async () => {
  await using server = await startApi();
  const { client } = server;
  const common = { client, clock: systemClock, log: silentLog };
  /** What was ever published for the route: who may come in, or that nobody may. */
  const seen: string[] = [];
  let published = "";
  const start = (traffic: TrafficState) => {
    const gateways = startGateways({
      ...common,
      publish(patch: TrafficPatch) {
        published += JSON.stringify(patch);
        traffic.apply(patch);
        gateways.bound([...traffic.listeners.values()].map(({ address, port }): EdgeBinding => ({ address, port, protocol: "TCP", boundPort: port })));
        for (const route of patch.put.routes ?? []) {
          if (route.type !== "http") continue;
          const [rule] = route.rules;
          const filter = rule!.filters.find(({ type }) => type === "apiKey");
          seen.push(filter?.type === "apiKey" ? filter.keys.map(({ client: name, sha256 }) => `${name}:${sha256}`).join(" ") : (rule!.backends[0]?.error?.reason ?? "open"));
        }
      },
    });
    return gateways;
  };
  const first = start(new TrafficState());
  await first.definitions;
  const secret = (data: Record<string, string>) => ({ stringData: data });
  await client.create(resources.secrets, "default", { metadata: { name: "clients" }, ...secret({ ann: "k-ann" }) });
  await client.create(resources.services, "default", { metadata: { name: "shop" }, spec: { ports: [{ port: 80 }] } });
  await client.create(gatewayResources.httpRoutes, "default", { metadata: { name: "shop" }, spec: { parentRefs: [{ name: "edge" }], rules: [{ backendRefs: [{ name: "shop", port: 80 }] }] } });
  await client.create(envoyResources.securityPolicies, "default", {
    metadata: { name: "partners" },
    spec: { targetRefs: [{ group: "gateway.networking.k8s.io", kind: "HTTPRoute", name: "shop" }], apiKeyAuth: { credentialRefs: [{ name: "clients" }], extractFrom: [{ headers: ["X-Key"] }] } },
  });
  const verdicts: string[] = [];
  const policies = new Informer<KubeObject>({ ...common, resource: envoyResources.securityPolicies });
  policies.onChange((_, policy) => {
    const accepted = policy?.["status"]?.ancestors?.[0]?.conditions?.find(({ type }: { type: string }) => type === "Accepted");
    if (accepted && verdicts.at(-1) !== accepted.status) verdicts.push(accepted.status);
  });
  policies.start();
  await client.create(gatewayResources.gateways, "default", { metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }] } });
  const ann = `ann:${hash("k-ann")}`;
  await eventually(() => seen.length > 0 && verdicts.length > 0, patienceMs);
  assert.deepEqual([new Set(seen), verdicts], [new Set([ann]), ["True"]], "never open, and never refused for want of a look at the Secret");

  // Another process looks at it all anew.
  await first.stop();
  seen.length = 0;
  const second = start(new TrafficState());
  await eventually(() => seen.length > 0, patienceMs);
  assert.deepEqual(new Set(seen), new Set([ann]));

  await client.patch(resources.secrets, "default", "clients", secret({ bob: "k-bob" }), { type: "merge" });
  await eventually(() => seen.at(-1) === `${ann} bob:${hash("k-bob")}`, patienceMs);
  await client.delete(resources.secrets, "default", "clients");
  await eventually(() => /Secret default\/clients, which does not exist/.test(seen.at(-1)!) && verdicts.at(-1) === "False", patienceMs);
  await client.create(resources.secrets, "default", { metadata: { name: "clients" }, ...secret({ eve: "k-eve" }) });
  await eventually(() => seen.at(-1) === `eve:${hash("k-eve")}` && verdicts.at(-1) === "True", patienceMs);
  assert.ok(!seen.includes("open") && !/k-(ann|bob|eve)/.test(published));
  assert.deepEqual(verdicts, ["True", "False", "True"]);
  await policies.stop();
  await second.stop();
});
