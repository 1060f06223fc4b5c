import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { HttpClient } from "../../src/api/http-client.ts";
import type { StatusError } from "../../src/api/status.ts";
import { followAuthentication } from "../../src/apiserver/authn/oidc/follow.ts";
import { openPki } from "../../src/apiserver/pki.ts";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { startApi } from "../harness-api.ts";
import { hasOracle, startOracle } from "./differential/oracle.ts";

/** One AuthenticationConfiguration beside the real kube-apiserver's: who has no name, who has a foreign one, what reviews say of both. */
const why = !process.env["WHERRY_CONFORMANCE"] ? "a real kube-apiserver is started for it: npm run conformance" : hasOracle() ? false : "no kube-apiserver here: node tools/build-oracle.mjs";
type Json = Record<string, any>;

test("an AuthenticationConfiguration means the same", { skip: why, timeout: 120_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-authentication-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const pki = await openPki(folder);
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const server = createServer({ key: pki.server.key, cert: pki.server.cert }, (request, response) => {
    const url = `https://${request.headers.host}`;
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(request.url === "/jwks" ? { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", use: "sig" }] } : { issuer: url, jwks_uri: `${url}/jwks` }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  const nowS = Math.floor(Date.now() / 1000);
  const tokenOf = (more: Json): string => {
    const content = [{ alg: "RS256", kid: "k" }, { iss: url, aud: "stack", sub: "u1", name: "ann", hd: "example.com", teams: ["staff"], exp: nowS + 3600, jti: "one", ...more }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${content}.${sign("sha256", Buffer.from(content), privateKey).toString("base64url")}`;
  };
  const file = join(folder, "authentication.yaml");
  writeFileSync(file, JSON.stringify({
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AuthenticationConfiguration",
    jwt: [{
      issuer: { url, audiences: ["stack"], certificateAuthority: pki.ca },
      claimMappings: { username: { claim: "name", prefix: "oidc:" }, groups: { expression: "claims.teams" }, uid: { claim: "sub" }, extra: [{ key: "example.com/level", valueExpression: "has(claims.level) ? string(claims.level) : ''" }] },
      claimValidationRules: [{ claim: "hd", requiredValue: "example.com" }, { expression: "!has(claims.role) || claims.role == 'worker'" }],
      userValidationRules: [{ expression: "!user.groups.exists(g, g.startsWith('system:'))", message: "reserved" }],
    }],
    anonymous: { enabled: true, conditions: [{ path: "/healthz" }, { path: "/version" }, { path: "/api" }, { path: "/apis/apps/v1" }] },
  }));
  await using api = await startApi();
  const following = followAuthentication(api.tokens, { file, clock: systemClock, log: silentLog, ownIssuers: [] });
  t.after(() => following.close());
  await using oracle = await startOracle({ args: ["--authentication-config", file] });
  const nobody = api.http({});
  const ask = async (client: HttpClient, [method, path, headers, body]: readonly [string, string, Record<string, string>, Json?]): Promise<unknown> => {
    try {
      const { status, text } = await client.raw(method, path, body, headers);
      return body ? JSON.parse(text) : status;
    } catch (error) {
      const { code, message } = error as StatusError;
      return { code, message };
    }
  };
  const group = "rbac.authorization.k8s.io";
  for (const client of [api.http(), oracle.client]) {
    for (const [name, subject] of [["named", { apiGroup: group, kind: "Group", name: "staff" }], ["nameless", { apiGroup: group, kind: "User", name: "system:anonymous" }]] as const) {
      await client.raw("POST", `/apis/${group}/v1/clusterrolebindings`, { metadata: { name }, roleRef: { apiGroup: group, kind: "ClusterRole", name: "system:discovery" }, subjects: [subject] });
    }
  }
  const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });
  const whoami = { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" };
  const review = (spec: Json): Json => ({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec });
  const good = tokenOf({});
  // The harness's client names itself, by its token there and by a certificate here: who is nobody says so.
  const none = { authorization: "" };
  const cases: (readonly [string, string, Record<string, string>, Json?])[] = [
    ...["/healthz", "/healthz/ping", "/version", "/version/", "/livez", "/readyz", "/api", "/api/v1", "/apis", "/apis/apps/v1", "/api/v1/pods", "/openapi/v2"].map((path) => ["GET", path, none] as const),
    ["GET", "/api", bearer("nonsense")],
    ["GET", "/api", { authorization: "Basic eDp5" }],
    ["GET", "/apis", bearer(good)],
    ["GET", "/api/v1/pods", bearer(good)],
    ["GET", "/apis", bearer(tokenOf({ teams: [] }))],
    ["GET", "/apis", bearer(tokenOf({ teams: ["system:masters"] }))],
    ["GET", "/apis", bearer(tokenOf({ aud: "else" }))],
    ["GET", "/apis", bearer(tokenOf({ exp: nowS - 60 }))],
    ["POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer(good), whoami],
    ["POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", bearer(tokenOf({ level: 3, jti: undefined, name: "system:anonymous" })), whoami],
  ];
  const differences: string[] = [];
  const plain = (value: unknown): string => JSON.stringify(value, (key, part: unknown) => (key === "managedFields" || key === "creationTimestamp" ? undefined : typeof part === "object" && part !== null && !Array.isArray(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part)).replaceAll("https://kubernetes.default.svc.cluster.local", "ISSUER").replaceAll("https://kubernetes.default.svc", "ISSUER");
  const compare = (what: string, ours: unknown, theirs: unknown): void => void (plain(ours) !== plain(theirs) && differences.push(`${what}\n  ${plain(ours)}\n  ${plain(theirs)}`));
  for (const one of cases) compare(`${one[0]} ${one[1]} ${one[2]["authorization"]!.slice(0, 12)}`, await ask(nobody, one), await ask(oracle.client, one));
  const reviews: Json[] = [{}, { exp: 1 }, { exp: 1.5 }, { teams: ["system:masters"] }, { aud: "else" }, { aud: ["else", "other"] }, { hd: "else" }, { hd: undefined }, { role: "x" }, { iss: "https://else.example.com" }].map((more) => ({ token: tokenOf(more) }));
  reviews.push({ token: good, audiences: ["stack"] }, { token: good, audiences: ["ISSUER", "else"] });
  for (const spec of reviews) {
    const one = ["POST", "/apis/authentication.k8s.io/v1/tokenreviews", {}, review(spec)] as const;
    compare(`review ${Buffer.from((spec["token"] as string).split(".")[1]!, "base64url").toString()}`, await ask(api.http(), one), await ask(oracle.client, one));
  }
  assert.equal(differences.length, 0, differences.join("\n"));
});
