import assert from "node:assert/strict";
import { createServer, request as requestHttp, type IncomingMessage } from "node:http";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import type { AccessRule, HttpFilter } from "../../api/traffic.ts";
import { keySet, signedBy, signingKey } from "../../policy/testing/tokens.ts";
import { eventually, gatewayTo, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";

test("tokens and what they may, API keys that are taken back: in all workers, which ask for keys once each", { timeout: 60_000 }, async () => {
  await using net = await startSupervisor({ workers: 2 });
  const key = signingKey("k1");
  let asked = 0;
  const issuer = createServer((_request, response) => {
    asked++;
    response.end(keySet(key));
  }).listen(0, "127.0.0.1");
  const shop = createServer((request, response) => response.end(`user ${request.headers["x-user"]} client ${request.headers["x-client"]} key ${request.headers["x-key"]}`)).listen(0, "127.0.0.1");
  await Promise.all([once(issuer, "listening"), once(shop, "listening")]);
  try {
    const [issuerIp, shopIp, address] = [nextAddress(), nextAddress(), nextAddress()];
    const portOf = (server: typeof shop) => (server.address() as { port: number }).port;
    net.publish(snapshot(1, { name: "web", clusterIPs: [shopIp], ports: [port(80, [{ ip: "127.0.0.1", port: portOf(shop) }])] }, { name: "issuer", clusterIPs: [issuerIp], ports: [port(8080, [{ ip: "127.0.0.1", port: portOf(issuer) }])] }));
    const put = (revision: number, filters: HttpFilter[]) => {
      const { listeners, upstreams, routes } = gatewayTo(address, 80, [{ type: "responseHeaders", set: [{ name: "x-revision", value: String(revision) }] }, ...filters]);
      net.publishTraffic({ revision, put: { listeners, routes, upstreams: [...upstreams, { id: "default/issuer/8080", namespace: "default", service: "issuer", port: 8080, protocol: "http1" }] }, remove: {} });
    };
    const ask = async (path: string, headers: Record<string, string> = {}) => {
      const [answer] = (await once(requestHttp({ host: address, port: 8080, path, agent: false, headers }).end(), "response")) as [IncomingMessage];
      return { revision: answer.headers["x-revision"], outcome: `${answer.statusCode} ${(await text(answer)).trim()}` };
    };
    /** New connections meet either worker: all of a good number must say the same, of the revision that was published last. */
    const everywhere = async (revision: number, path: string, headers: Record<string, string>, expected: string) => {
      await eventually(async () => (await Promise.all(Array.from({ length: 8 }, () => ask(path, headers).catch(() => undefined)))).every((answer) => answer?.revision === String(revision)), 30_000);
      for (const { outcome } of await Promise.all(Array.from({ length: 16 }, () => ask(path, headers)))) assert.equal(outcome, expected);
    };

    const rules: AccessRule[] = [
      { name: "admins", action: "allow", path: { type: "prefix", value: "/admin" }, token: { provider: "issuer", claims: [{ name: "groups", values: ["admin"], isList: true }] } },
      { name: "users", action: "allow", path: { type: "prefix", value: "/users" }, token: { provider: "issuer", scopes: ["read"] } },
    ];
    put(1, [
      { type: "jwt", providers: [{ name: "issuer", issuer: "me", isForwarded: true, keys: { upstream: "default/issuer/8080", host: "issuer", target: "/jwks" }, claimHeaders: [{ header: "x-user", claim: "sub" }] }] },
      { type: "authorise", rules, otherwise: "deny" },
    ]);
    const bearer = (claims: object) => ({ authorization: `Bearer ${signedBy(key, { iss: "me", ...claims })}`, "x-user": "root" });
    await everywhere(1, "/users", {}, "401 Jwt is missing");
    assert.equal(asked, 0, "who shows no token makes nobody ask");
    await everywhere(1, "/users", bearer({ sub: "ann", scope: "read" }), "200 user ann client undefined key undefined");
    await everywhere(1, "/admin", bearer({ sub: "ann", scope: "read" }), "403 RBAC: access denied");
    await everywhere(1, "/admin", bearer({ sub: "bob", groups: ["admin"] }), "200 user bob client undefined key undefined");
    await everywhere(1, "/users", { authorization: "Bearer a.b.c" }, "401 Jwt header is an invalid JSON");
    assert.ok(asked >= 1 && asked <= 2, `${asked} requests for keys`);

    const keys = (...names: string[]): HttpFilter => ({ type: "apiKey", keys: names.map((client) => ({ client, sha256: createHash("sha256").update(`k-${client}`).digest("hex") })), from: [{ in: "header", name: "x-key" }], clientHeader: "x-client", sanitise: true });
    put(2, [keys("ann", "bob")]);
    await everywhere(2, "/", { "x-key": "k-bob", "x-client": "ann" }, "200 user undefined client bob key undefined");
    put(3, [keys("ann")]);
    await everywhere(3, "/", { "x-key": "k-bob" }, "401 Client authentication failed.");
    await everywhere(3, "/", { "x-key": "k-ann" }, "200 user undefined client ann key undefined");
  } finally {
    for (const server of [issuer, shop]) {
      server.closeAllConnections();
      server.close();
    }
  }
});
