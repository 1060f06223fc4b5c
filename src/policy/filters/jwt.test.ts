import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { test } from "node:test";
import type { HttpFilter, TokenProvider } from "../../api/traffic.ts";
import { FakeClock } from "../../base/clock.ts";
import { handle, requestView, toolsAt } from "../testing/request.ts";
import { hmacSigned, keySet, signedBy, signingKey, unsigned } from "../testing/tokens.ts";
import { jwt } from "./jwt.ts";

/**
 * What must not be believed, by the whole filter with two providers: `mine` issues for the shop, `theirs` for somebody else; both are
 * trusted, each for its own. What one verifier must not believe stands in tokens/reader.test.ts. Sources: RFC 8725, RFC 6750 §5.
 */
const nowMs = Date.parse("2026-01-01T00:00:00Z");
const now = nowMs / 1000;
const [mine, theirs, stranger, rsa] = [signingKey("k1"), signingKey("k2"), signingKey("k1"), signingKey("r1", "RS256")];
const claims = { iss: "mine", sub: "ann", aud: "shop", exp: now + 60 };
const pem = createPublicKey({ key: rsa.jwk as never, format: "jwk" }).export({ type: "spki", format: "pem" }) as string;
const good = signedBy(mine, claims);
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });

const providers: TokenProvider[] = [
  { name: "mine", issuer: "mine", audiences: ["shop"], jwks: keySet(mine, rsa), isForwarded: true, claimHeaders: [{ header: "X-User", claim: "sub" }] },
  { name: "theirs", issuer: "theirs", jwks: keySet(theirs), isForwarded: true, claimHeaders: [{ header: "X-User", claim: "sub" }, { header: "X-Partner", claim: "sub" }] },
];
function serve(request: Parameters<typeof requestView>[0], more: Partial<Extract<HttpFilter, { type: "jwt" }>> = {}) {
  const filter = jwt({ type: "jwt", providers, ...more }, { ...toolsAt(new FakeClock()), dateMs: () => nowMs });
  return handle(filter((exchange, outcome) => outcome.forward(exchange)), requestView(request));
}
function outcomeOf({ answer, exchange }: ReturnType<typeof serve>): string {
  if (answer) return `${answer.status} ${answer.reason}`;
  return [...exchange.caller!.jwt!].map(([name, { sub }]) => `${name}:${String(sub)}`).join(" ");
}

const noKey = "401 Jwks doesn't have key to match kid or alg from Jwt";
const wrongKey = "401 Jwt verification fails";
const unsupported = "401 Jwt header [alg] is not supported";
const cases: [what: string, request: Parameters<typeof requestView>[0], expected: string][] = [
  ["the right one", bearer(good), "mine:ann"],
  ["the other provider's", bearer(signedBy(theirs, { iss: "theirs", sub: "eve" })), "theirs:eve"],
  ["our issuer's name over another provider's key", bearer(signedBy(theirs, claims)), noKey],
  ["our issuer's name and key id over another provider's key", bearer(signedBy(theirs, claims, { kid: "k1" })), wrongKey],
  ["another provider's name over our key", bearer(signedBy(mine, { ...claims, iss: "theirs" }, { kid: "k2" })), wrongKey],
  ["nobody's name", bearer(signedBy(mine, { ...claims, iss: undefined })), "401 Jwt issuer is not configured"],
  ["both names", bearer(signedBy(mine, { ...claims, iss: ["mine", "theirs"] })), "401 Jwt issuer is not configured"],
  ["no algorithm", bearer(unsigned(claims, "none")), "401 Jwt signature is an invalid Base64url encoded"],
  ["no algorithm, with a signature", bearer(unsigned(claims, "nOnE", "aaaa")), unsupported],
  ["the public key as a secret", bearer(hmacSigned(pem, claims, { kid: "r1" })), noKey],
  ["the public key's JSON as a secret", bearer(hmacSigned(JSON.stringify(rsa.jwk), claims, { kid: "r1" })), noKey],
  ["nothing as a secret", bearer(hmacSigned("", claims)), noKey],
  ["a key id that is a path", bearer(hmacSigned("", claims, { kid: "../../../../dev/null" })), noKey],
  ["a key id that is a query", bearer(hmacSigned("x", claims, { kid: "k1' UNION SELECT 'x" })), noKey],
  ["a key id of the language", bearer(signedBy(stranger, claims, { kid: "__proto__" })), noKey],
  ["a key at an address of the token's", bearer(signedBy(stranger, claims, { jku: "https://evil.example/keys", x5u: "https://evil.example/cert" })), wrongKey],
  ["a key in the token", bearer(signedBy(stranger, claims, { jwk: stranger.jwk })), wrongKey],
  ["a certificate in the token", bearer(signedBy(stranger, claims, { x5c: ["MIIB"] })), wrongKey],
  ["over within the skew", bearer(signedBy(mine, { ...claims, exp: now - 59 })), "mine:ann"],
  ["over", bearer(signedBy(mine, { ...claims, exp: now - 61 })), "401 Jwt is expired"],
  ["over, of the other provider", bearer(signedBy(theirs, { iss: "theirs", exp: now - 61 })), "401 Jwt is expired"],
  ["not yet within the skew", bearer(signedBy(mine, { ...claims, nbf: now + 59 })), "mine:ann"],
  ["not yet", bearer(signedBy(mine, { ...claims, nbf: now + 61 })), "401 Jwt not yet valid"],
  ["for somebody else", bearer(signedBy(mine, { ...claims, aud: "bank" })), "403 Audiences in Jwt are not allowed"],
  ["for nobody", bearer(signedBy(mine, { ...claims, aud: undefined })), "403 Audiences in Jwt are not allowed"],
  ["huge", bearer(signedBy(mine, { ...claims, more: "x".repeat(100_000) })), "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"],
  ["deep", bearer(`${Buffer.from('{"alg":"ES256"}').toString("base64url")}.${Buffer.from(`{"a":${"[".repeat(5_000)}`).toString("base64url")}.aaaa`), "401 Jwt payload is an invalid JSON"],
  ["many dots", bearer(".".repeat(10_000)), "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"],
  ["the header twice", { headers: { authorization: `Bearer ${good}, Bearer ${good}` } }, "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"],
  ["another scheme", { headers: { authorization: `Token ${good}` } }, "401 Jwt is missing"],
  ["another header", { headers: { "x-authorization": `Bearer ${good}` } }, "401 Jwt is missing"],
  ["a cookie", { headers: { cookie: `access_token=${good}` } }, "401 Jwt is missing"],
  ["the parameter", { target: `/?access_token=${good}` }, "mine:ann"],
  ["a parameter of another name", { target: `/?token=${good}` }, "401 Jwt is missing"],
  ["two tokens that are both believed", { ...bearer(good), target: `/?access_token=${signedBy(theirs, { iss: "theirs", sub: "eve" })}` }, "mine:ann theirs:eve"],
  ["two tokens, of which one is made up", { ...bearer(good), target: `/?access_token=${unsigned({ sub: "root" }, "none")}` }, "mine:ann"],
  ["two tokens that are both made up", { ...bearer(unsigned(claims, "none")), target: `/?access_token=${unsigned(claims, "none")}` }, "401 Jwt signature is an invalid Base64url encoded"],
];
for (const [what, request, expected] of cases) test(`${what}: ${expected.slice(0, 40)}`, () => assert.equal(outcomeOf(serve(request)), expected));

test("a made-up token does not go on beside one that is believed, and headers of claims are taken from who shows none", () => {
  const { exchange } = serve({ ...bearer(good), target: `/a?access_token=${unsigned({ sub: "root" }, "none")}&x=1` });
  assert.equal(exchange.target, "/a?x=1");
  assert.deepEqual(exchange.requestHeaders, { remove: ["x-user", "x-partner"], set: [["x-user", "ann"]], add: [] });
  const { exchange: anonymous } = serve({ headers: { "x-user": "root" } }, { optional: true });
  assert.deepEqual([anonymous.requestHeaders, anonymous.caller], [{ remove: ["x-user", "x-partner"], set: [], add: [] }, undefined]);
});

test("who is refused hears of it as RFC 6750 has it; a host name cannot break out of the realm", () => {
  const challenge = (request: Parameters<typeof requestView>[0]) => serve(request).answer!.headers.find(([name]) => name === "www-authenticate")?.[1];
  assert.equal(challenge({}), 'Bearer realm="example.com"');
  assert.equal(challenge(bearer("x")), 'Bearer realm="example.com", error="invalid_token"');
  assert.equal(challenge(bearer(signedBy(mine, { ...claims, aud: "bank" }))), 'Bearer realm="example.com", error="insufficient_scope"');
  assert.equal(challenge({ host: 'a", error="none' }), 'Bearer realm="aerrornone"');
});

test("keys that are elsewhere, where there is nobody to ask: nothing is believed", () => {
  const [first] = providers;
  const { jwks: _, ...rest } = first!;
  const { answer } = serve(bearer(good), { providers: [{ ...rest, keys: { upstream: "u", host: "h", target: "/" } }] });
  assert.equal(answer!.status, 401);
});
