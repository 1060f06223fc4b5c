import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import type { TestGateway } from "./testing/gateway.ts";
import { client, type Lies, type OpenidProvider, startProvider } from "./testing/openid-provider.ts";
import { type OidcConfig, type OpenidStack, startOpenidStack } from "./testing/openid-stack.ts";

interface Stack extends OpenidStack {
  provider: OpenidProvider;
}

async function start(more: Partial<OidcConfig> = {}, workers = 1, isVerified = false): Promise<Stack> {
  const provider = await startProvider();
  const stack = await startOpenidStack(provider.port, { issuer: provider.issuer, clientId: client.id, clientSecret: client.secret, upstreams: [{ upstream: "issuer", origin: provider.issuer, isVerified }], ...more }, workers);
  provider.now = () => stack.now() / 1000;
  return {
    ...stack,
    provider,
    async [Symbol.asyncDispose]() {
      await stack[Symbol.asyncDispose]();
      await provider[Symbol.asyncDispose]();
    },
  };
}

type Answer = { status: number; head: string; body: string; header(name: string): string | undefined };

/** Keeps cookies, as far as these tests need it. */
class Browser {
  readonly cookies = new Map<string, string>();
  /** Attributes of those that were set last. */
  lines: string[] = [];

  async get(gateway: TestGateway, target: string, { host = "shop.example", headers = {}, method = "GET" }: { host?: string; headers?: Record<string, string>; method?: string } = {}): Promise<Answer> {
    const connection = await gateway.open();
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const fields = Object.entries({ ...(cookie !== "" && { Cookie: cookie }), ...headers }).map(([name, value]) => `${name}: ${value}\r\n`).join("");
    connection.send(`${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`);
    const answer = await connection.answer();
    connection.socket.destroy();
    this.lines = [...answer.head.matchAll(/^set-cookie: (.*?)\r$/gim)].map(([, line]) => line!);
    for (const line of this.lines) {
      const [pair] = line.split("; ");
      const at = pair!.indexOf("=");
      if (line.includes("Max-Age=0")) this.cookies.delete(pair!.slice(0, at));
      else this.cookies.set(pair!.slice(0, at), pair!.slice(at + 1));
    }
    return answer;
  }
  /** From a first request until the program has answered; each step may be at another worker. */
  async login({ provider, workers }: Stack, target = "/cart?item=1", at: [begin: number, end: number, then: number] = [0, 0, 0]): Promise<Answer> {
    const sent = await this.get(workers[at[0]]!, target);
    assert.equal(sent.status, 302, sent.body);
    const back = await this.get(workers[at[1]]!, pathOf(provider.login(sent.header("location")!)));
    assert.equal(back.status, 302, back.body);
    const location = back.header("location")!;
    assert.equal(location, `http://shop.example${target}`);
    return await this.get(workers[at[2]]!, pathOf(location));
  }
}
const pathOf = (location: string): string => {
  const { pathname, search } = new URL(location);
  return `${pathname}${search}`;
};

test("a login: what the provider is asked, what the browser keeps, what the program gets", async () => {
  await using stack = await start({ resources: ["https://api.example"], forwardAccessToken: true, forwardIdTokenHeader: "X-Id-Token" });
  const browser = new Browser();
  const sent = await browser.get(stack.workers[0]!, "/cart?item=1");
  const url = new URL(sent.header("location")!);
  assert.equal(`${url.origin}${url.pathname}`, `${stack.provider.issuer}/authorize`);
  const { state, nonce, code_challenge: challenge, ...params } = Object.fromEntries(url.searchParams);
  assert.deepEqual(params, { prompt: "login", response_type: "code", client_id: "shop", redirect_uri: "http://shop.example/oauth2/callback", scope: "openid email", code_challenge_method: "S256", resource: "https://api.example" });
  assert.ok([state, nonce, challenge].every((text) => /^[\w-]{43}$/.test(text!)));
  assert.equal(sent.header("cache-control"), "no-store");
  assert.match(browser.lines[0]!, /^OauthFlow-abc-.{8}=[\w-]+; Path=\/; Max-Age=600; HttpOnly; SameSite=Lax$/);
  const back = await browser.get(stack.workers[0]!, pathOf(stack.provider.login(url.href)));
  assert.equal(back.header("location"), "http://shop.example/cart?item=1");
  assert.deepEqual([...browser.cookies.keys()].sort(), ["AccessToken-abc", "IdToken-abc", "RefreshToken-abc"]);
  // Nothing of a token can be read off it.
  assert.ok([...browser.cookies.values()].every((value) => !/eyJ|access-/.test(value) && !Buffer.from(value.slice(2), "base64url").toString("latin1").includes("access-")));
  assert.equal((await browser.get(stack.workers[0]!, "/cart", { headers: { Authorization: "Bearer mine", "X-Id-Token": "mine" } })).body, "inside");
  const { headers } = stack.got.at(-1)!;
  assert.match(headers["authorization"]!, /^Bearer access-/);
  assert.equal(headers["x-id-token"]!.split(".").length, 3);
  assert.equal(headers["cookie"], undefined);
  assert.deepEqual(stack.provider.asked, ["GET /.well-known/openid-configuration", "POST /token", "GET /keys"]);
});

test("cookies of others go on; a client's own Authorization does not", async () => {
  await using stack = await start();
  const browser = new Browser();
  browser.cookies.set("theme", "dark");
  await browser.login(stack);
  await browser.get(stack.workers[0]!, "/a", { headers: { Authorization: "Bearer mine" } });
  assert.deepEqual([stack.got.at(-1)!.headers["cookie"], stack.got.at(-1)!.headers["authorization"]], ["theme=dark", undefined]);
});

test("two workers: a login that one began goes on at the other, and so does the session", async () => {
  await using stack = await start({}, 2);
  const browser = new Browser();
  assert.equal((await browser.login(stack, "/a", [0, 1, 0])).body, "inside");
  for (const worker of stack.workers) assert.equal((await browser.get(worker, "/b")).body, "inside");
});

test("names, domain, sameSite; another policy's cookies are nothing", async () => {
  await using stack = await start({ cookies: { suffix: "x", idToken: "id", accessToken: "at", domain: "shop.example", sameSite: "None" } });
  const browser = new Browser();
  await browser.login(stack);
  assert.deepEqual([...browser.cookies.keys()].sort(), ["RefreshToken-x", "at", "id"]);
  await using other = await start({ cookies: { suffix: "y", idToken: "id", accessToken: "at" } });
  assert.equal((await browser.get(other.workers[0]!, "/a")).status, 302);
});

test("Strict: a page sends the browser on, since a redirect would not bring the cookies", async () => {
  await using stack = await start({ cookies: { suffix: "x", sameSite: "Strict" } });
  const browser = new Browser();
  const sent = await browser.get(stack.workers[0]!, "/a?x=%22%3E%3Cscript%3E&y='");
  assert.match(browser.lines[0]!, /SameSite=Lax$/);
  const back = await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)));
  assert.equal(back.status, 200);
  assert.ok(browser.lines.filter((line) => !line.includes("Max-Age=0")).every((line) => line.endsWith("SameSite=Strict")));
  assert.equal(back.body, '<!doctype html><meta http-equiv="refresh" content="0;url=http://shop.example/a?x=%22%3E%3Cscript%3E&#38;y=&#39;"><title>Logged in</title>\n');
});

test("tokens that are long take several cookies; those that are too long are refused", async () => {
  await using stack = await start();
  stack.provider.lies.claims = (claims) => (claims["groups"] = "g".repeat(5_000));
  const browser = new Browser();
  await browser.login(stack);
  assert.ok(browser.cookies.has("IdToken-abc.1"));
  stack.provider.lies = {};
  await browser.get(stack.workers[0]!, "/logout");
  assert.deepEqual([...browser.cookies.keys()], []);
  stack.provider.lies.tokens = (answer) => (answer["access_token"] = "x".repeat(40_000));
  delete stack.provider.lies.claims;
  stack.provider.lies.claims = (claims) => delete claims["at_hash"];
  const sent = await browser.get(stack.workers[0]!, "/");
  assert.equal((await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)))).status, 502);
});

// What comes back from the provider, made otherwise: never a session.
const callbacks: { name: string; change(url: URL, browser: Browser, stack: Stack): void; status?: number }[] = [
  { name: "no state", change: (url) => url.searchParams.delete("state") },
  { name: "another state", change: (url) => url.searchParams.set("state", "x".repeat(43)) },
  { name: "a state whose end is another", change: (url) => url.searchParams.set("state", `${url.searchParams.get("state")!.slice(0, -1)}!`) },
  { name: "a state twice", change: (url) => url.searchParams.append("state", url.searchParams.get("state")!) },
  { name: "no code", change: (url) => url.searchParams.delete("code") },
  { name: "another's code", change: (url) => url.searchParams.set("code", "made-up") },
  { name: "a browser that did not begin it", change: (_url, browser) => browser.cookies.clear() },
  { name: "a changed cookie", change: (_url, browser) => browser.cookies.forEach((value, name) => browser.cookies.set(name, `${value.slice(0, -2)}${value.endsWith("AA") ? "BB" : "AA"}`)) },
  { name: "a cookie of another login", change: (_url, browser) => browser.cookies.forEach((_value, name) => browser.cookies.set(name, "AAAA")) },
  { name: "another issuer (mix-up)", change: (url) => url.searchParams.set("iss", "https://evil.example") },
  { name: "no issuer, of a provider that says it", change: (url) => url.searchParams.delete("iss") },
  { name: "a refusal", change: (url) => (url.searchParams.delete("code"), url.searchParams.set("error", "access_denied<script>")) },
  { name: "too late", change: (_url, _browser, stack) => stack.pass(601) },
  { name: "a redirect address that was moved", change: (_url, _browser, stack) => (stack.provider.lies.tokenStatus = 400) },
];
test("callbacks that are not what was begun: 401, and nothing is kept", async () => {
  for (const { name, change } of callbacks) {
    await using stack = await start();
    const browser = new Browser();
    const sent = await browser.get(stack.workers[0]!, "/a");
    const url = new URL(stack.provider.login(sent.header("location")!));
    change(url, browser, stack);
    const answer = await browser.get(stack.workers[0]!, `${url.pathname}${url.search}`);
    assert.equal(answer.status, 401, `${name}: ${answer.body}`);
    assert.ok(!answer.body.includes("<"), name);
    assert.ok([...browser.cookies.keys()].every((key) => key.startsWith("OauthFlow-")), name);
    assert.equal((await browser.get(stack.workers[0]!, "/a")).status, 302, name);
    assert.equal(stack.got.length, 0, name);
  }
});

test("a callback once more: the state is good once, also with the cookie that went with it", async () => {
  await using stack = await start();
  const browser = new Browser();
  const sent = await browser.get(stack.workers[0]!, "/a");
  const flow = new Map(browser.cookies);
  const target = pathOf(stack.provider.login(sent.header("location")!));
  assert.equal((await browser.get(stack.workers[0]!, target)).status, 302);
  // Who is in already is not shown an error; who stole the address and the cookie is.
  assert.equal((await browser.get(stack.workers[0]!, target)).header("location"), "http://shop.example/");
  const thief = new Browser();
  for (const [name, value] of flow) thief.cookies.set(name, value);
  assert.equal((await thief.get(stack.workers[0]!, target)).status, 401);
  assert.equal(stack.provider.forms.length, 1);
});

const unsigned = (token: string, alg: string): string => `${Buffer.from(JSON.stringify({ alg })).toString("base64url")}.${token.split(".")[1]}.`;
/** What is wrong with what the provider gives → the client's status. */
const lies: { name: string; lies: Lies; status?: number }[] = [
  { name: "another nonce", lies: { claims: (claims) => (claims["nonce"] = "x") } },
  { name: "no nonce", lies: { claims: (claims) => delete claims["nonce"] } },
  { name: "another issuer", lies: { claims: (claims) => (claims["iss"] = "https://evil.example") } },
  { name: "another audience", lies: { claims: (claims) => (claims["aud"] = "other") } },
  { name: "an audience that looks like ours", lies: { claims: (claims) => (claims["aud"] = "https://shop/") } },
  { name: "two audiences, made for the other", lies: { claims: (claims) => ((claims["aud"] = ["shop", "other"]), (claims["azp"] = "other")) } },
  { name: "two audiences, for nobody", lies: { claims: (claims) => (claims["aud"] = ["shop", "other"]) } },
  { name: "expired", lies: { claims: (claims) => (claims["exp"] = Number(claims["iat"]) - 61) } },
  { name: "without end", lies: { claims: (claims) => delete claims["exp"] } },
  { name: "an end that is text", lies: { claims: (claims) => (claims["exp"] = "2999-01-01") } },
  { name: "of the future", lies: { claims: (claims) => (claims["iat"] = Number(claims["iat"]) + 120) } },
  { name: "of long ago", lies: { claims: (claims) => (claims["iat"] = Number(claims["iat"]) - 3_600) } },
  { name: "of nobody", lies: { claims: (claims) => delete claims["sub"] } },
  { name: "of another access token", lies: { claims: (claims) => (claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA") } },
  { name: "alg none", lies: { idToken: (token) => unsigned(token, "none") } },
  { name: "alg NONE", lies: { idToken: (token) => unsigned(token, "NONE") } },
  { name: "signed with the client's secret", lies: { idToken: (token) => hmac(token, client.secret) } },
  { name: "another key's id", lies: { claims: (_claims, header) => (header["kid"] = "../../keys") } },
  { name: "a changed middle", lies: { idToken: (token) => token.replace(/\.(.*)\./, (_, middle: string) => `.${Buffer.from(Buffer.from(middle, "base64url").toString().replace("ann", "eve")).toString("base64url")}.`) } },
  { name: "too long", lies: { claims: (claims) => (claims["x"] = "x".repeat(20_000)) } },
  { name: "no ID token", lies: { idToken: () => undefined } },
  { name: "a code that was used", lies: { tokenStatus: 400 } },
  { name: "a client that is not known", lies: { tokenStatus: 401 } },
  { name: "a token endpoint that fails", lies: { tokenStatus: 500 }, status: 503 },
  { name: "a token type that is none of ours", lies: { tokens: (answer) => (answer["token_type"] = "DPoP") }, status: 503 },
  { name: "an access token that would end the head", lies: { tokens: (answer) => (answer["access_token"] = "a\r\nX-Evil: 1") }, status: 503 },
];
function hmac(token: string, secret: string): string {
  const parts = `${Buffer.from(JSON.stringify({ alg: "HS256" })).toString("base64url")}.${token.split(".")[1]}`;
  return `${parts}.${createHmac("sha256", secret).update(parts).digest("base64url")}`;
}
test("tokens that are not what they must be: no session", async () => {
  for (const { name, lies: told, status = 401 } of lies) {
    await using stack = await start();
    stack.provider.lies = told;
    const browser = new Browser();
    const sent = await browser.get(stack.workers[0]!, "/a");
    const answer = await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)));
    assert.equal(answer.status, status, `${name}: ${answer.body}`);
    assert.deepEqual([...browser.cookies.keys()], [], name);
  }
});

test("clocks that differ a little do no harm", async () => {
  for (const seconds of [-50, 50]) {
    await using stack = await start();
    stack.provider.lies.claims = (claims) => {
      claims["iat"] = Number(claims["iat"]) + seconds;
      claims["nbf"] = claims["iat"];
    };
    assert.equal((await new Browser().login(stack)).body, "inside");
  }
});

test("where to go afterwards is this host's alone", async () => {
  for (const target of ["//evil.example/", "/\\evil.example/", "///evil.example", "/%2F%2Fevil.example", "/a//b"]) {
    await using stack = await start();
    const browser = new Browser();
    const sent = await browser.get(stack.workers[0]!, target);
    if (sent.status !== 302) continue;
    const back = await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)));
    assert.equal(new URL(back.header("location")!).host, "shop.example", target);
  }
  // A flow that was begun under another name, and put into this browser.
  await using stack = await start();
  const browser = new Browser();
  const sent = await browser.get(stack.workers[0]!, "/a", { host: "evil.example" });
  const back = await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)));
  assert.equal(back.header("location"), "http://shop.example/");
});

test("cookies that were changed, mixed or made up let nobody in", async () => {
  await using stack = await start();
  const [ann, eve] = [new Browser(), new Browser()];
  await ann.login(stack);
  stack.provider.user = "eve";
  await eve.login(stack);
  const before = stack.got.length;
  for (const name of ["IdToken-abc", "AccessToken-abc"]) {
    for (const value of ["", "1.", "1.AAAA", "2.AAAA", "9.AAAA", eve.cookies.get(name)!, ann.cookies.get("RefreshToken-abc")!, ann.cookies.get(name)!.slice(0, -1), `${ann.cookies.get(name)!}A`, `${ann.cookies.get(name)!}=`, ann.cookies.get(name)!.replace(/^1/, "2")]) {
      const mixed = new Browser();
      for (const [key, own] of ann.cookies) mixed.cookies.set(key, own);
      mixed.cookies.set(name, value);
      assert.equal((await mixed.get(stack.workers[0]!, "/a")).status, 302, `${name}=${value}`);
    }
  }
  assert.equal(stack.got.length, before);
});

test("tokens that end are made new once, however many ask; the session goes on", async () => {
  await using stack = await start({ forwardAccessToken: true });
  const browser = new Browser();
  await browser.login(stack);
  const first = stack.got.at(-1)!.headers["authorization"];
  stack.pass(301);
  const old = new Map(browser.cookies);
  const answers = await Promise.all(Array.from({ length: 8 }, () => browser.get(stack.workers[0]!, "/a")));
  assert.deepEqual(answers.map(({ status }) => status), Array.from({ length: 8 }, () => 200));
  assert.equal(stack.provider.forms.length, 2);
  assert.equal(stack.provider.forms[1]!.form.get("grant_type"), "refresh_token");
  const tokens = new Set(stack.got.slice(-8).map(({ headers }) => headers["authorization"]));
  assert.deepEqual([tokens.size, tokens.has(first!)], [1, false]);
  // A request that was on its way with what was before.
  const late = new Browser();
  for (const [name, value] of old) late.cookies.set(name, value);
  assert.equal((await late.get(stack.workers[0]!, "/a")).status, 200);
  assert.equal(stack.provider.forms.length, 2);
  stack.pass(301);
  assert.equal((await browser.get(stack.workers[0]!, "/a")).status, 200);
  assert.equal(stack.provider.forms.length, 3);
});

test("tokens are made new before they end, by one worker; what the other has is good until then", async () => {
  await using stack = await start({ forwardAccessToken: true }, 2);
  const browser = new Browser();
  await browser.login(stack);
  stack.pass(275);
  const [one, two] = [new Browser(), new Browser()];
  for (const [name, value] of browser.cookies) for (const other of [one, two]) other.cookies.set(name, value);
  const answers = await Promise.all([one.get(stack.workers[0]!, "/a"), two.get(stack.workers[1]!, "/a")]);
  assert.deepEqual(answers.map(({ status }) => status), [200, 200]);
  assert.equal(stack.provider.forms.length, 2);
  const tokens = stack.got.slice(-2).map(({ headers }) => headers["authorization"]);
  assert.equal(new Set([...tokens, stack.got[0]!.headers["authorization"]]).size, 2);
});

test("what the cookies hold is told to the filters behind", async () => {
  await using stack = await start();
  const seen: unknown[] = [];
  const { handler } = stack.workers[0]!.routed;
  stack.workers[0]!.routed.handler = (exchange, outcome) => handler!(exchange, { forward: (on) => (seen.push([...(on.caller?.cookies ?? [])].map(([name, token]) => [name, token.split(".").length])), outcome.forward(on)), answer: (on, answer) => outcome.answer(on, answer) });
  assert.equal((await new Browser().login(stack)).body, "inside");
  assert.deepEqual(seen, [[["IdToken-abc", 3], ["AccessToken-abc", 1]]]);
});

/** What a refresh comes to → the client's status. */
const refreshes: { name: string; prepare(stack: Stack): void; status: number; config?: Partial<OidcConfig>; seconds?: number }[] = [
  { name: "the provider has ended it", prepare: ({ provider }) => provider.endSessions(), status: 302 },
  { name: "another user's ID token", prepare: ({ provider }) => (provider.lies.claims = (claims) => (claims["sub"] = "eve")), status: 302 },
  { name: "no ID token: the one before stays", prepare: ({ provider }) => (provider.lies.idToken = () => undefined), status: 200 },
  { name: "no refresh token: the one before stays", prepare: ({ provider }) => (provider.lies.tokens = (answer) => delete answer["refresh_token"]), status: 200 },
  { name: "the provider fails, within what clocks may differ", prepare: ({ provider }) => (provider.lies.tokenStatus = 500), status: 200, seconds: 310 },
  { name: "the provider fails, long after", prepare: ({ provider }) => (provider.lies.tokenStatus = 500), status: 503, seconds: 400 },
  { name: "refresh tokens are not used", prepare: () => {}, status: 302, config: { refresh: false } },
  { name: "longer than a refresh token lives", prepare: () => {}, status: 302, seconds: 90_000 },
];
for (const { name, prepare, status, config, seconds = 301 } of refreshes) {
  test(`a session whose tokens have ended: ${name}: ${status}`, async () => {
    await using stack = await start(config);
    const browser = new Browser();
    await browser.login(stack);
    prepare(stack);
    stack.pass(seconds);
    assert.equal((await browser.get(stack.workers[0]!, "/a")).status, status);
  });
}

test("logging out: cookies end, the provider is told; a picture on another site logs nobody out", async () => {
  await using stack = await start();
  const browser = new Browser();
  await browser.login(stack);
  assert.equal((await browser.get(stack.workers[0]!, "/logout", { headers: { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors" } })).status, 403);
  assert.equal(browser.cookies.size, 3);
  const out = await browser.get(stack.workers[0]!, "/logout");
  const url = new URL(out.header("location")!);
  assert.deepEqual([`${url.origin}${url.pathname}`, url.searchParams.get("id_token_hint")!.split(".").length, url.searchParams.get("client_id"), url.searchParams.get("post_logout_redirect_uri")], [`${stack.provider.issuer}/end`, 3, "shop", "http://shop.example/"]);
  assert.equal(browser.cookies.size, 0);
  assert.equal((await browser.get(stack.workers[0]!, "/a")).status, 302);
});

test("who may not be sent to log in gets 401; who brings a token of his own goes on", async () => {
  await using stack = await start({ denyRedirect: [{ name: "X-Requested-With", type: "exact", value: "XMLHttpRequest" }, { name: "Accept", type: "prefix", value: "application/json" }], passThrough: [{ headers: [{ name: "authorization", prefix: "Bearer " }] }] });
  const browser = new Browser();
  assert.equal((await browser.get(stack.workers[0]!, "/a", { headers: { "X-Requested-With": "XMLHttpRequest" } })).status, 401);
  assert.equal((await browser.get(stack.workers[0]!, "/a", { headers: { Accept: "application/json, */*" } })).status, 401);
  assert.equal((await browser.get(stack.workers[0]!, "/a", { headers: { Accept: "text/html" } })).status, 302);
  assert.equal((await browser.get(stack.workers[0]!, "/a", { headers: { Authorization: "Bearer t" } })).body, "inside");
  assert.equal(stack.got.at(-1)!.headers["authorization"], "Bearer t");
  assert.equal((await browser.get(stack.workers[0]!, "/a", { headers: { Authorization: "Basic t" } })).status, 302);
});

test("a browser that begins many logins forgets those before", async () => {
  await using stack = await start();
  const browser = new Browser();
  for (let i = 0; i < 20; i++) await browser.get(stack.workers[0]!, `/${i}`);
  assert.ok(browser.cookies.size <= 5, String(browser.cookies.size));
  assert.equal((await browser.login(stack)).body, "inside");
});

test("a provider that is away, or says that it is another: 503, and all is well when it is back", async () => {
  for (const told of [{ hangs: "/none", document: (document: Record<string, unknown>) => (document["issuer"] = "https://evil.example") }, { document: (document: Record<string, unknown>) => delete document["token_endpoint"] }, { document: (document: Record<string, unknown>) => (document["authorization_endpoint"] = "javascript:alert(1)") }] satisfies Lies[]) {
    await using stack = await start();
    stack.provider.lies = told;
    assert.equal((await new Browser().get(stack.workers[0]!, "/a")).status, 503);
    stack.provider.lies = {};
    stack.pass(2);
    assert.equal((await new Browser().login(stack)).body, "inside");
  }
});

test("keys that cannot be asked for: only a provider that was reached by verified TLS is believed for its own word", async () => {
  for (const [isVerified, wrong, status] of [[false, false, 503], [true, false, 302], [true, true, 401]] as const) {
    await using stack = await start({}, 1, isVerified);
    stack.provider.lies = { document: (document) => (document["jwks_uri"] = "https://keys.example/"), claims: (claims) => void (wrong && (claims["nonce"] = "x")) };
    const browser = new Browser();
    const sent = await browser.get(stack.workers[0]!, "/a");
    assert.equal((await browser.get(stack.workers[0]!, pathOf(stack.provider.login(sent.header("location")!)))).status, status);
  }
});
