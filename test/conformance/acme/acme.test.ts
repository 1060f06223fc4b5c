import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect } from "node:tls";
import { loadAll } from "js-yaml";
import { certManager } from "../../../src/api/cert-manager/types.ts";
import type { GroupVersionResource, KubeObject } from "../../../src/api/meta.ts";
import { resources } from "../../../src/api/resources.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { startWherry } from "../../harness.ts";
import { startPebble } from "./pebble.ts";

const skip = process.env["WHERRY_CONFORMANCE"] === undefined ? "builds pebble and takes a minute: npm run conformance" : false;
const conditionOf = (object: KubeObject | undefined, type: string): string | undefined => {
  const list: { type: string; status: string; reason: string; message: string }[] = object?.["status"]?.conditions ?? [];
  const found = list.find((condition) => condition.type === type);
  return found && `${found.status} ${found.reason}: ${found.message}`;
};

test("pebble signs for names that the gateway answers for, and says no in words that reach the user", { skip, timeout: 300_000 }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), "wherry-acme-"));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  await using wherry = await startWherry({ test: t });
  const { client } = wherry;
  const get = <T = KubeObject>(resource: GroupVersionResource, name: string) => client.get<T>(resource, "default", name).catch(() => undefined);
  const until = async <T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> => {
    const endMs = performance.now() + 60_000;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (performance.now() > endMs) {
        const all = [...(await client.list(certManager.certificateRequests)).items, ...(await client.list(certManager.issuers)).items].map(({ metadata, status }) => [metadata.name, status]);
        throw new Error(`not within a minute: ${what}\n${JSON.stringify(all, undefined, 1)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const apply = async (yaml: string): Promise<void> => {
    const kinds: Record<string, GroupVersionResource> = { Ingress: resources.ingresses, Issuer: certManager.issuers, Certificate: certManager.certificates, Secret: resources.secrets };
    for (const object of (loadAll(yaml) as (KubeObject | null)[]).filter((document) => document !== null)) await until(object.metadata.name, () => client.patch(kinds[object.kind]!, "default", object.metadata.name, object, { type: "apply", force: true, fieldManager: "test" }).catch((error: Error) => (/could not find|not found/.test(error.message) ? undefined : Promise.reject(error))));
  };
  const ingress = (annotations: string) => `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop, annotations: {${annotations}}}, spec: {tls: [{hosts: [shop.example.com, www.example.com], secretName: shop}], rules: [{host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}`;
  await apply(ingress("a: b"));
  const ports = await until("the Ingress has ports", async () => {
    const found = (await get(resources.ingresses, "shop"))?.["status"]?.loadBalancer?.ingress?.[0]?.ports as { port: number }[] | undefined;
    return found?.length === 2 && found.map(({ port }) => port);
  });
  const [httpPort, httpsPort] = ports as [number, number];

  await using pebble = await startPebble(work, { httpPort });
  const issuer = (name: string, more = "", annotation = 'wherry.dev/acme: "true"', solver = "{http01: {ingress: {ingressClassName: nginx}}}") =>
    `{apiVersion: cert-manager.io/v1, kind: Issuer, metadata: {name: ${name}, annotations: {${annotation}}}, spec: {acme: {server: '${pebble.directory}', caBundle: ${Buffer.from(pebble.ca).toString("base64")}, email: a@example.com, privateKeySecretRef: {name: ${name}-account}, solvers: [${solver}]${more}}}}\n---\n`;
  const certificate = (name: string, names: string, by = "pebble") => `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: ${name}}, spec: {secretName: ${name}, dnsNames: [${names}], privateKey: {algorithm: ECDSA}, issuerRef: {name: ${by}}}}\n---\n`;
  await apply(issuer("pebble"));
  await until("the account is there", async () => conditionOf(await get(certManager.issuers, "pebble"), "Ready")?.startsWith("True ACMEAccountRegistered: The ACME account was registered with the ACME server"));
  assert.match((await get(certManager.issuers, "pebble"))!["status"].acme.uri, /^https:\/\/127\.0\.0\.1:\d+\/my-account\//);

  await apply(ingress("cert-manager.io/issuer: pebble, cert-manager.io/private-key-algorithm: ECDSA"));
  const issued = async (name: string) => {
    const object = await until(`${name} is issued`, async () => {
      const found = await get(certManager.certificates, name);
      return conditionOf(found, "Ready")?.startsWith("True Ready") && found;
    });
    const secret = await get<{ data: Record<string, string> }>(resources.secrets, name);
    return { object, pem: Buffer.from(secret!.data["tls.crt"]!, "base64").toString("utf8") };
  };
  const { object, pem } = await issued("shop");
  assert.equal(conditionOf(object, "PubliclyTrusted"), undefined);
  const chain = pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g)!.map((one) => new X509Certificate(one));
  const root = await pebble.root();
  assert.equal(chain[0]!.subjectAltName, "DNS:shop.example.com, DNS:www.example.com");
  assert.ok(chain.at(-1)!.verify(new X509Certificate(root).publicKey) && chain[0]!.verify(chain[1]!.publicKey));
  await until("the gateway shows it", () => new Promise<boolean>((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: httpsPort, servername: "shop.example.com", ca: root }, () => {
      resolve(socket.authorized);
      socket.destroy();
    });
    socket.on("error", () => resolve(false));
  }));
  assert.doesNotMatch(JSON.stringify(await fetchText(httpPort, "shop.example.com", "/.well-known/acme-challenge/x")), /acme/, "no answer is left");

  await apply(issuer("other", ", preferredChain: " + JSON.stringify(new X509Certificate(await pebble.root(1)).subject.replace("CN=", "")) + ", profile: shortlived"));
  await apply(certificate("preferred", "other.example.com", "other"));
  const preferred = await issued("preferred");
  const [leaf, ...above] = preferred.pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----\n/g)!.map((one) => new X509Certificate(one));
  assert.equal(above.at(-1)!.issuer, new X509Certificate(await pebble.root(1)).subject);
  assert.ok(leaf!.validToDate.getTime() - leaf!.validFromDate.getTime() < 7 * 86_400_000, "the profile's life");

  const failed = (name: string, text: RegExp) => until(`${name}: ${text.source}`, async () => text.test(conditionOf(await get(certManager.certificateRequests, `${name}-1`), "Ready") ?? ""));
  await apply(certificate("wild", "'*.example.com'") + certificate("blocked", "blocked.example.com") + certificate("elsewhere", "nobody.example.com", "picky") + issuer("picky", "", 'wherry.dev/acme: "true"', "{http01: {ingress: {}}, selector: {dnsZones: [shop.example.com]}}"));
  await failed("wild", /^False Failed: \*\.example\.com can only be proved by dns-[^ ]*.*, and Wherry answers http-01$/);
  await failed("blocked", /^False Failed: .*rejectedIdentifier/);
  await failed("elsewhere", /^False Failed: no configured challenge solvers can be used for this challenge: nobody\.example\.com$/);
  // It goes on with the account that it had: the key in its Secret is the account.
  assert.ok(await get(resources.secrets, "pebble-account"));
});

async function fetchText(port: number, host: string, path: string): Promise<string> {
  const { get } = await import("node:http");
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, headers: { host } }, (answer) => {
      let text = String(answer.statusCode);
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.on("end", () => resolve(text));
    }).on("error", reject);
  });
}

test("an account that is bound to one elsewhere", { skip, timeout: 120_000 }, async (t) => {
  const work = mkdtempSync(join(tmpdir(), "wherry-acme-"));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const key = Buffer.from("0123456789abcdef0123456789abcdef");
  await using pebble = await startPebble(work, { httpPort: 1, binding: { id: "mine", key: key.toString("base64url") } });
  const { AcmeClient } = await import("../../../src/controllers/certificates/acme/client.ts");
  const { generateKeyPairSync } = await import("node:crypto");
  const { signal } = new AbortController();
  const of = (accountKey: ReturnType<typeof generateKeyPairSync>["privateKey"]) => new AcmeClient({ url: pebble.directory, ca: pebble.ca }, accountKey as never, systemClock, signal);
  const keys = [generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey];
  for (const accountKey of keys) {
    const uri = await of(accountKey as never).register(["mailto:a@example.com"], { id: "mine", key });
    assert.equal(await of(accountKey as never).register([], { id: "mine", key }), uri, "the key is the account");
    await assert.rejects(of(accountKey as never).register([]), /externalAccountRequired/);
    await assert.rejects(of(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey as never).register([], { id: "mine", key: Buffer.from("another") }), /urn:ietf:params:acme:error:unauthorized|malformed/);
  }
});
