import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { generateKeyPairSync, sign } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:https";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { judge as levelOf, readAuditPolicy } from "../../src/apiserver/audit/policy.ts";
import { openStructuredAuthentication } from "../../src/apiserver/authn/oidc/authenticator.ts";
import type { RequestInfo } from "../../src/apiserver/http/request-info.ts";
import { Encryption } from "../../src/apiserver/encryption/encryption.ts";
import { openPki } from "../../src/apiserver/pki.ts";
import { FakeClock, systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { goProgram } from "./clients/build.ts";

/**
 * Configuration files beside the real kube-apiserver's own code, which access-judge/main.go asks: what it takes is
 * taken, what it refuses is refused, in its words unless a line here says otherwise.
 */
type Json = Record<string, any>;
const program = process.env["WHERRY_CONFORMANCE"] === "1" ? goProgram("access-judge", join(import.meta.dirname, "access-judge")) : undefined;
const skip = program ? false : process.env["WHERRY_CONFORMANCE"] === "1" ? "needs Go and its module proxy" : "a Go program is built for it, which takes minutes: npm run conformance";
let folder: string;
let judge: ChildProcessWithoutNullStreams;
let answers: AsyncIterator<string>;
let files = 0;
before(() => {
  if (!program) return;
  folder = mkdtempSync(join(tmpdir(), "wherry-judge-"));
  judge = spawn(program, [], { stdio: ["pipe", "pipe", "pipe"] });
  judge.stderr.resume();
  answers = createInterface(judge.stdout)[Symbol.asyncIterator]();
});
after(() => {
  if (!program) return;
  judge.stdin.end();
  rmSync(folder, { recursive: true });
});

async function ask(question: object): Promise<{ error: string; users?: (Json | null)[]; levels?: string[] }> {
  judge.stdin.write(`${JSON.stringify(question)}\n`);
  const { value, done } = await answers.next();
  if (done) throw new Error("the judge has ended");
  return JSON.parse(value) as { error: string; users?: (Json | null)[]; levels?: string[] };
}
function write(content: unknown): string {
  const file = join(folder, `${files++}.yaml`);
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  return file;
}

/** "same": taken or refused by both, each complaint of ours being one of theirs. "words": refused by both, in words of our own. "ours", "theirs": refused by one alone. */
type Verdict = "taken" | "same" | "words" | "ours" | "theirs";
async function compare(kind: "authentication" | "encryption" | "audit", read: (file: string) => unknown, cases: [why: string, content: unknown, verdict: Verdict][]): Promise<void> {
  const differences: string[] = [];
  for (const [why, content, expected] of cases) {
    const file = write(content);
    const theirs = (await ask({ kind, file })).error;
    let ours = "";
    try {
      read(file);
    } catch (error) {
      ours = (error as Error).message;
    }
    const lines = ours.split("\n").slice(1).map((line) => line.trim());
    const verdict: Verdict = ours === "" ? (theirs === "" ? "taken" : "theirs") : theirs === "" ? "ours" : lines.length > 0 && lines.every((line) => theirs.includes(line)) ? "same" : "words";
    if (verdict !== expected) differences.push(`${why}: ${verdict} instead of ${expected}\n  ours   ${ours.replaceAll(file, "FILE")}\n  theirs ${theirs.replaceAll(file, "FILE")}`);
  }
  assert.equal(differences.length, 0, differences.join("\n"));
}

const encryptionOf = (...resources: Json[]): Json => ({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources });
const secret = (bytes = 32): string => Buffer.alloc(bytes, 7).toString("base64");
const aesgcm = { aesgcm: { keys: [{ name: "k", secret: secret() }] } };
const stored = (resources: string[], ...providers: unknown[]): Json => encryptionOf({ resources, providers: providers.length > 0 ? providers : [aesgcm] });

test("EncryptionConfiguration", { skip }, () =>
  compare("encryption", (file) => new Encryption(file), [
    ["the usual", stored(["secrets"], aesgcm, { identity: {} }), "taken"],
    ["several lists", encryptionOf({ resources: ["secrets"], providers: [aesgcm] }, { resources: ["configmaps", "deployments.apps"], providers: [{ identity: {} }] }), "taken"],
    ["all of a group", stored(["*.apps"]), "taken"],
    ["all of the core group", stored(["*."]), "taken"],
    ["everything", stored(["*.*"]), "taken"],
    ["one, then its group, then everything", encryptionOf({ resources: ["secrets"], providers: [aesgcm] }, { resources: ["*."], providers: [aesgcm] }, { resources: ["*.*"], providers: [{ identity: {} }] }), "taken"],
    ["a wildcard alone", stored(["*"]), "same"],
    ["a group that is everything, and a resource", stored(["secrets.*"]), "same"],
    ["everything, then one", encryptionOf({ resources: ["*.*"], providers: [aesgcm] }, { resources: ["secrets"], providers: [aesgcm] }), "same"],
    ["a group, then one of it", encryptionOf({ resources: ["*.apps"], providers: [aesgcm] }, { resources: ["deployments.apps"], providers: [aesgcm] }), "same"],
    ["the core group, then one of it", encryptionOf({ resources: ["*."], providers: [aesgcm] }, { resources: ["secrets"], providers: [aesgcm] }), "same"],
    ["everything and one in a list", stored(["*.*", "secrets"]), "same"],
    ["everything and a group in a list", stored(["*.*", "*.apps"]), "same"],
    ["a group and one of it in a list", stored(["*.apps", "deployments.apps"]), "same"],
    ["twice in a list", stored(["secrets", "secrets"]), "same"],
    ["twice in two lists", encryptionOf({ resources: ["secrets"], providers: [aesgcm] }, { resources: ["secrets"], providers: [{ identity: {} }] }), "taken"],
    ["a custom resource", stored(["widgets.example.com"]), "taken"],
    ["capital letters", stored(["Secrets"]), "same"],
    ["capital letters in a group", stored(["deployments.Apps"]), "same"],
    ["events of their new group", stored(["events.events.k8s.io"]), "same"],
    ["all of that group", stored(["*.events.k8s.io"]), "same"],
    ["events", stored(["events"]), "taken"],
    ["a group that is gone", stored(["deployments.extensions"]), "same"],
    ["all of a group that is gone", stored(["*.extensions"]), "same"],
    ["what has no address", stored(["serviceipallocations"]), "same"],
    ["the other two of that kind", stored(["apiserveripinfo", "servicenodeportallocations"]), "same"],
    ["no resources", stored([]), "same"],
    ["an empty name", stored([""]), "taken"],
    ["no providers", encryptionOf({ resources: ["secrets"], providers: [] }), "same"],
    ["nothing", encryptionOf(), "same"],
    // Theirs shows the provider there, and with it the keys.
    ["an empty provider", stored(["secrets"], {}), "words"],
    ["two providers in one", stored(["secrets"], { ...aesgcm, identity: {} }), "words"],
    ["no keys", stored(["secrets"], { aescbc: { keys: [] } }), "same"],
    ["a key without a name", stored(["secrets"], { secretbox: { keys: [{ name: "", secret: secret() }] } }), "same"],
    ["a key without a secret", stored(["secrets"], { aesgcm: { keys: [{ name: "k", secret: "" }] } }), "same"],
    ["a key of another length", stored(["secrets"], { aesgcm: { keys: [{ name: "k", secret: secret(20) }] } }), "same"],
    ["a short key for secretbox", stored(["secrets"], { secretbox: { keys: [{ name: "k", secret: secret(16) }] } }), "same"],
    ["each length of aescbc", stored(["secrets"], { aescbc: { keys: [16, 24, 32].map((bytes) => ({ name: `k${bytes}`, secret: secret(bytes) })) } }), "taken"],
    ["no base64", stored(["secrets"], { aesgcm: { keys: [{ name: "k", secret: "!!!!" }] } }), "same"],
    ["base64 of an address", stored(["secrets"], { aesgcm: { keys: [{ name: "k", secret: Buffer.alloc(32, 255).toString("base64url") }] } }), "same"],
    ["two keys of a name", stored(["secrets"], { aesgcm: { keys: [{ name: "k", secret: secret() }, { name: "k", secret: Buffer.alloc(32, 8).toString("base64") }] } }), "taken"],
    ["a colon in a key's name", stored(["secrets"], { aesgcm: { keys: [{ name: "a:b", secret: secret() }] } }), "taken"],
    ["a key management service", stored(["secrets"], { kms: { apiVersion: "v2", name: "vault", endpoint: "unix:///tmp/vault.sock" } }, { identity: {} }), "ours"],
    ["an unknown provider", stored(["secrets"], { vault: {} }), "words"],
    ["an unknown field", { ...stored(["secrets"]), more: 1 }, "words"],
    ["another kind", { ...stored(["secrets"]), kind: "Encryption" }, "words"],
    ["a text for a list", { ...stored(["secrets"]), resources: "secrets" }, "words"],
    ["YAML that is none", "a: [", "words"],
    ["an empty file", "", "words"],
  ]));

const policy = (...rules: Json[]): Json => ({ apiVersion: "audit.k8s.io/v1", kind: "Policy", rules });
const metadata = (more: Json): Json => policy({ level: "Metadata", ...more });

test("audit policies", { skip }, () =>
  compare("audit", readAuditPolicy, [
    ["the least", policy({ level: "None" }), "taken"],
    ["every level and stage", { ...policy(...["None", "Metadata", "Request", "RequestResponse"].map((level) => ({ level, omitStages: ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"], omitManagedFields: false }))), omitStages: ["RequestReceived"], omitManagedFields: true }, "taken"],
    ["every condition", metadata({ users: ["a"], userGroups: ["b"], verbs: ["get"], namespaces: ["c", ""], resources: [{ group: "", resources: ["pods", "pods/*", "*/status", "*"], resourceNames: ["d"] }, { group: "apps" }] }), "taken"],
    ["addresses", metadata({ nonResourceURLs: ["*", "/a", "/b/*"] }), "taken"],
    ["a name", { ...metadata({}), metadata: { name: "p" } }, "taken"],
    ["no rules", policy(), "words"],
    ["no level", policy({}), "same"],
    ["an unknown level", policy({ level: "All" }), "same"],
    ["an unknown stage", metadata({ omitStages: ["End"] }), "same"],
    ["an unknown stage for all", { ...metadata({}), omitStages: ["End"] }, "same"],
    ["an address without its slash", metadata({ nonResourceURLs: ["a"] }), "same"],
    ["a star in an address", metadata({ nonResourceURLs: ["/a*b"] }), "same"],
    ["two stars in an address", metadata({ nonResourceURLs: ["/**"] }), "same"],
    ["addresses and namespaces", metadata({ nonResourceURLs: ["/a"], namespaces: ["b"] }), "same"],
    ["addresses and resources", metadata({ nonResourceURLs: ["/a"], resources: [{ group: "" }] }), "same"],
    ["a group with a version", metadata({ resources: [{ group: "apps/v1", resources: ["deployments"] }] }), "same"],
    ["a group that is a star", metadata({ resources: [{ group: "*" }] }), "same"],
    ["names without a resource", metadata({ resources: [{ group: "", resourceNames: ["a"] }] }), "same"],
    ["an unknown field, which theirs passes over", metadata({ user: ["a"] }), "ours"],
    ["an old version", { ...metadata({}), apiVersion: "audit.k8s.io/v1beta1" }, "words"],
    ["another kind", { ...metadata({}), kind: "Rules" }, "words"],
    ["an empty file", "", "words"],
    ["no YAML", "a: [", "words"],
  ]));

const jwtOf = (more: Json = {}, issuer: Json = {}): Json => ({ issuer: { url: "https://127.0.0.1:1", audiences: ["a"], ...issuer }, claimMappings: { username: { claim: "sub", prefix: "" } }, ...more });
const authentication = (...jwt: Json[]): Json => ({ apiVersion: "apiserver.config.k8s.io/v1", kind: "AuthenticationConfiguration", jwt });
const mappings = (more: Json): Json => authentication(jwtOf({ claimMappings: { username: { claim: "sub", prefix: "" }, ...more } }));
const rules = (...claimValidationRules: Json[]): Json => authentication(jwtOf({ claimValidationRules }));
const userRules = (...userValidationRules: Json[]): Json => authentication(jwtOf({ userValidationRules }));
const extra = (key: string, valueExpression = "claims.a"): Json => mappings({ extra: [{ key, valueExpression }] });

test("AuthenticationConfiguration", { skip }, () =>
  compare("authentication", (file) => openStructuredAuthentication({ file, clock: new FakeClock(0), log: silentLog, ownIssuers: ["https://own.example.com"], timeoutMs: 50 }), [
    ["one issuer", authentication(jwtOf()), "taken"],
    ["two issuers", authentication(jwtOf(), jwtOf({}, { url: "https://127.0.0.1:2" })), "taken"],
    ["none", authentication(), "taken"],
    ["nothing but anonymous", { ...authentication(), anonymous: { enabled: true, conditions: [{ path: "/healthz" }] } }, "taken"],
    ["anonymous off", { ...authentication(), anonymous: { enabled: false } }, "taken"],
    ["anonymous off with conditions", { ...authentication(), anonymous: { enabled: false, conditions: [{ path: "/healthz" }] } }, "same"],
    ["65 issuers", authentication(...Array.from({ length: 65 }, (_, index) => jwtOf({}, { url: `https://127.0.0.1:${index + 1}` }))), "same"],
    ["an issuer twice", authentication(jwtOf(), jwtOf()), "same"],
    ["a discovery address twice", authentication(jwtOf({}, { discoveryURL: "https://127.0.0.1:9/x" }), jwtOf({}, { url: "https://127.0.0.1:2", discoveryURL: "https://127.0.0.1:9/x" })), "same"],
    ["a discovery address that is another's issuer", authentication(jwtOf({}, { discoveryURL: "https://127.0.0.1:2" }), jwtOf({}, { url: "https://127.0.0.1:2" })), "taken"],
    ["older versions", { ...authentication(jwtOf()), apiVersion: "apiserver.config.k8s.io/v1beta1" }, "taken"],
    ["the oldest version", { ...authentication(jwtOf()), apiVersion: "apiserver.config.k8s.io/v1alpha1" }, "taken"],
    ["no address", authentication(jwtOf({}, { url: "" })), "same"],
    ["http", authentication(jwtOf({}, { url: "http://a.example.com" })), "same"],
    ["no address at all", authentication(jwtOf({}, { url: "::" })), "words"],
    ["an address without a host", authentication(jwtOf({}, { url: "https:///a" })), "taken"],
    ["a password", authentication(jwtOf({}, { url: "https://a:b@a.example.com" })), "same"],
    ["a query", authentication(jwtOf({}, { url: "https://a.example.com?b" })), "same"],
    ["a fragment", authentication(jwtOf({}, { url: "https://a.example.com#b" })), "same"],
    ["our own issuer", authentication(jwtOf({}, { url: "https://own.example.com" })), "same"],
    ["discovery at the issuer", authentication(jwtOf({}, { discoveryURL: "https://127.0.0.1:1/" })), "same"],
    ["discovery by http", authentication(jwtOf({}, { discoveryURL: "http://127.0.0.1:9" })), "same"],
    ["no audiences", authentication(jwtOf({}, { audiences: [] })), "same"],
    ["an empty audience", authentication(jwtOf({}, { audiences: [""] })), "same"],
    ["an audience twice", authentication(jwtOf({}, { audiences: ["a", "a"], audienceMatchPolicy: "MatchAny" })), "same"],
    ["two audiences", authentication(jwtOf({}, { audiences: ["a", "b"], audienceMatchPolicy: "MatchAny" })), "taken"],
    ["two audiences without a policy", authentication(jwtOf({}, { audiences: ["a", "b"] })), "same"],
    ["an unknown policy", authentication(jwtOf({}, { audienceMatchPolicy: "MatchAll" })), "same"],
    ["a certificate that is none", authentication(jwtOf({}, { certificateAuthority: "x" })), "words"],
    ["an egress selector", authentication(jwtOf({}, { egressSelectorType: "controlplane" })), "ours"],
    ["an unknown egress selector", authentication(jwtOf({}, { egressSelectorType: "x" })), "words"],
    ["no username", authentication(jwtOf({ claimMappings: {} })), "same"],
    ["username by both", authentication(jwtOf({ claimMappings: { username: { claim: "a", prefix: "", expression: "claims.a" } } })), "same"],
    ["username without a prefix", authentication(jwtOf({ claimMappings: { username: { claim: "a" } } })), "same"],
    ["username by expression", authentication(jwtOf({ claimMappings: { username: { expression: "'x:' + claims.sub" } } })), "taken"],
    ["username by an expression with a prefix", authentication(jwtOf({ claimMappings: { username: { expression: "claims.sub", prefix: "a" } } })), "same"],
    ["username that is a number, which is no name of anybody", authentication(jwtOf({ claimMappings: { username: { expression: "1" } } })), "taken"],
    ["e-mail", authentication(jwtOf({ claimMappings: { username: { expression: "claims.email" } } })), "same"],
    ["e-mail, by index", authentication(jwtOf({ claimMappings: { username: { expression: 'claims["email"]' } } })), "taken"],
    ["e-mail in a text", authentication(jwtOf({ claimMappings: { username: { expression: "claims.sub + 'claims.email'" } } })), "taken"],
    ["e-mail, verified by a rule", authentication(jwtOf({ claimMappings: { username: { expression: "claims.email" } }, claimValidationRules: [{ expression: "claims.email_verified == true" }] })), "taken"],
    ["e-mail, verified in a text alone", authentication(jwtOf({ claimMappings: { username: { expression: "claims.email" } }, claimValidationRules: [{ expression: "claims.a == 'email_verified'" }] })), "same"],
    ["e-mail, verified by the expression", authentication(jwtOf({ claimMappings: { username: { expression: "claims.?email_verified.orValue(true) ? claims.email : claims.sub" } } })), "taken"],
    ["e-mail, verified in extra", authentication(jwtOf({ claimMappings: { username: { expression: "claims.email" }, extra: [{ key: "example.com/a", valueExpression: "string(claims.email_verified)" }] } })), "taken"],
    ["groups by claim", mappings({ groups: { claim: "a", prefix: "b" } }), "taken"],
    ["groups without a prefix", mappings({ groups: { claim: "a" } }), "same"],
    ["groups by both", mappings({ groups: { claim: "a", prefix: "", expression: "claims.a" } }), "same"],
    ["a prefix of no groups", mappings({ groups: { prefix: "a" } }), "taken"],
    ["groups that are a number", mappings({ groups: { expression: "1" } }), "taken"],
    ["uid by both", mappings({ uid: { claim: "a", expression: "claims.a" } }), "same"],
    ["uid that is a list", mappings({ uid: { expression: "['a']" } }), "taken"],
    ["extra", extra("example.com/a"), "taken"],
    ["extra without a key", extra(""), "same"],
    ["extra without an expression", extra("example.com/a", ""), "same"],
    ["extra without a domain", extra("a"), "same"],
    ["extra in capitals", extra("example.com/A"), "same"],
    ["extra of Kubernetes", extra("kubernetes.io/a"), "same"],
    ["extra of a part of Kubernetes", extra("a.k8s.io/a"), "same"],
    ["extra of nearly Kubernetes", extra("akubernetes.io/a"), "taken"],
    ["extra with a wrong path", extra("example.com/a b"), "same"],
    ["extra with an encoded path", extra("example.com/%20"), "taken"],
    ["extra twice", mappings({ extra: [{ key: "example.com/a", valueExpression: "claims.a" }, { key: "example.com/a", valueExpression: "claims.b" }] }), "same"],
    ["a claim that is required", rules({ claim: "a", requiredValue: "b" }), "taken"],
    ["a claim required twice", rules({ claim: "a", requiredValue: "b" }, { claim: "a", requiredValue: "c" }), "same"],
    ["a rule twice", rules({ expression: "claims.a == 'b'" }, { expression: "claims.a == 'b'" }), "same"],
    ["a rule", rules({ expression: "claims.exp - claims.nbf <= 86400", message: "too long" }), "taken"],
    ["a rule of both kinds", rules({ claim: "a", expression: "true" }), "same"],
    ["a rule of neither", rules({}), "same"],
    ["a message of a required claim", rules({ claim: "a", message: "b" }), "same"],
    ["a value of a rule", rules({ expression: "true", requiredValue: "b" }), "same"],
    ["a rule that is a text", rules({ expression: "'a'" }), "same"],
    ["a rule that may be anything", rules({ expression: "claims.a" }), "same"],
    ["a rule about what is not there", rules({ expression: "user.username == 'a'" }), "same"],
    ["a rule that does not compile", rules({ expression: "claims." }), "same"],
    ["rules of users", userRules({ expression: "!user.username.startsWith('system:')", message: "reserved" }, { expression: "user.groups.all(g, g != 'a') && user.uid != '' && user.extra.size() == 0" }), "taken"],
    ["a rule of users without an expression", userRules({ message: "a" }), "same"],
    ["a rule of users twice", userRules({ expression: "true" }, { expression: "true" }), "same"],
    ["a rule of users that is a text", userRules({ expression: "user.username" }), "same"],
    ["a rule about a field that users have not", userRules({ expression: "user.name == 'a'" }), "same"],
    ["libraries of Kubernetes", rules({ expression: "url(claims.a).getHost() == 'b' && claims.c.find('d') == 'd' && ip(claims.e).isLoopback()" }), "taken"],
    ["a macro on a claim, which has any type there and wants a dyn() around it", mappings({ groups: { expression: "claims.teams.map(t, t)" } }), "theirs"],
    ["an unknown field", authentication(jwtOf({ audience: "a" })), "words"],
    ["another kind", { ...authentication(jwtOf()), kind: "Authentication" }, "words"],
    ["an empty file", "", "words"],
    ["no YAML", "a: [", "words"],
  ]));

test("who a token speaks for", { skip }, async (t) => {
  const pki = await openPki(folder);
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const server = createServer({ key: pki.server.key, cert: pki.server.cert }, (request, response) => {
    const url = `https://${request.headers.host}${request.url!.startsWith("/two/") ? "/two" : ""}`;
    const body = request.url!.endsWith("/jwks") ? { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k", use: "sig", alg: "RS256" }] } : { issuer: url, jwks_uri: `${url}/jwks` };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  const url = `https://127.0.0.1:${(server.address() as { port: number }).port}`;
  const nowS = Math.floor(Date.now() / 1000);
  const tokenOf = (more: Json): string => {
    const content = [{ alg: "RS256", kid: "k" }, { iss: url, aud: "a", sub: "u1", name: "ann", email: "ann@example.com", teams: ["x", "y"], exp: nowS + 3600, iat: nowS, ...more }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    return `${content}.${sign("sha256", Buffer.from(content), privateKey).toString("base64url")}`;
  };
  const claims: [why: string, claims: Json][] = [
    ["as it is", {}],
    ["no name", { name: undefined }],
    ["an empty name", { name: "" }],
    ["a name that is a number", { name: 7 }],
    ["a name that is a list", { name: ["ann"] }],
    ["one team", { teams: "x" }],
    ["no team", { teams: undefined }],
    ["an empty team", { teams: ["", "x"] }],
    ["teams that are numbers", { teams: [1, 2] }],
    ["teams that are null", { teams: null }],
    ["a team twice", { teams: ["x", "x"] }],
    ["an address that is verified", { email_verified: true }],
    ["one that is not", { email_verified: false }],
    ["one whose proof is a text", { email_verified: "true" }],
    ["masters", { teams: ["system:masters"] }],
    ["expired", { exp: nowS - 10 }],
    ["no end", { exp: undefined }],
    ["a fraction of an end", { exp: nowS + 60.5 }],
    ["of tomorrow", { nbf: nowS + 86_400 }],
    ["for others", { aud: "b" }],
    ["for several", { aud: ["b", "a"] }],
    ["for nobody", { aud: undefined }],
    ["of the other issuer", { iss: `${url}/two` }],
    ["of nobody", { iss: "https://else.example.com" }],
    ["of a number of its own", { jti: "j-1" }],
    ["with a domain", { hd: "example.com" }],
    ["with nested claims", { realm: { roles: ["r1", "r2"], level: 3 } }],
    ["with a claim of a name with dots", { "example.com/roles": ["r"] }],
    ["with teams that lie elsewhere", { _claim_names: { teams: "src" }, _claim_sources: { src: { endpoint: "https://127.0.0.1:1/" } }, teams: undefined }],
  ];
  const tokens = claims.map(([, more]) => tokenOf(more));
  const by = (username: Json, more: Json = {}): Json => ({ claimMappings: { username, ...more } });
  const name = { claim: "name", prefix: "" };
  const configs: [why: string, jwt: Json, second?: Json][] = [
    ["by claim", by({ claim: "name", prefix: "oidc:" }, { groups: { claim: "teams", prefix: "t:" }, uid: { claim: "sub" } })],
    ["by the subject", by({ claim: "sub", prefix: "" })],
    ["by address", by({ claim: "email", prefix: "" })],
    ["by expression", by({ expression: "'x:' + claims.name" }, { groups: { expression: "dyn(claims.teams).map(t, t + '!')" }, uid: { expression: "claims.sub" }, extra: [{ key: "example.com/mail", valueExpression: "claims.email" }, { key: "example.com/teams", valueExpression: "claims.teams" }] })],
    ["by address in an expression", by({ expression: "claims.?email_verified.orValue(true) ? claims.email : claims.sub" })],
    ["by a claim that may be missing", by({ expression: "has(claims.name) ? claims.name : 'nobody'" }, { groups: { expression: "claims.?teams.orValue([])" } })],
    ["groups of a nested claim", by(name, { groups: { expression: "has(claims.realm) ? claims.realm.roles : []" }, extra: [{ key: "example.com/level", valueExpression: "has(claims.realm) ? string(claims.realm.level) : ''" }] })],
    ["groups of a claim with dots", by(name, { groups: { expression: "has(claims.example__dot__com__slash__roles) ? claims.example__dot__com__slash__roles : []" } })],
    ["sums of numbers", { ...by(name), claimValidationRules: [{ expression: "claims.exp - claims.iat > 1.0 && claims.exp / 2.0 > 1.0" }] }],
    ["a number that is compared", { ...by(name), claimValidationRules: [{ expression: "!has(claims.realm) || claims.realm.level == 3" }] }],
    ["an int where there is none", { ...by(name), claimValidationRules: [{ expression: "claims.exp - 1 > 0" }] }],
    ["an extra key of its own in a rule of users", { ...by(name, { extra: [{ key: "example.com/a", valueExpression: "claims.sub" }] }), userValidationRules: [{ expression: "user.extra.example__dot__com__slash__a == ['u1'] && user.extra['example.com/a'].size() == 1" }] }],
    ["groups by a claim with dots", by(name, { groups: { claim: "example.com/roles", prefix: "" } })],
    ["uid by a claim that is missing", by(name, { uid: { claim: "oid" } })],
    ["uid by an expression that gives a number", by(name, { uid: { expression: "claims.exp" } })],
    ["extra that is null", by(name, { extra: [{ key: "example.com/a", valueExpression: "null" }] })],
    ["extra that is a number", by(name, { extra: [{ key: "example.com/a", valueExpression: "1" }] })],
    ["a required claim", { ...by(name), claimValidationRules: [{ claim: "hd", requiredValue: "example.com" }] }],
    ["a required claim without a value", { ...by(name), claimValidationRules: [{ claim: "hd" }] }],
    ["a rule", { ...by(name), claimValidationRules: [{ expression: "dyn(claims.teams).exists(t, t == 'x')", message: "not in x" }] }],
    ["a rule on times", { ...by(name), claimValidationRules: [{ expression: "claims.exp - claims.iat <= 3600" }] }],
    ["a rule of users", { ...by(name, { groups: { claim: "teams", prefix: "" }, uid: { claim: "sub" } }), userValidationRules: [{ expression: "!user.groups.exists(g, g.startsWith('system:'))" }, { expression: "user.uid == 'u1' && user.username != ''" }] }],
    ["two issuers", by({ claim: "name", prefix: "one:" }), by({ claim: "name", prefix: "two:" }, { groups: { claim: "teams", prefix: "" } })],
  ];
  const differences: string[] = [];
  for (const [why, jwt, second] of configs) {
    const issuer = (path: string): Json => ({ url: `${url}${path}`, audiences: ["a"], certificateAuthority: pki.ca });
    const file = write(authentication({ issuer: issuer(""), ...jwt }, ...(second ? [{ issuer: issuer("/two"), ...second }] : [])));
    const { error, users = [] } = await ask({ kind: "tokens", file, tokens });
    assert.equal(error, "", why);
    const ours = openStructuredAuthentication({ file, clock: systemClock, log: silentLog, ownIssuers: [] });
    for (const [index, [what]] of claims.entries()) {
      const found = await ours.authenticate(tokens[index]!);
      // The real one calls everybody authenticated one step later.
      const mine = found && { ...found, groups: found.groups.filter((group) => group !== "system:authenticated") };
      const plain = (user: Json | null | undefined): string => (user ? JSON.stringify([user["name"], user["uid"] ?? "", user["groups"] ?? [], Object.entries(user["extra"] ?? {}).sort()]) : "nobody");
      // An empty claim is a name there, that of nobody in particular.
      if (what === "an empty name" && !mine) continue;
      if (plain(mine) !== plain(users[index])) differences.push(`${why}, ${what}: ${plain(mine)} instead of ${plain(users[index])}`);
    }
  }
  t.diagnostic(`${configs.length * claims.length} answers`);
  assert.deepEqual(differences, []);
});

test("what a policy says of a request", { skip }, async (t) => {
  const conditions: Json[] = [
    {},
    { users: ["ann"] },
    { userGroups: ["team", "system:nodes"] },
    { verbs: ["get", "list"] },
    { namespaces: ["default"] },
    { namespaces: [""] },
    { namespaces: ["default", ""], verbs: ["delete"] },
    { resources: [{ group: "" }] },
    { resources: [{ group: "apps" }, { group: "", resources: ["secrets"] }] },
    { resources: [{ group: "", resources: ["pods"] }] },
    { resources: [{ group: "", resources: ["pods/log"] }] },
    { resources: [{ group: "", resources: ["pods/*"] }] },
    { resources: [{ group: "", resources: ["*/status"] }] },
    { resources: [{ group: "", resources: ["*"] }] },
    { resources: [{ group: "", resources: ["pods"], resourceNames: ["one"] }] },
    { resources: [{ group: "apps", resources: ["deployments", "deployments/*"], resourceNames: ["one", ""] }] },
    { resources: [{ group: "", resources: ["pods"] }], namespaces: ["default"], users: ["ann"] },
    { nonResourceURLs: ["/healthz"] },
    { nonResourceURLs: ["/healthz*", "/api"] },
    { nonResourceURLs: ["/livez/*"] },
    { nonResourceURLs: ["*"] },
    { users: ["ann"], nonResourceURLs: ["/version"] },
    { omitStages: ["RequestReceived", "Panic"], omitManagedFields: true },
  ];
  const whose = [{ user: "ann", groups: ["team"] }, { user: "bob", groups: [] }];
  const asked: Json[] = [
    ...["/healthz", "/healthz/", "/healthzz", "/livez/a", "/livez", "/api", "/version"].map((path) => ({ verb: "get", path })),
    ...[["", "pods", "", "one"], ["", "pods", "", ""], ["", "pods", "log", "one"], ["", "pods", "status", "two"], ["", "nodes", "status", "one"], ["", "secrets", "", "one"], ["apps", "deployments", "", "one"], ["apps", "deployments", "scale", "one"], ["apps", "deployments", "status", "two"], ["batch", "jobs", "", ""]].flatMap(([group, resource, subresource, name]) =>
      ["default", ""].flatMap((namespace) => ["get", "delete"].map((verb) => ({ verb, path: "/x", namespace, group, resource, subresource, name })))),
  ];
  const requests = whose.flatMap((who) => asked.map((one) => ({ ...who, ...one })));
  const differences: string[] = [];
  for (const rule of conditions) {
    const file = write({ ...policy({ level: "Request", ...rule }, { level: "Metadata", omitStages: ["ResponseStarted"] }), omitStages: ["ResponseComplete"] });
    const { levels } = await ask({ kind: "levels", file, requests });
    const read = readAuditPolicy(file);
    for (const [index, { user, groups, verb, path, group, resource, subresource, name, namespace }] of requests.entries() as IterableIterator<[number, Json]>) {
      const info = { verb, path, ...(resource && { resource: { group, version: "v1", resource, ...(subresource && { subresource }), ...(name && { name }), ...(namespace && { namespace }) } }) } as RequestInfo;
      const verdict = levelOf(read, info, { name: user, groups });
      const words = [verdict.level, ...[...verdict.omitted].sort(), ...(verdict.omitManagedFields ? ["omitManagedFields"] : [])].join(" ");
      if (words !== levels![index]) differences.push(`${JSON.stringify(rule)} ${JSON.stringify(requests[index])}: ${words} instead of ${levels![index]}`);
    }
  }
  t.diagnostic(`${conditions.length * requests.length} answers`);
  assert.deepEqual(differences, []);
});
