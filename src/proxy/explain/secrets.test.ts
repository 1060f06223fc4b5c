import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { authority, certificateFor } from "../http/testing/certificates.ts";
import { LoopbackAddresses } from "../gateway/addresses.ts";
import { Translator } from "../gateway/translate.ts";
import { ObjectWorld } from "../gateway/world.ts";
import { explainObjects } from "./cluster.ts";

/**
 * Wherever a Secret's content can stand in what is compiled, it is a word that stands nowhere else: neither `wherry route explain` nor
 * a status nor an Event says it, in whatever form, also of what is wrong.
 */
const words: string[] = [];
/** A secret word that must not be seen again. */
function canary(name: string): string {
  const word = `canary-${name}-${createHash("sha256").update(name).digest("hex").slice(0, 12)}`;
  words.push(word);
  return word;
}
const group = "gateway.networking.k8s.io";
let uid = 0;
const made = (apiVersion: string, kind: string, name: string, more: object): KubeObject => ({ apiVersion, kind, metadata: { name, namespace: "shop", uid: String(++uid), generation: 1, creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, ...more });
const base64 = (text: string): string => Buffer.from(text).toString("base64");
const secret = (name: string, data: Record<string, string>): KubeObject => made("v1", "Secret", name, { data: Object.fromEntries(Object.entries(data).map(([key, value]) => [key, base64(value)])) });
const objects: KubeObject[] = [];
const urls: string[] = [];

/** A route at its own host whose policy, or whose filter, has these words in it. */
function place(name: string, { policy, filter, secrets }: { policy?: object; filter?: object; secrets: KubeObject[] }): void {
  const extensionRef = { group: "gateway.envoyproxy.io", kind: "HTTPRouteFilter", name };
  objects.push(...secrets, made(`${group}/v1`, "HTTPRoute", name, { spec: { parentRefs: [{ name: "edge" }], hostnames: [`${name}.example.com`], rules: [{ ...(filter && { filters: [{ type: "ExtensionRef", extensionRef }] }), backendRefs: [{ name: "web", port: 80 }] }] } }));
  if (policy) objects.push(made("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", name, { spec: { targetRefs: [{ group, kind: "HTTPRoute", name }], ...policy } }));
  if (filter) objects.push(made("gateway.envoyproxy.io/v1alpha1", "HTTPRouteFilter", name, { spec: filter }));
  urls.push(`http://${name}.example.com/`);
}

const pair = certificateFor(["edge.example.com"]);
words.push(...pair.key.split("\n").filter((line) => /^[A-Za-z0-9+/=]{40,}$/.test(line)));
objects.push(
  { apiVersion: `${group}/v1`, kind: "GatewayClass", metadata: { name: "wherry", uid: "class", creationTimestamp: "2026-01-01T00:00:00Z", resourceVersion: "1" }, spec: { controllerName: "wherry.dev/gateway-controller" } },
  secret("edge", { "tls.crt": pair.cert, "tls.key": pair.key }),
  secret("broken", { "tls.crt": pair.cert, "tls.key": canary("broken-key") }),
  made(`${group}/v1`, "Gateway", "edge", { spec: { gatewayClassName: "wherry", listeners: [{ name: "web", port: 80, protocol: "HTTP" }, { name: "tls", port: 443, protocol: "HTTPS", tls: { certificateRefs: [{ name: "edge" }] } }, { name: "broken", port: 8443, protocol: "HTTPS", tls: { certificateRefs: [{ name: "broken" }] } }] }, status: { addresses: [{ type: "IPAddress", value: "127.99.0.1" }] } }),
  made("v1", "Service", "web", { spec: { ports: [{ port: 80 }] } }),
  made("v1", "ConfigMap", "authority", { data: { "ca.crt": authority.cert } }),
);
place("keys", { policy: { apiKeyAuth: { credentialRefs: [{ name: "keys" }], extractFrom: [{ headers: ["x-key"] }] } }, secrets: [secret("keys", { ann: canary("key") })] });
const twice = canary("key-twice");
place("keys-wrong", { policy: { apiKeyAuth: { credentialRefs: [{ name: "keys-wrong" }], extractFrom: [{ headers: ["x-key"] }] } }, secrets: [secret("keys-wrong", { ann: `${canary("key-with-break")}\n`, bob: twice, carol: twice })] });
place("passwords", { policy: { basicAuth: { users: { name: "passwords" } } }, secrets: [secret("passwords", { ".htpasswd": `ann:{SHA}${createHash("sha1").update(canary("password")).digest("base64")}\n` })] });
words.push(createHash("sha1").update(words.at(-1)!).digest("base64"));
place("passwords-wrong", { policy: { basicAuth: { users: { name: "passwords-wrong" } } }, secrets: [secret("passwords-wrong", { ".htpasswd": `ann:${canary("password-of-another-kind")}\n` })] });
place("login", { policy: { oidc: { provider: { issuer: "http://web.shop.svc" }, clientID: "shop", clientSecret: { name: "login" } } }, secrets: [secret("login", { "client-secret": canary("client-secret") })] });
place("login-wrong", { policy: { oidc: { provider: { issuer: "http://web.shop.svc" }, clientID: "shop", clientSecret: { name: "login-wrong" }, disableTokenEncryption: true } }, secrets: [secret("login-wrong", { "client-secret": canary("client-secret-wrong") })] });
place("asked", { policy: { extAuth: { contextExtensions: [{ name: "inline", type: "Value", value: canary("context") }, { name: "secret", type: "ValueRef", valueRef: { kind: "Secret", name: "asked", key: "token" } }], grpc: { backendRefs: [{ name: "web", port: 80 }] } } }, secrets: [secret("asked", { token: canary("context-secret") })] });
place("asked-wrong", { policy: { extAuth: { contextExtensions: [{ name: "secret", type: "ValueRef", valueRef: { kind: "Secret", name: "asked-wrong", key: "token" } }], http: { backendRefs: [{ name: "web", port: 80 }] } } }, secrets: [secret("asked-wrong", { token: canary("context-wrong") })] });
place("credential", { filter: { credentialInjection: { overwrite: true, credential: { valueRef: { name: "credential" } } } }, secrets: [secret("credential", { credential: `Bearer ${canary("credential")}` })] });
place("credential-wrong", { filter: { credentialInjection: { header: "Host", credential: { valueRef: { name: "credential-wrong" } } } }, secrets: [secret("credential-wrong", { credential: `${canary("credential-wrong")}\nSecond: line` })] });

/** In all its forms. */
function foundIn(text: string): string[] {
  return words.filter((word) => [word, base64(word), Buffer.from(word).toString("base64url"), Buffer.from(word).toString("hex"), encodeURIComponent(word)].some((form) => text.includes(form)));
}

test("what is explained says nothing of a Secret, of whatever has one", () => {
  for (const url of [...urls, "https://edge.example.com/", "https://edge.example.com:8443/"]) {
    const { text } = explainObjects(objects, { method: "GET", url, headers: [] });
    assert.deepEqual(foundIn(text), [], `${url}\n${text}`);
    // What is compiled, and is wrong, is told of.
    const isPlace = urls.includes(url);
    if (isPlace) assert.match(text, url.includes("-wrong") ? /500|is no place for a credential/ : /apiKey|basic|oidc|extAuth|credential/, `${url}\n${text}`);
  }
});

test("statuses and Events say nothing of one, and the compiled word is where it belongs", () => {
  const translator = new Translator(new ObjectWorld(objects), new LoopbackAddresses());
  for (const object of objects) translator.changed(object.kind, keyOf(object));
  const { statuses } = translator.flush();
  assert.deepEqual(foundIn(JSON.stringify(statuses)), []);
  // Or else there would be nothing to keep.
  const compiled = foundIn(JSON.stringify(translator.snapshot())).map((word) => /^canary-(.*)-/.exec(word)?.[1]);
  for (const kept of ["client-secret", "context", "context-secret", "credential"]) assert.ok(compiled.includes(kept), kept);
  for (const never of ["key", "password", "broken-key"]) assert.ok(!compiled.includes(never), never);
  assert.ok(statuses.filter((status) => "ancestors" in status && status.ancestors.some(({ conditions }) => conditions.some(({ status: is }) => is === "False"))).length >= 4);
});
