import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { dump } from "js-yaml";
import { policyResources } from "../../src/api/envoy/kinds.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import type { Pod } from "../../src/api/types.ts";
import { type Gateway, gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { authority, certificateFor } from "../../src/proxy/http/testing/certificates.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { Browser, chromium } from "../browser.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { CookieClient } from "./login/jar.ts";

/**
 * Logins through the started product, with two workers: a certified provider in a pod behind the same Gateway, and clients that do as
 * browsers do, Chromium among them. What is decided in a login is told case by case in src/proxy/http/oidc.test.ts.
 */
const openid = join(import.meta.dirname, "../../.cache/openid");
const skip = !process.env["WHERRY_CONFORMANCE"] ? "WHERRY_CONFORMANCE is not set" : existsSync(join(openid, "node_modules/oidc-provider")) ? false : "tools/openid-provider.sh installs the provider";
const patienceMs = 90_000;
const tokenSeconds = 5;
const ports = { shop: 8080, login: 8081 };
const group = "gateway.networking.k8s.io";
const encodedFile = (...path: string[]): string => readFileSync(join(import.meta.dirname, ...path)).toString("base64");

interface Stage {
  wherry: TestWherry;
  address: string;
  /** "http://NAME:PORT" of a host that a browser would find by its name. */
  host(name: string): string;
  client(): CookieClient;
  /** What the provider was asked. */
  log(): Promise<string[]>;
}

const pod = (name: string, file: string[], more: { env?: object[]; volumeMounts?: object[]; volumes?: object[] } = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: {
    containers: [{ name: "pod", image: "node:26", command: ["node", "-e", `import("data:text/javascript;base64,${encodedFile(...file)}")`], env: [{ name: "POD", value: name }, ...(more.env ?? [])], readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 }, volumeMounts: more.volumeMounts ?? [] }],
    volumes: more.volumes ?? [],
    terminationGracePeriodSeconds: 1,
  },
});
const service = (name: string, ports_: object[]): object => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: name }, ports: ports_ } });
const route = (name: string, sectionName: string, hostnames: string[], to: string): object => ({ apiVersion: `${group}/v1`, kind: "HTTPRoute", metadata: { name }, spec: { parentRefs: [{ name: "edge", sectionName }], ...(hostnames.length > 0 && { hostnames }), rules: [{ backendRefs: [{ name: to, port: 80 }] }] } });
/** Who comes by `route` logs in as a user of `clientID`; the provider is asked at that port of its Service. */
const policy = (name: string, issuer: string, clientID: string, port: number): object => ({
  apiVersion: "gateway.envoyproxy.io/v1alpha1",
  kind: "SecurityPolicy",
  metadata: { name },
  spec: {
    targetRefs: [{ group, kind: "HTTPRoute", name }],
    oidc: { provider: { issuer, backendRefs: [{ name: "provider", port }] }, clientID, clientSecret: { name: clientID }, scopes: ["openid", "email", "offline_access"], forwardAccessToken: true, refreshToken: true },
  },
});

async function raise(t: TestContext): Promise<Stage> {
  const wherry = await startWherry({ test: t, netWorkers: 2, hostPathRoots: [openid] });
  for (const resource of Object.values(policyResources)) await eventually(() => wherry.client.list(resource, { limit: 1 }), patienceMs);
  const manifest = join(dirname(wherry.dataDir), "login.yaml");
  const apply = async (...objects: object[]): Promise<void> => {
    writeFileSync(manifest, objects.map((object) => dump(object, { noRefs: true })).join("\n---\n"));
    const { code, stderr } = await wherry.kubectl("apply", "-f", manifest);
    assert.equal(code, 0, stderr);
  };
  const certificate = certificateFor(["provider.test"]);
  await apply(
    { apiVersion: `${group}/v1`, kind: "Gateway", metadata: { name: "edge" }, spec: { gatewayClassName: "wherry", listeners: Object.entries(ports).map(([name, port]) => ({ name, port, protocol: "HTTP" })) } },
    service("web", [{ name: "http", port: 80, targetPort: 8080 }]),
    service("provider", [{ name: "http", port: 80, targetPort: 8080 }, { name: "tls", port: 443, targetPort: 8443 }]),
    pod("web", ["doors", "pod.mjs"]),
    { apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata: { name: "provider" }, stringData: { "tls.crt": certificate.cert, "tls.key": certificate.key } },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "authority" }, data: { "ca.crt": authority.cert } },
    { apiVersion: `${group}/v1`, kind: "BackendTLSPolicy", metadata: { name: "provider" }, spec: { targetRefs: [{ group: "", kind: "Service", name: "provider", sectionName: "tls" }], validation: { hostname: "provider.test", caCertificateRefs: [{ group: "", kind: "ConfigMap", name: "authority" }] } } },
    ...["shop", "other"].map((name) => ({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData: { "client-secret": `a-secret-of-32-characters-or-more-of-${name}` } })),
    route("login", "login", [], "provider"),
    route("shop", "shop", [], "web"),
    route("other", "shop", ["other.test"], "web"),
    route("secured", "shop", ["secured.test"], "web"),
  );
  let address = "";
  await eventually(async () => {
    const { status } = await wherry.client.get<Gateway>(gatewayResources.gateways, "default", "edge");
    address = status?.addresses?.[0]?.value ?? "";
    return address !== "";
  }, patienceMs);
  const issuer = `http://${address}:${ports.login}`;
  const redirects = [`http://${address}:${ports.shop}`, `http://shop.test:${ports.shop}`, `http://other.test:${ports.shop}`, `http://secured.test:${ports.shop}`].map((url) => `${url}/oauth2/callback`);
  const library = "file:///openid/node_modules/oidc-provider/lib/index.js";
  await apply(
    pod("provider", ["login", "provider.mjs"], {
      env: Object.entries({ ISSUER: issuer, REDIRECTS: redirects.join(" "), LIBRARY: library, TOKEN_SECONDS: String(tokenSeconds) }).map(([name, value]) => ({ name, value })),
      volumeMounts: [{ name: "tls", mountPath: "/tls" }, { name: "openid", mountPath: "/openid", readOnly: true }],
      volumes: [{ name: "tls", secret: { secretName: "provider" } }, { name: "openid", hostPath: { path: openid } }],
    }),
    policy("shop", issuer, "shop", 80),
    policy("other", issuer, "other", 80),
    policy("secured", issuer, "shop", 443),
  );
  await eventually(async () => (await wherry.client.list<Pod>(resources.pods, { namespace: "default" })).items.every(({ status }) => status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True")), patienceMs);
  for (const name of ["shop", "other", "secured"]) {
    await eventually(async () => {
      const { status } = await wherry.client.get<KubeObject>(policyResources.SecurityPolicy, "default", name);
      return status.ancestors[0].conditions.some((condition: { type: string; status: string }) => condition.type === "Accepted" && condition.status === "True");
    }, patienceMs);
  }
  return {
    wherry,
    address,
    host: (name) => `http://${name}:${ports.shop}`,
    client: () => new CookieClient({ "shop.test": address, "other.test": address, "secured.test": address }),
    log: async () => JSON.parse((await new CookieClient({}).ask(`${issuer}/log`)).body) as string[],
  };
}

/** Who the program behind was told of; it answers with what it was asked. */
const inside = (body: string): { path: string; headers: Record<string, string> } => JSON.parse(body) as { path: string; headers: Record<string, string> };

test("logins through the whole product", { skip, timeout: 600_000 }, async (t) => {
  const stage = await raise(t);
  const { wherry, host, client, log } = stage;
  const shop = host("shop.test");
  const isCallback = (url: string): boolean => new URL(url).pathname === "/oauth2/callback";

  await t.test("login, pages by both workers, refresh, logout", async () => {
    const browser = client();
    const first = await browser.go(`${shop}/cart?item=1`);
    assert.deepEqual([first.status, first.url], [200, `${shop}/cart?item=1`], first.body);
    const { headers } = inside(first.body);
    assert.match(headers["authorization"]!, /^Bearer \S+$/);
    assert.equal(headers["cookie"], undefined);
    // Nothing of a token can be read from what the browser keeps.
    const kept = [...browser.jar(shop)].filter(([name]) => /Token/.test(name));
    assert.equal(kept.length >= 3, true, kept.map(([name]) => name).join());
    for (const [name, value] of kept) assert.ok(!value.includes("eyJ") && !value.includes(headers["authorization"]!.slice("Bearer ".length)), name);
    for (let i = 0; i < 12; i++) assert.equal((await browser.ask(`${shop}/orders`)).status, 200);
    // Tokens end and are made new, without the user.
    const tokens = async (): Promise<number> => (await log()).filter((line) => line.endsWith("POST /token")).length;
    const before = await tokens();
    const old = headers["authorization"];
    await eventually(async () => {
      const page = await browser.ask(`${shop}/orders`);
      assert.equal(page.status, 200, page.body);
      return inside(page.body).headers["authorization"] !== old;
    }, patienceMs);
    assert.ok((await tokens()) > before);
    const out = await browser.ask(`${shop}/logout`);
    assert.equal(new URL(out.location!).origin, `http://${stage.address}:${ports.login}`);
    assert.equal((await browser.ask(`${shop}/orders`)).status, 302);
  });

  await t.test("a worker that ends between the redirect and the way back", async () => {
    const browser = client();
    const back = await browser.go(`${shop}/cart`, isCallback);
    for (const worker of wherry.processes().net) {
      process.kill(worker!, "SIGKILL");
      await eventually(async () => !wherry.processes().net.includes(worker) && wherry.processes().net.length === 2 && (await client().ask(`${shop}/x`)).status === 302, patienceMs);
    }
    const page = await browser.go(back.url);
    assert.deepEqual([page.status, page.url], [200, `${shop}/cart`], page.body);
  });

  await t.test("the provider behind TLS, by its BackendTLSPolicy", async () => {
    const browser = client();
    const page = await browser.go(`${host("secured.test")}/cart`);
    assert.deepEqual([page.status, page.url], [200, `${host("secured.test")}/cart`], page.body);
    // Each worker reads for itself.
    assert.deepEqual([...new Set((await log()).filter((line) => line.startsWith("tls ")))].sort(), ["tls GET /.well-known/openid-configuration", "tls GET /jwks", "tls POST /token"]);
  });

  await t.test("attacks", async (t) => {
    const victim = client();
    await victim.go(`${shop}/cart`);
    const session = new Map(victim.jar(shop));
    /** Asks with these cookies instead of one's own. */
    const asks = async (url: string, cookies: Iterable<[string, string]>): Promise<number> => {
      const thief = client();
      thief.jars.set(new URL(url).hostname, new Map(cookies));
      return (await thief.ask(url)).status;
    };
    await t.test("nobody is sent to another host, wherever a login began", async () => {
      for (const path of ["//evil.test/", "/\\evil.test/", "/%2F/evil.test", "/.evil.test", "/@evil.test/"]) {
        const page = await client().go(`${shop}${path}`);
        // What is no path is refused before anybody logs in.
        assert.ok(page.status === 400 || new URL(page.url).host === new URL(shop).host, `${path}: ${page.url}`);
      }
      const lied = await client().ask(`${shop}/cart`, { headers: { "x-forwarded-host": "evil.test", "x-forwarded-proto": "https", referer: "http://evil.test/" } });
      assert.ok(!decodeURIComponent(lied.location!).includes("evil.test"), `${lied.location}`);
    });
    await t.test("a way back is good once, and for who began it", async () => {
      const browser = client();
      const back = await browser.go(`${shop}/cart`, isCallback);
      // Another browser with it: nobody is logged in by somebody else's login.
      assert.equal((await client().ask(back.url)).status, 401);
      const flows = new Map(browser.jar(shop));
      assert.equal((await browser.go(back.url)).status, 200);
      // Once more, with the cookies of then, by whichever worker.
      for (let i = 0; i < 6; i++) assert.equal(await asks(back.url, flows), 401, String(i));
    });
    await t.test("an answer that is another's: of another provider, with another's code, with another's state", async () => {
      const thief = client();
      const stolen = new URL((await thief.go(`${shop}/cart`, isCallback)).url);
      const browser = client();
      const own = new URL((await browser.go(`${shop}/cart`, isCallback)).url);
      const began = [...browser.jar(shop)];
      const changed = (change: (url: URL) => void): string => {
        const url = new URL(own);
        change(url);
        return url.href;
      };
      assert.equal(await asks(changed((url) => url.searchParams.set("iss", "http://evil.test")), began), 401);
      assert.equal(await asks(changed((url) => url.searchParams.set("state", stolen.searchParams.get("state")!)), began), 401);
      assert.equal(await asks(changed((url) => url.searchParams.append("state", stolen.searchParams.get("state")!)), began), 401);
    });
    await t.test("a stolen code is nothing without who began it", async () => {
      const thief = client();
      const stolen = new URL((await thief.go(`${shop}/cart`, isCallback)).url);
      const browser = client();
      const own = new URL((await browser.go(`${shop}/cart`, isCallback)).url);
      own.searchParams.set("code", stolen.searchParams.get("code")!);
      assert.equal((await browser.ask(own.href)).status, 401);
      assert.ok(![...browser.jar(shop).keys()].some((name) => /IdToken/.test(name)));
    });
    await t.test("cookies of one host are nothing at another, under whatever name", async () => {
      assert.equal(await asks(`${shop}/orders`, session), 200);
      const other = client();
      await other.go(`${host("other.test")}/cart`);
      const names = [...other.jar(host("other.test")).keys()].filter((name) => /Token/.test(name));
      const suffixOf = (of: Iterable<string>): string => [...of].find((name) => name.startsWith("IdToken-"))!.slice("IdToken-".length);
      const renamed = [...session].map(([name, value]): [string, string] => [name.replace(suffixOf(session.keys()), suffixOf(names)), value]);
      assert.deepEqual(renamed.map(([name]) => name).filter((name) => /Token/.test(name)).sort(), names.sort());
      assert.equal(await asks(`${host("other.test")}/orders`, session), 302);
      assert.equal(await asks(`${host("other.test")}/orders`, renamed), 302);
      // Parts of two sessions are none.
      const second = client();
      await second.go(`${shop}/cart`, undefined, "bob");
      const mixed = [...session].map(([name, value]): [string, string] => [name, name.startsWith("AccessToken") ? second.jar(shop).get(name)! : value]);
      assert.equal(await asks(`${shop}/orders`, mixed), 302);
      const bent = [...session].map(([name, value]): [string, string] => [name, name.startsWith("IdToken") ? `${value.slice(0, 40)}${value[40] === "A" ? "B" : "A"}${value.slice(41)}` : value]);
      assert.equal(await asks(`${shop}/orders`, bent), 302);
    });
    await t.test("cookies of any size and number", async () => {
      const name = [...session.keys()].find((key) => key.startsWith("IdToken-"))!;
      const workers = wherry.processes().net;
      for (const size of [1, 4_000, 12_000]) assert.equal(await asks(`${shop}/orders`, [[name, "A".repeat(size)]]), 302, String(size));
      for (const count of [20, 400]) assert.equal(await asks(`${shop}/orders`, Array.from({ length: count }, (_, i): [string, string] => [i === 0 ? name : `${name}.${i}`, "A".repeat(20)])), 302, String(count));
      assert.equal(await asks(`${shop}/orders`, [[name, "A".repeat(200_000)]]), 431);
      assert.deepEqual(wherry.processes().net, workers);
    });
  });

  await t.test("Chromium: login by its forms, a page after the tokens' end, logout", { skip: chromium() === undefined ? "there is no Chromium" : false }, async () => {
    await using browser = await Browser.start();
    const url = `http://${stage.address}:${ports.shop}`;
    await browser.open(`${url}/cart?item=1`);
    await browser.click(`input[name="login"]`);
    await browser.type("ann");
    await browser.click(`input[name="password"]`);
    await browser.type("x");
    await browser.press("Enter");
    // The provider asks what it may tell.
    await browser.until(`document.querySelector('input[name="prompt"]')?.value === "consent"`);
    await browser.click(`button[type="submit"]`);
    await browser.until(`location.pathname === "/cart" && document.body?.innerText.includes('"path":"/cart?item=1"')`);
    // Scripts of the page see no cookie of the login.
    assert.equal(await browser.evaluate("document.cookie"), "");
    const bearer = `JSON.parse(document.body.innerText).headers.authorization`;
    const old = await browser.evaluate<string>(bearer);
    assert.match(old, /^Bearer /);
    await eventually(async () => (await browser.evaluate<string>(`fetch("/orders").then((answer) => answer.json()).then(({ headers }) => headers.authorization)`)) !== old, patienceMs);
    await browser.open(`${url}/logout`);
    await browser.until(`location.port === "${ports.login}" && document.querySelector("form") !== null`);
    await browser.click(`button[value="yes"]`);
    await browser.until(`location.href === "${url}/" || document.body?.innerText.includes("Sign-out Success") || document.querySelector('input[name="login"]') !== null`);
    await browser.open(`${url}/cart`);
    await browser.until(`document.querySelector('input[name="login"]') !== null`);
  });
});
