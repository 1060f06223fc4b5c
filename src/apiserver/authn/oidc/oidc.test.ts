import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FakeClock } from "../../../base/clock.ts";
import { silentLog } from "../../../base/log.ts";
import { openPki } from "../../pki.ts";
import { openStructuredAuthentication, type StructuredAuthentication } from "./authenticator.ts";
import { followAuthentication } from "./follow.ts";

/** An issuer on loopback: what it answers is changed at will. */
interface Issuer {
  url: string;
  ca: string;
  keys: object[];
  mood: "honest" | "hangs" | "fails" | "redirects" | "lies" | "babbles" | "trickles" | "stalls" | "plain" | "nonsense";
  asked: number;
}
let issuer: Issuer;
let folder: string;
let close: () => Promise<void>;
const audience = "wherry";
const clock = new FakeClock(Date.UTC(2026, 5, 1));

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "wherry-oidc-"));
  const pki = await openPki(folder);
  issuer = { url: "", ca: pki.ca, keys: [], mood: "honest", asked: 0 };
  const server = createServer({ key: pki.server.key, cert: pki.server.cert }, (request, response) => {
    issuer.asked++;
    const say = (status: number, body: string, headers = {}) => void response.writeHead(status, headers).end(body);
    if (issuer.mood === "hangs" || (issuer.mood === "stalls" && request.url === "/jwks")) return;
    if (issuer.mood === "trickles") return void response.writeHead(200).write("{");
    if (issuer.mood === "nonsense") return say(200, "<html>");
    if (issuer.mood === "fails") return say(500, "");
    if (issuer.mood === "babbles") return void response.writeHead(200).end("x".repeat(2 << 20));
    if (issuer.mood === "redirects") return say(302, "", { location: `${issuer.url}/elsewhere` });
    if (request.url === "/jwks" || request.url === "/elsewhere") return say(200, JSON.stringify({ keys: issuer.keys }));
    say(200, JSON.stringify({ issuer: issuer.mood === "lies" ? "https://somebody.example.com" : issuer.url, jwks_uri: `${issuer.mood === "plain" ? issuer.url.replace("https", "http") : issuer.url}/jwks` }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  issuer.url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  close = () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
});
after(async () => {
  await close();
  rmSync(folder, { recursive: true });
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const small = generateKeyPairSync("rsa", { modulusLength: 1024 });
const ec = (namedCurve: string) => generateKeyPairSync("ec", { namedCurve });
const curves = { ES256: ec("P-256"), ES384: ec("P-384"), ES512: ec("P-521") };
const stranger = generateKeyPairSync("rsa", { modulusLength: 2048 });
const jwk = (key: KeyObject, kid: string, more: object = {}): object => ({ ...key.export({ format: "jwk" }), kid, use: "sig", ...more });
const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
const nowS = (): number => Math.floor(clock.now() / 1000);
const claims = (more: object = {}): object => ({ iss: issuer.url, aud: audience, sub: "u1", name: "ann", email: "ann@example.com", email_verified: true, teams: ["a", "b"], exp: nowS() + 3600, iat: nowS(), ...more });
function token(payload: object, head: { alg: string; kid?: string; crit?: string[] } = { alg: "RS256", kid: "one" }, key: KeyObject = rsa.privateKey): string {
  const content = `${encode(head)}.${encode(payload)}`;
  const hash = `sha${head.alg.slice(2)}`;
  const padding = head.alg.startsWith("PS") ? { padding: 6, saltLength: Number(head.alg.slice(2)) / 8 } : {};
  return `${content}.${sign(hash, Buffer.from(content), { key, dsaEncoding: "ieee-p1363", ...padding }).toString("base64url")}`;
}

let files = 0;
/** `timeoutMs` is short only where the issuer shall not answer in time. */
function open(jwt: object = {}, rest: object = {}, timeoutMs = 20_000): StructuredAuthentication {
  const file = join(folder, `${files++}.json`);
  const whole = { issuer: { url: issuer.url, certificateAuthority: issuer.ca, audiences: [audience] }, claimMappings: { username: { claim: "name", prefix: "oidc:" } }, ...jwt };
  writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt: [whole], ...rest }));
  return openStructuredAuthentication({ file, clock, log: silentLog, ownIssuers: ["https://own.example.com"], timeoutMs });
}
const all = (): object[] => [jwk(rsa.publicKey, "one"), jwk(small.publicKey, "small"), ...Object.entries(curves).map(([alg, pair]) => jwk(pair.publicKey, alg, { alg }))];

test("tokens are taken by algorithm, key, time and audience", async () => {
  issuer.keys = all();
  const authentication = open();
  const name = async (text: string): Promise<string | undefined> => (await authentication.authenticate(text))?.name;
  const good = token(claims());
  const [head, body, signature] = good.split(".") as [string, string, string];
  const publicPem = rsa.publicKey.export({ type: "spki", format: "pem" });
  const hmac = (content: string): string => `${content}.${createHmac("sha256", publicPem).update(content).digest("base64url")}`;
  const table: [why: string, text: string, taken: boolean][] = [
    ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map((alg): [string, string, boolean] => [alg, token(claims(), { alg, kid: "one" }), true]),
    ...Object.entries(curves).map(([alg, pair]): [string, string, boolean] => [alg, token(claims(), { alg, kid: alg }, pair.privateKey), true]),
    ["no key named", token(claims(), { alg: "RS256" }), true],
    ["one of several audiences", token(claims({ aud: ["x", audience] })), true],
    ["nothing at all", "", false],
    ["no algorithm", `${encode({ alg: "none" })}.${body}.`, false],
    ["the public key as a secret", hmac(`${encode({ alg: "HS256", kid: "one" })}.${body}`), false],
    ["another's signature", `${head}.${body}.${token(claims({ name: "eve" })).split(".")[2]}`, false],
    ["changed claims", `${head}.${encode(claims({ name: "eve" }))}.${signature}`, false],
    ["a key that the issuer does not have", token(claims(), { alg: "RS256", kid: "one" }, generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey), false],
    ["a key too small", token(claims(), { alg: "RS256", kid: "small" }, small.privateKey), false],
    ["a curve of another algorithm", token(claims(), { alg: "ES256", kid: "ES384" }, curves.ES384.privateKey), false],
    ["a key brought along", token(claims(), { alg: "RS256", jwk: stranger.publicKey.export({ format: "jwk" }) } as never, stranger.privateKey), false],
    ["an address of keys brought along", token(claims(), { alg: "RS256", kid: "else", jku: `${issuer.url}/jwks`, x5u: `${issuer.url}/x` } as never, stranger.privateKey), false],
    ["a key's name that is a path", token(claims(), { alg: "RS256", kid: "../../../../dev/null" }, stranger.privateKey), false],
    ["a key's name that is a list", token(claims(), { alg: "RS256", kid: ["one"] } as never), true],
    ["an algorithm that every object has", `${encode({ alg: "constructor", kid: "one" })}.${body}.${signature}`, false],
    ["a list for a head", `${encode([])}.${body}.${signature}`, false],
    ["null for claims", `${head}.${Buffer.from("null").toString("base64url")}.${signature}`, false],
    ["a signature of noughts", `${encode({ alg: "ES256", kid: "ES256" })}.${body}.${Buffer.alloc(64).toString("base64url")}`, false],
    ["no signature", `${head}.${body}.`, false],
    ["five parts", `${good}.x.y`, false],
    ["more than any header holds", token(claims({ padding: "x".repeat(64 * 1024) })), false],
    ["what must be understood and is not", token(claims(), { alg: "RS256", kid: "one", crit: ["b64"] }), false],
    ["expired", token(claims({ exp: nowS() })), false],
    ["with a text for an end", token(claims({ exp: String(nowS() + 3600) })), false],
    ["with a text for a beginning", token(claims({ nbf: "0" })), false],
    ["of a clock a little ahead", token(claims({ nbf: nowS() + 5 })), true],
    ["without end", token(claims({ exp: undefined })), false],
    ["of tomorrow", token(claims({ nbf: nowS() + 86400 })), false],
    ["for others", token(claims({ aud: "x" })), false],
    ["for nobody", token(claims({ aud: undefined })), false],
    ["for a part of us", token(claims({ aud: audience.slice(1) })), false],
    ["for a list in a list", token(claims({ aud: [[audience]] })), false],
    ["of an issuer with a slash more", token(claims({ iss: `${issuer.url}/` })), false],
    ["of a list of issuers", token(claims({ iss: [issuer.url] })), false],
    ["of another issuer", token(claims({ iss: "https://else.example.com" })), false],
    ["without a name", token(claims({ name: undefined })), false],
    ["with a number for a name", token(claims({ name: 7 })), false],
  ];
  for (const [why, text, taken] of table) assert.equal(await name(text), taken ? "oidc:ann" : undefined, why);
});

test("claims become names, groups, uid and extra, by rules and expressions", async () => {
  issuer.keys = all();
  const by = (username: object, more: object = {}): object => ({ claimMappings: { username, ...more } });
  const claim = { claim: "name", prefix: "" };
  const table: [why: string, jwt: object, claims: object, identity: object | undefined][] = [
    ["by claim", by(claim, { groups: { claim: "teams", prefix: "t:" }, uid: { claim: "sub" } }), {}, { name: "ann", uid: "u1", groups: ["t:a", "t:b", "system:authenticated"] }],
    ["one group as a text", by(claim, { groups: { claim: "teams", prefix: "" } }), { teams: "a" }, { name: "ann", groups: ["a", "system:authenticated"] }],
    ["groups that are no texts", by(claim, { groups: { claim: "teams", prefix: "" } }), { teams: [1] }, undefined],
    ["no groups", by(claim, { groups: { claim: "teams", prefix: "" } }), { teams: undefined }, { name: "ann", groups: ["system:authenticated"] }],
    ["by expression", by({ expression: "'x:' + claims.name" }, { groups: { expression: "claims.teams.map(t, t + '!')" }, uid: { expression: "claims.sub" }, extra: [{ key: "example.com/mail", valueExpression: "claims.email" }] }), {}, { name: "x:ann", uid: "u1", groups: ["a!", "b!", "system:authenticated"], extra: { "example.com/mail": ["ann@example.com"] } }],
    ["a token of a number of its own", by(claim), { jti: "7f" }, { name: "ann", groups: ["system:authenticated"], extra: { "authentication.kubernetes.io/credential-id": ["JTI=7f"] } }],
    ["an empty group by claim", by(claim, { groups: { claim: "teams", prefix: "t:" } }), { teams: ["", "a"] }, { name: "ann", groups: ["t:", "t:a", "system:authenticated"] }],
    ["groups that lie elsewhere", by(claim, { groups: { claim: "teams", prefix: "" } }), { teams: undefined, _claim_names: { teams: "src" } }, undefined],
    ["a claim whose name is no word", by(claim, { groups: { expression: "claims.example__dot__com__slash__roles" } }), { "example.com/roles": ["r"] }, { name: "ann", groups: ["r", "system:authenticated"] }],
    ["times with fractions", { claimValidationRules: [{ expression: "claims.exp - claims.iat <= 3600" }], ...by(claim) }, { iat: nowS() + 0.5 }, { name: "ann", groups: ["system:authenticated"] }],
    ["an expression about a claim that is not there", by({ expression: "claims.login" }), {}, undefined],
    ["an expression that gives no text", by({ expression: "claims.exp" }), {}, undefined],
    ["an e-mail address", by({ claim: "email", prefix: "" }), {}, { name: "ann@example.com", groups: ["system:authenticated"] }],
    ["one that is not verified", by({ claim: "email", prefix: "" }), { email_verified: false }, undefined],
    ["a claim as required", { claimValidationRules: [{ claim: "hd", requiredValue: "example.com" }], ...by(claim) }, { hd: "example.com" }, { name: "ann", groups: ["system:authenticated"] }],
    ["a required claim of another value", { claimValidationRules: [{ claim: "hd", requiredValue: "example.com" }], ...by(claim) }, { hd: "else" }, undefined],
    ["a required claim that is missing", { claimValidationRules: [{ claim: "hd", requiredValue: "example.com" }], ...by(claim) }, {}, undefined],
    ["a rule that holds", { claimValidationRules: [{ expression: "claims.exp - claims.iat <= 3600" }], ...by(claim) }, {}, { name: "ann", groups: ["system:authenticated"] }],
    ["a rule that does not", { claimValidationRules: [{ expression: "claims.exp - claims.iat < 3600", message: "too long" }], ...by(claim) }, {}, undefined],
    ["a user nobody may be", { userValidationRules: [{ expression: "!user.username.startsWith('system:')", message: "reserved" }], ...by(claim) }, { name: "system:admin" }, undefined],
    ["a group nobody may be in", { userValidationRules: [{ expression: "user.groups.all(g, !g.startsWith('system:'))" }], ...by(claim, { groups: { claim: "teams", prefix: "" } }) }, { teams: ["system:masters"] }, undefined],
  ];
  for (const [why, jwt, more, identity] of table) assert.deepEqual(await open(jwt).authenticate(token(claims(more))), identity, why);
});

test("an issuer that rotates, lies, hangs, fails and disappears", async () => {
  issuer.keys = [jwk(rsa.publicKey, "one")];
  const next = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const first = token(claims());
  const second = token(claims(), { alg: "RS256", kid: "two" }, next.privateKey);
  const rotating = open();
  assert.equal((await rotating.authenticate(first))?.name, "oidc:ann");
  issuer.keys = [jwk(next.publicKey, "two")];
  const asked = issuer.asked;
  assert.equal(await rotating.authenticate(second), undefined, "asked a moment ago");
  assert.equal(issuer.asked, asked, "a flood of unknown keys is not handed on to the issuer");
  clock.advance(10_001);
  const many = await Promise.all(Array.from({ length: 20 }, () => rotating.authenticate(second)));
  assert.deepEqual(new Set(many.map((one) => one?.name)), new Set(["oidc:ann"]));
  assert.equal(issuer.asked, asked + 2, "once for all who wait: the document and the keys");
  clock.advance(10_001);
  assert.equal(await rotating.authenticate(first), undefined, "the old key is gone");

  for (const mood of ["lies", "hangs", "fails", "redirects", "babbles", "trickles", "stalls", "plain", "nonsense"] as const) {
    issuer.mood = mood;
    const isSilent = ["hangs", "trickles", "stalls"].includes(mood);
    assert.equal(await open({}, {}, isSilent ? 200 : 20_000).authenticate(second), undefined, mood);
    clock.advance(10_001);
    assert.equal((await rotating.authenticate(second))?.name, "oidc:ann", `${mood}: keys once fetched go on counting`);
    if (!isSilent) assert.equal(await rotating.authenticate(first), undefined, mood);
  }
  issuer.mood = "honest";
  const untrusted = open({ issuer: { url: issuer.url, audiences: [audience] } });
  assert.equal(await untrusted.authenticate(second), undefined, "a certificate that nobody vouches for");
  const gone = open({ issuer: { url: "https://127.0.0.1:1", certificateAuthority: issuer.ca, audiences: [audience] } });
  assert.equal(await gone.authenticate(token(claims({ iss: "https://127.0.0.1:1" }))), undefined);
});

test("a configuration that cannot be followed is refused, field by field", () => {
  const base = { issuer: { url: issuer.url, audiences: [audience] }, claimMappings: { username: { claim: "name", prefix: "" } } };
  const table: [jwt: object, rest: object, error: RegExp][] = [
    [{ issuer: { url: "http://a.example.com", audiences: ["x"] } }, {}, /jwt\[0\]\.issuer\.url: Invalid value: "http:\/\/a\.example\.com": URL scheme must be https/],
    [{ issuer: { url: "https://a.example.com?x", audiences: ["x"] } }, {}, /URL must not contain a query/],
    [{ issuer: { url: "https://own.example.com", audiences: ["x"] } }, {}, /URL must not overlap with disallowed issuers: \[https:\/\/own\.example\.com\]/],
    [{ issuer: { url: issuer.url } }, {}, /audiences: Required value/],
    [{ issuer: { url: issuer.url, audiences: ["a", "b"] } }, {}, /audienceMatchPolicy must be MatchAny for multiple audiences/],
    [{ issuer: { url: issuer.url, audiences: ["a"], egressSelectorType: "cluster" } }, {}, /egressSelectorType: Forbidden/],
    [{ issuer: { url: issuer.url, audiences: ["a"], certificateAuthority: "x" } }, {}, /certificateAuthority: Invalid value: "<omitted>"/],
    [{ issuer: { url: issuer.url, audiences: ["a"], discoveryURL: issuer.url } }, {}, /discoveryURL must be different from URL/],
    [{ claimMappings: {} }, {}, /claimMappings\.username: Required value/],
    [{ claimMappings: { username: { claim: "name" } } }, {}, /prefix is required when claim is set/],
    [{ claimMappings: { username: { expression: "claims.email" } } }, {}, /claims\.email_verified must be used/],
    [{ claimMappings: { username: { expression: "claims." } } }, {}, /username\.expression: Invalid value: "claims\.": compilation failed: ERROR: <input>/],
    [{ claimMappings: { ...base.claimMappings, extra: [{ key: "plain", valueExpression: "claims.a" }] } }, {}, /extra\[0\]\.key: Invalid value: "plain": must be a domain-prefixed path/],
    [{ claimValidationRules: [{ claim: "a", expression: "true" }] }, {}, /claim and expression can't both be set/],
    [{ claimValidationRules: [{ expression: "claims.a + 1", message: "x" }, {}] }, {}, /claimValidationRules\[1\]: Required value/],
    [{ claimValidationRules: [{ expression: "'a'" }] }, {}, /must evaluate to bool/],
    [{ userValidationRules: [{ message: "x" }] }, {}, /userValidationRules\[0\]\.expression: Required value/],
    [{ issuerURL: "x" }, {}, /jwt\[0\]\.issuerURL: unknown field/],
    [{}, { anonymous: { enabled: false, conditions: [{ path: "/healthz" }] } }, /enabled should be set to true when conditions are defined/],
    [{}, { kind: "Other" }, /must be of apiVersion apiserver\.config\.k8s\.io\/v1 and kind AuthenticationConfiguration/],
  ];
  for (const [jwt, rest, error] of table) assert.throws(() => open({ ...base, ...jwt }, rest), { code: "ACCESS_CONFIG_INVALID", message: error }, JSON.stringify(jwt));
  const anonymous = (rest: object) => open(base, rest).mayBeAnonymous;
  assert.equal(anonymous({}), undefined);
  assert.deepEqual(["/healthz", "/api"].map(anonymous({ anonymous: { enabled: true, conditions: [{ path: "/healthz" }] } })!), [true, false]);
  assert.deepEqual(["/healthz", "/api"].map(anonymous({ anonymous: { enabled: true } })!), [true, true]);
  assert.deepEqual(["/healthz", "/api"].map(anonymous({ anonymous: { enabled: false } })!), [false, false]);
});

test("a changed file counts a minute later, one that makes no sense does not", async () => {
  issuer.keys = all();
  const file = join(folder, `${files++}.json`);
  const write = (prefix: string, more: object = {}): void => writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt: [{ issuer: { url: issuer.url, certificateAuthority: issuer.ca, audiences: [audience] }, claimMappings: { username: { claim: "name", prefix } }, ...more }] }));
  write("a:");
  const tokens: { structured: StructuredAuthentication | undefined } = { structured: undefined };
  const said: string[] = [];
  const following = followAuthentication(tokens, { file, clock, log: { ...silentLog, error: (message) => void said.push(message) }, ownIssuers: [] });
  const name = async (): Promise<string | undefined> => (await tokens.structured!.authenticate(token(claims())))?.name;
  assert.equal(await name(), "a:ann");
  write("b:");
  assert.equal(await name(), "a:ann");
  clock.advance(60_000);
  assert.equal(await name(), "b:ann");
  write("c:", { nonsense: true });
  clock.advance(60_000);
  assert.equal(await name(), "b:ann");
  assert.deepEqual(said, ["the authentication configuration changed and cannot be followed; the one before stays"]);
  following.close();
  write("d:");
  clock.advance(60_000);
  assert.equal(await name(), "b:ann");
});

test("who sends bad tokens fills no log", async () => {
  issuer.keys = all();
  const file = join(folder, `${files++}.json`);
  writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt: [{ issuer: { url: issuer.url, certificateAuthority: issuer.ca, audiences: [audience] }, claimMappings: { username: { claim: "name", prefix: "" } } }] }));
  const said: unknown[] = [];
  const authentication = openStructuredAuthentication({ file, clock, log: { ...silentLog, warn: (_, fields) => void said.push(fields) }, ownIssuers: [] });
  const late = token(claims({ exp: 1 }));
  for (let count = 0; count < 50; count++) assert.equal(await authentication.authenticate(late), undefined);
  clock.advance(1_000);
  await authentication.authenticate(late);
  assert.deepEqual(said, [{ issuer: issuer.url, why: "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)" }, { issuer: issuer.url, why: "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)", othersSince: 49 }]);
});
