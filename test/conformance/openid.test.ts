import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { startOpenidStack } from "../../src/proxy/http/testing/openid-stack.ts";

/**
 * Logins at a provider that is certified as one (npm's oidc-provider), as a browser does them: forms, cookies and redirects. It wants
 * PKCE, gives refresh tokens that are good once, and ends the whole session when one is shown again.
 */
const library = join(import.meta.dirname, "../../.cache/openid/node_modules/oidc-provider/lib/index.js");
const skip = !process.env["WHERRY_CONFORMANCE"] ? "WHERRY_CONFORMANCE is not set" : existsSync(library) ? false : "tools/openid-provider.sh installs the provider";

type Provider = { callback(): (request: IncomingMessage, response: ServerResponse) => void };
const redirect = "http://shop.localhost/oauth2/callback";

async function startCertified(): Promise<{ issuer: string; port: number; log: string[] } & AsyncDisposable> {
  const { default: Library } = (await import(pathToFileURL(library).href)) as { default: new (issuer: string, settings: object) => Provider };
  const log: string[] = [];
  let handler: ReturnType<Provider["callback"]> | undefined;
  const server = createServer((asked, response) => {
    log.push(`${asked.method} ${asked.url!.split("?")[0]}`);
    handler!(asked, response);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const issuer = `http://127.0.0.1:${port}`;
  handler = new Library(issuer, {
    clients: [{ client_id: "shop", client_secret: "a-secret-of-32-characters-or-more!", redirect_uris: [redirect], post_logout_redirect_uris: ["http://shop.localhost/"], grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] }],
    pkce: { required: () => true },
    issueRefreshToken: () => Promise.resolve(true),
    rotateRefreshToken: true,
    findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => Promise.resolve({ sub: id, email: `${id}@example.com` }) }),
    cookies: { keys: ["of-this-test"] },
    ttl: { AccessToken: 100, IdToken: 3_600, RefreshToken: 86_400, Session: 86_400, Grant: 86_400, Interaction: 600 },
    features: { devInteractions: { enabled: true } },
  }).callback();
  return {
    issuer,
    port,
    log,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** One jar for each host, told apart by port here. */
class Browser {
  readonly jars = new Map<string, Map<string, string>>();
  /** "http://shop.localhost" is at this port. */
  shop = 0;

  async ask(url: string, form?: Record<string, string>): Promise<{ status: number; location: string | undefined; body: string }> {
    const { origin } = new URL(url);
    const jar = this.jars.get(origin) ?? new Map<string, string>();
    this.jars.set(origin, jar);
    const { host, hostname, port, pathname, search } = new URL(url);
    const isShop = host === "shop.localhost";
    const body = form && new URLSearchParams(form).toString();
    const headers = { host, cookie: [...jar].map(([name, value]) => `${name}=${value}`).join("; "), ...(body !== undefined && { "content-type": "application/x-www-form-urlencoded", "content-length": body.length }) };
    const asked = request({ host: isShop ? "127.0.0.1" : hostname, port: isShop ? this.shop : port, path: `${pathname}${search}`, method: body === undefined ? "GET" : "POST", agent: false, headers }).end(body);
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    for (const line of answer.headers["set-cookie"] ?? []) {
      const [pair] = line.split(";");
      const at = pair!.indexOf("=");
      if (/max-age=0\b|expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(pair!.slice(0, at));
      else jar.set(pair!.slice(0, at), pair!.slice(at + 1));
    }
    const { location } = answer.headers;
    return { status: answer.statusCode!, location: location === undefined ? undefined : new URL(location, url).href, body: await text(answer) };
  }
  /** Goes where it is sent, and fills in the forms on the way. */
  async go(url: string): Promise<{ url: string; status: number; body: string }> {
    let at = url;
    let form: Record<string, string> | undefined;
    for (let steps = 0; steps < 20; steps++) {
      const { status, location, body } = await this.ask(at, form);
      form = undefined;
      const action = /<form[^>]*action="([^"]+)"/.exec(body)?.[1];
      const prompt = /name="prompt" value="(\w+)"/.exec(body)?.[1];
      if (location !== undefined) at = location;
      else if (action !== undefined && prompt !== undefined) {
        at = new URL(action, at).href;
        form = { prompt, login: "ann", password: "x" };
      } else return { url: at, status, body };
    }
    throw new Error(`sent around for ever: ${at}`);
  }
}

test("a certified provider: login, session over workers, refresh with rotation, reuse, logout", { skip }, async () => {
  await using provider = await startCertified();
  await using stack = await startOpenidStack(provider.port, { issuer: provider.issuer, clientId: "shop", clientSecret: "a-secret-of-32-characters-or-more!", redirectUrl: redirect, scopes: ["openid", "email", "offline_access"], forwardAccessToken: true }, 2);
  const browser = new Browser();
  browser.shop = stack.workers[0]!.port;
  const first = await browser.go("http://shop.localhost/cart?item=1");
  assert.deepEqual([first.status, first.body, new URL(first.url).pathname], [200, "inside", "/cart"], first.body);
  assert.ok(provider.log.includes("POST /token") && provider.log.includes("GET /jwks"));
  browser.shop = stack.workers[1]!.port;
  assert.equal((await browser.go("http://shop.localhost/orders")).body, "inside");
  const before = new Map(browser.jars.get("http://shop.localhost"));
  const tokens = (): number => provider.log.filter((line) => line === "POST /token").length;
  stack.pass(101);
  const many = await Promise.all([1, 2, 3, 4].map(() => browser.ask("http://shop.localhost/orders")));
  assert.deepEqual(many.map(({ status }) => status), [200, 200, 200, 200]);
  assert.equal(tokens(), 2);
  stack.pass(101);
  assert.equal((await browser.ask("http://shop.localhost/orders")).status, 200);
  // Who has an old refresh token is no longer logged in; and the provider ends the session that it was of.
  const thief = new Browser();
  thief.shop = stack.workers[0]!.port;
  thief.jars.set("http://shop.localhost", before);
  assert.equal((await thief.ask("http://shop.localhost/orders")).status, 302);
  stack.pass(101);
  assert.equal((await browser.ask("http://shop.localhost/orders")).status, 302);
  // The provider still knows the user: nobody has to fill in a form.
  assert.equal((await browser.go("http://shop.localhost/orders")).body, "inside");
  const out = await browser.ask("http://shop.localhost/logout");
  const page = await browser.ask(out.location!);
  assert.equal(page.status, 200, page.body);
  assert.match(page.body, /<form/);
  assert.equal((await browser.ask("http://shop.localhost/orders")).status, 302);
});
