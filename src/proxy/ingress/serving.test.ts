import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingHttpHeaders, request } from "node:http";
import { createServer, request as secureRequest } from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { TLSSocket } from "node:tls";
import type { KubeObject } from "../../api/meta.ts";
import type { EdgeBinding } from "../../api/network.ts";
import { eventually, nextAddress, port, snapshot, startSupervisor } from "../testing/network.ts";
import { KeyPairs } from "./certificates.ts";
import { Translator } from "./translate.ts";
import { ObjectWorld } from "./world.ts";

const service = { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "default" }, spec: { ports: [{ port: 80 }] } } as unknown as KubeObject;
const ingress = (name: string, annotations: Record<string, string> = {}, spec: object = {}): KubeObject => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "Ingress",
  metadata: { name, namespace: "default", uid: name, resourceVersion: "1", creationTimestamp: "2026-01-01T00:00:00Z", annotations: Object.fromEntries(Object.entries(annotations).map(([key, value]) => [`nginx.ingress.kubernetes.io/${key}`, value])) },
  spec: { rules: [{ host: `${name}.io`, http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "web", port: { number: 80 } } } }] } }], ...spec },
});

test("on the wire: TLS on both sides, cookies, sizes; and what Gateways say leaves Ingresses alone", async () => {
  const own = await selfSigned("web.io", 256);
  const server = createServer({ cert: own.certificate, key: own.key }, (asked, answer) => answer.end(`${asked.headers.host} ${asked.url}`)).listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await using net = await startSupervisor();
    net.publish(snapshot(1, { name: "web", clusterIPs: [nextAddress()], ports: [port(80, [{ ip: "127.0.0.1", port: (server.address() as AddressInfo).port }])] }));
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "tls", namespace: "default" }, data: { "tls.crt": base64(own.certificate), "tls.key": base64(own.key) } } as unknown as KubeObject;
    const world = new ObjectWorld([service, secret, ingress("web", { "backend-protocol": "HTTPS", affinity: "cookie", "session-cookie-max-age": "60", "proxy-body-size": "10" }, { tls: [{ hosts: ["web.io"], secretName: "tls" }] }), ingress("plain", {})]);
    const fake = await selfSigned("ingress.local", 256);
    const translator = new Translator(world, fake);
    for (const name of ["web", "plain"]) translator.changed("Ingress", `default/${name}`);
    let bindings: EdgeBinding[] = [];
    net.onEdgeBindings((list) => (bindings = list));
    translator.flush();
    net.publishTraffic({ revision: 1, whole: true, scope: "ingress", put: translator.snapshot(), remove: {} });
    net.publishTraffic({ revision: 7, whole: true, scope: "gateway", put: {}, remove: {} });
    const portOf = async (usual: number) => (await eventually(() => bindings.find((binding) => binding.port === usual)?.boundPort))!;
    const [http, https] = [await portOf(80), await portOf(443)];
    assert.ok(http !== 80 && https !== 443, "tests and a machine's own servers do not meet");

    const first = await eventually(() => ask("https", https, "web.io", "/a"));
    assert.deepEqual([first.status, first.text, first.certificate], [200, "web.io /a", "web.io"]);
    assert.match(String(first.headers["set-cookie"]), /^INGRESSCOOKIE=[\w.-]+; (?=.*Path=\/)(?=.*Max-Age=60)(?=.*HttpOnly)/);
    assert.equal((await ask("https", https, "plain.io", "/")).certificate, "ingress.local", "a name that nobody has a certificate for");
    assert.equal((await ask("https", https, "web.io", "/", "0123456789")).status, 200);
    assert.equal((await ask("https", https, "web.io", "/", "0123456789a")).status, 413);
    const redirect = await ask("http", http, "web.io", "/b");
    assert.deepEqual([redirect.status, redirect.headers.location], [308, "https://web.io/b"]);

    net.publishTraffic({ revision: 2, whole: true, scope: "ingress", put: {}, remove: {} });
    await eventually(async () => (await ask("http", http, "web.io", "/").catch((error: NodeJS.ErrnoException) => error.code)) === "ECONNREFUSED");
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test("a certificate that OpenSSL would not take is told, and does not join the others", async () => {
  const [short, good, other] = [await selfSigned("short.io", 1024), await selfSigned("good.io", 256), await selfSigned("good.io", 256)];
  const secret = (name: string, certificate: string, key: string) => ({ apiVersion: "v1", kind: "Secret", metadata: { name, namespace: "default" }, data: { "tls.crt": base64(certificate), "tls.key": base64(key) } }) as unknown as KubeObject;
  const world = new ObjectWorld([secret("short", short.certificate, short.key), secret("good", good.certificate, good.key), secret("mixed", good.certificate, other.key), secret("cut", good.certificate.slice(0, 90), good.key)]);
  const pairs = new KeyPairs();
  assert.match(String(pairs.of(world, "default/short")), /^Secret default\/short: .*key too small/);
  assert.equal(pairs.of(world, "default/mixed"), "Secret default/mixed: tls.key does not belong to tls.crt");
  assert.equal(pairs.of(world, "default/cut"), "Secret default/cut: tls.crt and tls.key must hold a certificate and its key in PEM");
  assert.deepEqual(pairs.of(world, "default/good"), good);
  world.put(secret("mixed", other.certificate, other.key));
  assert.deepEqual(pairs.of(world, "default/mixed"), other, "a Secret that was mended is looked at again");

  const translator = new Translator(world, good);
  for (const name of ["short", "good"]) {
    world.put(ingress(name, {}, { tls: [{ hosts: [`${name}.io`], secretName: name }] }));
    translator.changed("Ingress", `default/${name}`);
  }
  const { told } = translator.flush();
  const messages = told.find(({ key }) => key === "default/short")!.notes.map(({ message }) => message);
  assert.ok(messages.some((message) => /key too small; short\.io: a self-signed certificate is shown/.test(message)), messages.join("\n"));
  assert.equal(translator.snapshot().listeners.find(({ id }) => id === "ingress/https")!.tls!.certificates.length, 1, "the fake one is this time the good one, and stands there once");
});

const base64 = (text: string): string => Buffer.from(text).toString("base64");

/** 256: an elliptic curve's; else so many bits of RSA. */
async function selfSigned(name: string, bits: number): Promise<{ certificate: string; key: string }> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = bits === 256 ? { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } : { name: "RSASSA-PKCS1-v1_5", modulusLength: bits, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as { privateKey: CryptoKey; publicKey: CryptoKey };
  const made = await x509.X509CertificateGenerator.createSelfSigned({ name: `CN=${name}`, keys, signingAlgorithm: algorithm, notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000), extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }])] });
  return { certificate: made.toString("pem"), key: x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY") };
}

interface Answer {
  status: number;
  text: string;
  headers: IncomingHttpHeaders;
  /** Whose was shown. */
  certificate: string | undefined;
}

function ask(scheme: "http" | "https", at: number, host: string, path: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let certificate: string | undefined;
    const options = { host: "127.0.0.1", port: at, path, method: body === undefined ? "GET" : "POST", headers: { host, ...(body !== undefined && { "content-length": body.length }) }, agent: false, rejectUnauthorized: false, servername: host };
    const asking = (scheme === "https" ? secureRequest : request)(options, (response) => {
      if (response.socket instanceof TLSSocket) certificate = [response.socket.getPeerCertificate().subject.CN].flat()[0];
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve({ status: response.statusCode!, text, headers: response.headers, certificate }));
    });
    asking.on("error", reject).end(body);
  });
}
