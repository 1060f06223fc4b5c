import assert from "node:assert/strict";
import { constants, createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { test } from "node:test";
import type { TokenRule } from "../../api/guard.ts";
import { requestView } from "../testing/request.ts";
import { TokenReader } from "./reader.ts";

const nowMs = Date.parse("2026-01-01T00:00:00Z");
const now = nowMs / 1000;

const keys = {
  rsa: generateKeyPairSync("rsa", { modulusLength: 2048 }),
  weak: generateKeyPairSync("rsa", { modulusLength: 1024 }),
  p256: generateKeyPairSync("ec", { namedCurve: "P-256" }),
  p384: generateKeyPairSync("ec", { namedCurve: "P-384" }),
  p521: generateKeyPairSync("ec", { namedCurve: "P-521" }),
  ed: generateKeyPairSync("ed25519"),
  stranger: generateKeyPairSync("ec", { namedCurve: "P-256" }),
};
const secret = Buffer.alloc(32, 7);
type KeyName = keyof typeof keys;

const publicOf = (name: KeyName) => ({ ...keys[name].publicKey.export({ format: "jwk" }), kid: name });
const pemOf = (name: KeyName) => keys[name].publicKey.export({ type: "spki", format: "pem" }) as string;
const setOf = (...jwks: object[]): string => JSON.stringify({ keys: jwks });
const everyKey = setOf(...(["rsa", "p256", "p384", "p521", "ed"] as const).map(publicOf), { kty: "oct", k: secret.toString("base64url"), kid: "secret" });

const encoded = (value: unknown): string => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

function signatureOf(alg: string, signed: string, key: KeyObject | Buffer | string): Buffer {
  const bytes = Buffer.from(signed);
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith("HS")) return createHmac(hash, key as Buffer).update(bytes).digest();
  if (alg === "EdDSA") return sign(null, bytes, key as KeyObject);
  if (alg.startsWith("PS")) return sign(hash, bytes, { key: key as KeyObject, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: Number(alg.slice(2)) / 8 });
  return sign(hash, bytes, alg.startsWith("ES") ? { key: key as KeyObject, dsaEncoding: "ieee-p1363" } : (key as KeyObject));
}
function token(alg: string, key: KeyObject | Buffer | string, claims: object = {}, header: object = {}): string {
  const signed = `${encoded({ alg, typ: "JWT", ...header })}.${encoded({ iss: "me", sub: "ann", exp: now + 60, ...claims })}`;
  return `${signed}.${signatureOf(alg, signed, key).toString("base64url")}`;
}

const never = (): never => assert.fail("nobody is asked for keys");
const reader = (rule: Partial<TokenRule> = {}): TokenReader => new TokenReader([{ issuer: "me", jwks: everyKey, ...rule }], never, () => nowMs);
function verdict(text: string, rule: Partial<TokenRule> = {}): string {
  const { claims, refusal } = reader(rule).read(requestView({ headers: { authorization: `Bearer ${text}` } }));
  return refusal ? `${refusal.status} ${refusal.reason}` : claims ? "believed" : "none";
}

const algorithms: [alg: string, key: KeyObject | Buffer, kid: string][] = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map((alg): [string, KeyObject, string] => [alg, keys.rsa.privateKey, "rsa"]),
  ["ES256", keys.p256.privateKey, "p256"],
  ["ES384", keys.p384.privateKey, "p384"],
  ["ES512", keys.p521.privateKey, "p521"],
  ["EdDSA", keys.ed.privateKey, "ed"],
  ["HS256", secret, "secret"],
];

test("each algorithm, with and without a key id; one bit of another signature, payload or head is not believed", () => {
  for (const [alg, key, kid] of algorithms) {
    for (const header of [{ kid }, {}]) {
      const good = token(alg, key, {}, header);
      assert.equal(verdict(good), "believed", alg);
      const [head, payload, signature] = good.split(".") as [string, string, string];
      const other = Buffer.from(signature, "base64url");
      other[3]! ^= 1;
      assert.equal(verdict(`${head}.${payload}.${other.toString("base64url")}`), "401 Jwt verification fails", alg);
      assert.equal(verdict(`${head}.${encoded({ iss: "me", sub: "root", exp: now + 60 })}.${signature}`), "401 Jwt verification fails", alg);
      assert.equal(verdict(`${encoded({ alg, kid, more: 1 })}.${payload}.${signature}`), "401 Jwt verification fails", alg);
    }
  }
});

const unsupported = "401 Jwt header [alg] is not supported";
const noKey = "401 Jwks doesn't have key to match kid or alg from Jwt";
const malformed = "401 Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
const { rsa, weak, p256, p384, stranger } = keys;
const body = encoded({ iss: "me", exp: now + 60 });
const derSigned = () => {
  const signed = `${encoded({ alg: "ES256" })}.${body}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), p256.privateKey).toString("base64url")}`;
};

/** What must not be believed, or barely is; RFC 8725 names most of them. */
const cases: [what: string, token: string, expected: string, rule?: Partial<TokenRule>][] = [
  ["no signature", `${encoded({ alg: "none" })}.${body}.`, "401 Jwt signature is an invalid Base64url encoded"],
  ["none, with a signature", `${encoded({ alg: "none" })}.${body}.aaaa`, unsupported],
  ["None", `${encoded({ alg: "None" })}.${body}.aaaa`, unsupported],
  ["a public RSA key as a secret", token("HS256", pemOf("rsa"), {}, { kid: "rsa" }), noKey],
  ["a public EC key as a secret", token("HS256", pemOf("p256"), {}, { kid: "p256" }), noKey],
  ["a public key as a secret, without a key id", token("HS256", pemOf("rsa")), noKey, { jwks: setOf(publicOf("rsa")) }],
  ["the secret for longer hashes than it has bytes", token("HS512", secret, {}, { kid: "secret" }), noKey],
  ["a curve that is not the algorithm's", token("ES256", p384.privateKey, {}, { kid: "p384" }), noKey],
  ["RSA for an EC algorithm's key", token("RS256", rsa.privateKey, {}, { kid: "p256" }), noKey],
  ["an algorithm other than the key's own", token("RS512", rsa.privateKey), noKey, { jwks: setOf({ ...publicOf("rsa"), alg: "RS256" }) }],
  ["a key for encryption", token("RS256", rsa.privateKey), noKey, { jwks: setOf({ ...publicOf("rsa"), use: "enc" }) }],
  ["a key that is too short", token("RS256", weak.privateKey), noKey, { jwks: setOf(publicOf("weak")) }],
  ["a key that the token brings along", token("ES256", stranger.privateKey, {}, { jwk: publicOf("stranger") }), "401 Jwt verification fails"],
  ["an unknown key id", token("ES256", p256.privateKey, {}, { kid: "other" }), noKey],
  ["a key id that is no text", token("ES256", p256.privateKey, {}, { kid: 1 }), unsupported],
  ["a stranger's signature", token("ES256", stranger.privateKey, {}, { kid: "p256" }), "401 Jwt verification fails"],
  ["a signature in DER", derSigned(), "401 Jwt verification fails"],
  ["a critical extension", token("ES256", p256.privateKey, {}, { crit: ["exp"] }), unsupported],
  ["an unencoded payload", token("ES256", p256.privateKey, {}, { b64: false }), unsupported],
  ["an algorithm of the language", token("ES256", p256.privateKey).replace(/^[^.]+/, encoded({ alg: "constructor" })), unsupported],
  ["two parts", `${encoded({ alg: "ES256" })}.${body}`, malformed],
  ["five parts", "a.b.c.d.e", malformed],
  ["padding", `${token("ES256", p256.privateKey)}=`, "401 Jwt signature is an invalid Base64url encoded"],
  ["a head that is no object", `${encoded("[]")}.${body}.aaaa`, "401 Jwt header is an invalid JSON"],
  ["a payload that is no object", `${encoded({ alg: "ES256" })}.${encoded("7")}.aaaa`, "401 Jwt payload is an invalid JSON"],
  ["too long", token("ES256", p256.privateKey, { more: "x".repeat(20_000) }), malformed],
  ["over for a minute", token("ES256", p256.privateKey, { exp: now - 59 }), "believed"],
  ["over for longer", token("ES256", p256.privateKey, { exp: now - 61 }), "401 Jwt is expired"],
  ["an end that is no number", token("ES256", p256.privateKey, { exp: "never" }), "401 Jwt is expired"],
  ["without an end", token("ES256", p256.privateKey, { exp: undefined }), "believed"],
  ["not yet", token("ES256", p256.privateKey, { nbf: now + 61 }), "401 Jwt not yet valid"],
  ["soon", token("ES256", p256.privateKey, { nbf: now + 59 }), "believed"],
  ["another issuer", token("ES256", p256.privateKey, { iss: "you" }), "401 Jwt issuer is not configured"],
  ["an issuer in a list", token("ES256", p256.privateKey, { iss: ["me"] }), "401 Jwt issuer is not configured"],
  ["our audience", token("ES256", p256.privateKey, { aud: ["x", "shop"] }), "believed", { audiences: ["shop"] }],
  ["our audience as an address", token("ES256", p256.privateKey, { aud: "https://shop/" }), "believed", { audiences: ["shop"] }],
  ["another audience", token("ES256", p256.privateKey, { aud: "bank" }), "403 Audiences in Jwt are not allowed", { audiences: ["shop"] }],
  ["no audience", token("ES256", p256.privateKey), "403 Audiences in Jwt are not allowed", { audiences: ["shop"] }],
  ["keys that are none", token("ES256", p256.privateKey), "401 Jwks remote fetch is failed", { jwks: "{}" }],
  ["keys that nobody can read", token("ES256", p256.privateKey), "401 Jwks remote fetch is failed", { jwks: "<html>" }],
  ["one key of several that can be read", token("ES256", p256.privateKey), "believed", { jwks: setOf({ kty: "EC", crv: "P-256", x: "?" }, { kty: "what" }, publicOf("p256")) }],
];

for (const [what, text, expected, rule] of cases) test(what, () => assert.equal(verdict(text, rule), expected));

test("nothing of an issuer is believed before its keys are there, and after they are others", () => {
  let told: (text: string | undefined) => void = () => {};
  let stopped = 0;
  const tokens = new TokenReader([{ issuer: "me", jwksUri: "http://keys.auth/jwks" }], (_uri, then) => {
    told = then;
    return () => stopped++;
  }, () => nowMs);
  const read = () => tokens.read(requestView({ headers: { authorization: `Bearer ${token("ES256", p256.privateKey)}` } })).refusal?.reason ?? "believed";
  assert.equal(read(), "Jwks remote fetch is failed");
  told(setOf(publicOf("p256")));
  assert.equal(read(), "believed");
  told(setOf({ ...publicOf("stranger"), kid: undefined }));
  assert.equal(read(), "Jwt verification fails", "what was verified with other keys is forgotten");
  tokens.close();
  assert.equal(stopped, 1);
});

test("a token that was verified ends all the same", () => {
  let at = nowMs;
  const tokens = new TokenReader([{ issuer: "me", jwks: everyKey }], never, () => at);
  const request = requestView({ headers: { authorization: `Bearer ${token("ES256", p256.privateKey)}` } });
  assert.ok(tokens.read(request).claims);
  at += 121_000;
  assert.equal(tokens.read(request).refusal?.reason, "Jwt is expired");
});

test("where tokens are looked for, what ends here, and what the program is told", () => {
  const text = token("ES256", p256.privateKey, { groups: ["a"], scope: "read write", realm: { role: "owner" } });
  const read = (fields: Parameters<typeof requestView>[0], rule: Partial<TokenRule> = {}) => {
    const { claims, edits, withoutParams } = reader(rule).read(requestView(fields));
    return { found: claims !== undefined, remove: edits.remove, set: Object.fromEntries(edits.set), withoutParams };
  };
  assert.deepEqual(read({ headers: { authorization: `bearer ${text}` } }), { found: true, remove: ["authorization"], set: {}, withoutParams: [] });
  assert.deepEqual(read({ target: `/?a=1&access_token=${text}` }), { found: true, remove: [], set: {}, withoutParams: ["access_token"] });
  assert.deepEqual(read({ headers: { authorization: `Basic ${text}` } }).found, false);
  assert.deepEqual(read({ headers: { authorization: `Bearer ${text}` } }, { isForwarded: true }).remove, []);
  assert.deepEqual(read({ headers: { "x-token": `t:${text}` } }, { headers: [{ name: "x-token", prefix: "t:" }] }), { found: true, remove: ["x-token"], set: {}, withoutParams: [] });
  assert.equal(read({ headers: { authorization: `Bearer ${text}` } }, { headers: [{ name: "x-token", prefix: "" }] }).found, false, "places that are named are the only ones");
  assert.equal(read({ headers: { cookie: `a=b; session=${text}` } }, { cookies: ["session"] }).found, true);
  const told = { payloadHeader: "X-Payload", claimHeaders: [{ header: "X-Role", claim: "realm.role" }, { header: "X-Groups", claim: "groups" }, { header: "X-None", claim: "none" }] };
  const payload = text.split(".")[1];
  assert.deepEqual(read({ headers: { authorization: `Bearer ${text}` } }, told).set, { "x-payload": payload, "x-role": "owner", "x-groups": Buffer.from('["a"]').toString("base64") });
  assert.deepEqual(read({ headers: { "x-payload": "mine", "x-role": "mine" } }, told).remove, ["x-payload", "x-role", "x-groups", "x-none"], "who has no token does not say them himself");
  const { claims } = reader().read(requestView({ headers: { authorization: `Bearer ${text}` } }));
  assert.deepEqual(claims?.["scope"], ["read", "write"]);
});

test("of several rules any may believe it; what none believes is refused", () => {
  const rules: TokenRule[] = [
    { issuer: "me", jwks: setOf(publicOf("p256")) },
    { issuer: "you", jwks: setOf(publicOf("p384")), headers: [{ name: "x-token", prefix: "" }] },
  ];
  const tokens = new TokenReader(rules, never, () => nowMs);
  const read = (headers: Record<string, string>) => {
    const { claims, refusal } = tokens.read(requestView({ headers }));
    return refusal?.reason ?? claims?.["iss"];
  };
  assert.equal(read({ authorization: `Bearer ${token("ES256", p256.privateKey)}` }), "me");
  assert.equal(read({ "x-token": token("ES384", p384.privateKey, { iss: "you" }) }), "you");
  assert.equal(read({ authorization: "Bearer no", "x-token": token("ES384", p384.privateKey, { iss: "you" }) }), "you");
  assert.equal(read({ authorization: "Bearer no" }), "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
  assert.equal(read({}), undefined);
});
