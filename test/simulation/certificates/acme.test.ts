import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test, type TestContext } from "node:test";
import { annotation, certManager } from "../../../src/api/cert-manager/types.ts";
import { resources } from "../../../src/api/resources.ts";
import type { ChallengeSolver } from "../../../src/controllers/certificates/acme/order.ts";
import { AcmeTestServer } from "./acme-server.ts";
import { Stack } from "./stack.ts";

/** In the gateway's place: answers what it is told to. */
async function startSolver(t: TestContext): Promise<{ solver: ChallengeSolver; port: number; presented: Map<string, string>; hidden: boolean }> {
  const presented = new Map<string, string>();
  const server = createServer((request, response) => {
    const text = found.hidden ? undefined : presented.get(`${request.headers.host} ${request.url}`);
    response.writeHead(text === undefined ? 404 : 200).end(text);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const found = {
    port,
    presented,
    hidden: false,
    solver: {
      present({ host, token, text }: { host: string; token: string; text: string }) {
        const at = `${host} /.well-known/acme-challenge/${token}`;
        presented.set(at, text);
        return { addresses: () => [{ address: "127.0.0.1", port }], remove: () => void presented.delete(at) };
      },
    },
  };
  return found;
}

async function start(t: TestContext) {
  const gateway = await startSolver(t);
  const stack = await Stack.start({ solver: gateway.solver });
  const server = await AcmeTestServer.start(() => stack.clock.now());
  server.httpPort = gateway.port;
  t.after(async () => {
    await stack[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const issuer = `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: acme, annotations: {wherry.dev/acme: "true"}}, spec: {acme: {server: '${server.directory}', caBundle: ${Buffer.from(server.ca).toString("base64")}, email: a@b.test, privateKeySecretRef: {name: account}, solvers: [{http01: {ingress: {}}}]}}}`;
  const certificate = (name: string, names: string) => `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: ${name}}, spec: {secretName: ${name}, dnsNames: [${names}], privateKey: {algorithm: ECDSA}, issuerRef: {name: acme}}}`;
  const ready = async (name: string) => stack.conditions(await stack.get(certManager.certificateRequests, name))["Ready"] ?? "";
  const says = (name: string, text: RegExp) => stack.until(`${name} says ${text.source}`, async () => text.test(await ready(name)));
  return { stack, server, gateway, issuer, certificate, says };
}

test("an order through all its troubles: nonces, server errors, authorizations and orders that take their time", async (t) => {
  const { stack, server, gateway, issuer, certificate } = await start(t);
  Object.assign(server.trouble, { badNonce: 3, serverError: 1, pendingAuthorization: 2, processing: 2 });
  await stack.apply(issuer);
  await stack.apply(certificate("web", "a.test, b.test"));
  const { leaf, field, certificate: issued } = await stack.issued("web");
  assert.equal(leaf.subjectAltName, "DNS:a.test, DNS:b.test");
  assert.equal(field("tls.crt").match(/BEGIN/g)!.length, 2);
  assert.equal(field("ca.crt"), server.authority);
  assert.ok(!("PubliclyTrusted" in stack.conditions(issued)));
  assert.deepEqual(server.trouble, { badNonce: 0, rateLimited: 0, serverError: 0, processing: 0, pendingAuthorization: 0, invalidOrder: 0 });
  assert.equal(gateway.presented.size, 0, "no answer is left");
  assert.equal(server.requests.filter((line) => line === "POST /orders").length, 2, "one that failed, one that was had");
  const found = await stack.get(certManager.issuers, "acme");
  assert.match(found!["status"].acme.uri, /\/account\/[\w-]{43}$/);
  assert.match(stack.conditions(found)["Ready"]!, /^True ACMEAccountRegistered:/);
  assert.match(Buffer.from((await stack.get(resources.secrets, "account"))!["data"]["tls.key"], "base64").toString(), /EC PRIVATE KEY/);
});

test("a limit of the server is said, and waited for as long as it asks", async (t) => {
  const { stack, server, issuer, certificate, says } = await start(t);
  server.trouble.rateLimited = 1;
  await stack.apply(`${issuer}\n---\n${certificate("web", "a.test")}`);
  await says("web-1", /^False Pending: 429 urn:ietf:params:acme:error:rateLimited: too many certificates already issued\. The server is asked again at 2026-06-01T00:0\d:\d\dZ$/);
  await stack.event("web-1", "Normal RateLimited:");
  const before = server.requests.length;
  stack.clock.advance(60_000);
  for (let turn = 0; turn < 20; turn++) await stack.until("time passes", async () => true);
  assert.equal(server.requests.length, before, "it is left alone");
  stack.clock.advance(70_000);
  await stack.issued("web");
});

test("a server that asks to be asked again at once is not: it would be asked as fast as it answers", async (t) => {
  const { stack, server, issuer, certificate } = await start(t);
  server.isHasty = true;
  Object.assign(server.trouble, { rateLimited: 2, pendingAuthorization: 2, processing: 3 });
  const beganMs = stack.clock.now();
  await stack.apply(`${issuer}\n---\n${certificate("web", "a.test")}`);
  await stack.issued("web");
  const seconds = (stack.clock.now() - beganMs) / 1000;
  assert.ok(seconds >= 2 * 5 + 2 + 3, `${seconds} s for two refusals and five looks`);
  assert.equal(server.requests.filter((line) => line === "POST /orders").length, 3);
});

test("an order that the server refuses fails the request, in the server's words", async (t) => {
  const { stack, server, issuer, certificate, says } = await start(t);
  server.trouble.invalidOrder = 1;
  await stack.apply(`${issuer}\n---\n${certificate("web", "a.test")}`);
  await says("web-1", /^False Failed: the ACME order is "invalid": caa: CAA record forbids it$/);
  await stack.event("web", "The certificate request has failed to complete and will be retried: the ACME order");
  await stack.apply("{apiVersion: cert-manager.io/v1, kind: CertificateRequest, metadata: {name: nonsense}, spec: {request: bm9uc2Vuc2U=, issuerRef: {name: acme}}}");
  await says("nonsense", /^False Failed: Failed to decode CSR in spec\.request: /);
});

test("the server is not told of an answer before the gateway gives it; a restart goes on with the same order", async (t) => {
  const { stack, server, gateway, issuer, certificate, says } = await start(t);
  gateway.hidden = true;
  await stack.apply(`${issuer}\n---\n${certificate("web", "a.test")}`);
  await says("web-1", /^False Pending: Waiting for HTTP-01 challenge propagation: wrong answer at 127\.0\.0\.1:\d+$/);
  assert.ok(!server.requests.some((line) => line.includes("/challenges/")));
  assert.equal((await stack.get(certManager.certificateRequests, "web-1"))!.metadata.annotations![annotation.acmeOrder], `${server.url}/orders/0`);
  await stack.stopControllers();
  assert.equal(gateway.presented.size, 0);
  gateway.hidden = false;
  await stack.startControllers();
  await stack.issued("web");
  assert.equal(server.requests.filter((line) => line === "POST /orders").length, 1);
});

test("a server that is not there, and one that nobody vouches for, are said on the issuer", async (t) => {
  const { stack, server, issuer } = await start(t);
  await stack.apply(issuer.replace(/caBundle: [^,]*, /, ""));
  const says = (text: RegExp) => stack.until(`the issuer says ${text.source}`, async () => text.test(stack.conditions(await stack.get(certManager.issuers, "acme"))["Ready"] ?? ""));
  await says(/^False ErrRegisterACMEAccount: Failed to register ACME account: 127\.0\.0\.1:\d+: (self-signed certificate|unable to verify)/);
  await stack.apply(issuer.replaceAll(server.directory, "http://127.0.0.1/directory"));
  await says(/is no https URL$/);
  await stack.apply(issuer.replace("http01: {ingress: {}}", "dns01: {cloudflare: {apiTokenSecretRef: {name: x}}}"));
  await says(/^False NotSupported: no solver in spec\.acme\.solvers has http01/);
  await stack.apply(issuer);
  await says(/^True ACMEAccountRegistered/);
  await stack.apply(issuer.replace("a@b.test", "other@b.test"));
  await stack.until("the account has another address", async () => [...server.contacts.values()].join() === "mailto:other@b.test");
  // Without the annotation nobody is asked.
  await stack.apply(issuer.replace('wherry.dev/acme: "true"', ""));
  await says(/^True LocalCA/);
});
