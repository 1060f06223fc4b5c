import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type TestContext, test } from "node:test";
import { dump, load } from "js-yaml";
import { policyKinds, type PolicyKind, policyResources } from "../../src/api/envoy/kinds.ts";
import type { KubeObject } from "../../src/api/meta.ts";
import { resources } from "../../src/api/resources.ts";
import { StatusError } from "../../src/api/status.ts";
import type { Pod } from "../../src/api/types.ts";
import { type Condition, type Gateway, gatewayResources } from "../../src/proxy/gateway/kinds.ts";
import { authority, certificateFor, makeAuthority } from "../../src/proxy/http/testing/certificates.ts";
import { eventually } from "../../src/proxy/testing/network.ts";
import { startWherry, type TestWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { goProgram } from "./clients/build.ts";
import { type Answer, difference } from "./doors/table.ts";
import { ask, ports, type Possessions, secureName } from "./policies/client.ts";
import { type Call, type Case, readTables, type ShortPolicy } from "./policies/table.ts";

/** The cases of policies/*.txt on one stack with real pods, with one worker and with two; see policies/README.md. */
const folder = join(import.meta.dirname, "policies");
const isWhole = Boolean(process.env["WHERRY_CONFORMANCE"]);
const patienceMs = 60_000;

const issuer = generateKeyPairSync("ec", { namedCurve: "P-256" });
const keys = JSON.stringify({ keys: [{ ...issuer.publicKey.export({ format: "jwk" }), kid: "first", alg: "ES256", use: "sig" }] });
const encoded = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
function tokenOf(claims: object): string {
  const signed = `${encoded({ alg: "ES256", kid: "first" })}.${encoded({ iss: "https://issuer.test", exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key: issuer.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}
/** The listener that decrypts, who is asked by TLS, and clients with certificates. */
const clients = makeAuthority("clients of this test");
const [edge, inside, strangers] = [certificateFor([secureName]), certificateFor(["inside.test"]), makeAuthority("somebody else")];
const possessions: Possessions = {
  authority: authority.cert,
  certificates: { ann: certificateFor(["ann.clients.test"], { client: true, authority: clients }), bob: certificateFor(["bob.clients.test"], { client: true, authority: clients }), eve: certificateFor(["ann.clients.test"], { client: true, authority: strangers }) },
  token: (claims) => tokenOf(load(claims) as object),
};
const ann = new X509Certificate(possessions.certificates["ann"]!.cert);
const words = {
  $KEYS: keys,
  $ANN: ann.fingerprint256.replaceAll(":", "").toLowerCase(),
  $ANN_KEY: createHash("sha256").update(ann.publicKey.export({ type: "spki", format: "der" })).digest("base64"),
};
/** A foreign authorizer, built where Go is. */
const authorizer = isWhole ? goProgram("authorizer", join(folder, "authorizer")) : undefined;
const cases = readTables(folder, words).filter(({ isSample, title }) => (isSample || isWhole) && title.includes(process.env["ONLY"] ?? ""));

const encodedFile = (...path: string[]): string => readFileSync(join(import.meta.dirname, ...path)).toString("base64");
const program = encodedFile("doors", "pod.mjs");
const pod = (name: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: "web", pod: name } },
  spec: { containers: [{ name: "pod", image: "node:26", command: ["node", "-e", `import("data:text/javascript;base64,${program}")`], env: [{ name: "POD", value: name }], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }], terminationGracePeriodSeconds: 1 },
});
const service = (name: string, selector: Record<string, string>): object => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector, ports: [{ name: "http", port: 80, targetPort: 8080 }] } });

const secret = (name: string, stringData: Record<string, string>): object => ({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData });
/** What cases name beside pods that answer. */
const shared = (): object[] => [
  { ...secret("edge", { "tls.crt": edge.cert, "tls.key": edge.key }), type: "kubernetes.io/tls" },
  { ...secret("inside", { "tls.crt": inside.cert, "tls.key": inside.key }), type: "kubernetes.io/tls" },
  secret("clients", { "ca.crt": clients.cert }),
  ...Object.entries({ authority, strangers }).map(([name, { cert }]) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { "ca.crt": cert } })),
  { apiVersion: "v1", kind: "Service", metadata: { name: "keys" }, spec: { selector: { app: "keys" }, ports: [{ name: "https", port: 443, targetPort: 8443 }] } },
  { apiVersion: "v1", kind: "Service", metadata: { name: "keys-distrusted" }, spec: { selector: { app: "keys" }, ports: [{ name: "https", port: 443, targetPort: 8443 }] } },
  { apiVersion: "v1", kind: "Pod", metadata: { name: "keys", labels: { app: "keys" } }, spec: { containers: [{ name: "pod", image: "node:26", command: ["node", "-e", `import("data:text/javascript;base64,${encodedFile("policies", "keys.mjs")}")`], env: [{ name: "KEYS", value: keys }], readinessProbe: { tcpSocket: { port: 8443 }, periodSeconds: 1 }, volumeMounts: [{ name: "tls", mountPath: "/tls" }] }], volumes: [{ name: "tls", secret: { secretName: "inside" } }], terminationGracePeriodSeconds: 1 } },
  ...(authorizer === undefined ? [] : [
    ...["authorizer", "authorizer-distrusted"].map((name) => ({ apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: "authorizer" }, ports: [{ name: "plain", port: 9001 }, { name: "tls", port: 9002 }] } })),
    { apiVersion: "v1", kind: "Pod", metadata: { name: "authorizer", labels: { app: "authorizer" } }, spec: { containers: [{ name: "pod", image: "node:26", command: ["/program/authorizer", "/tls/tls.crt", "/tls/tls.key"], readinessProbe: { tcpSocket: { port: 9002 }, periodSeconds: 1 }, volumeMounts: [{ name: "tls", mountPath: "/tls" }, { name: "program", mountPath: "/program", readOnly: true }] }], volumes: [{ name: "tls", secret: { secretName: "inside" } }, { name: "program", hostPath: { path: dirname(authorizer) } }], terminationGracePeriodSeconds: 1 } },
  ]),
  ...[["keys", "https", "authority"], ["keys-distrusted", "https", "strangers"], ...(authorizer === undefined ? [] : [["authorizer", "tls", "authority"], ["authorizer-distrusted", "tls", "strangers"]])].map(([name, sectionName, trusted]) => ({ apiVersion: "gateway.networking.k8s.io/v1", kind: "BackendTLSPolicy", metadata: { name }, spec: { targetRefs: [{ group: "", kind: "Service", name, sectionName }], validation: { hostname: "inside.test", caCertificateRefs: [{ group: "", kind: "ConfigMap", name: trusted }] } } })),
];

function objectsOf({ name, objects: { rules = [{ backendRefs: [{ name: "web", port: 80 }] }], labels, policies = [], objects = [], secure = false } }: Case): object[] {
  const plain = Object.entries({ web: ports.web, inner: ports.inner }).map(([listener, port]) => ({ name: listener, port, protocol: "HTTP" }));
  const listeners = secure ? [...plain, { name: "secure", port: ports.secure, protocol: "HTTPS", tls: { certificateRefs: [{ name: "edge" }] } }] : plain;
  return [
    { apiVersion: "gateway.networking.k8s.io/v1", kind: "Gateway", metadata: { name }, spec: { gatewayClassName: "wherry", listeners } },
    { apiVersion: "gateway.networking.k8s.io/v1", kind: "HTTPRoute", metadata: { name, ...(labels && { labels }) }, spec: { parentRefs: [{ name }], rules } },
    ...objects,
    ...policies.map((policy) => policyOf(name, policy)),
  ];
}
function policyOf(self: string, { kind, name, at, ...spec }: ShortPolicy): KubeObject {
  const targetRefs = at?.split(/, */).map((target) => {
    const [what, sectionName] = target.split("#");
    return { group: "gateway.networking.k8s.io", kind: what === "gateway" ? "Gateway" : "HTTPRoute", name: self, ...(sectionName !== undefined && { sectionName }) };
  });
  return { apiVersion: "gateway.envoyproxy.io/v1alpha1", kind, metadata: { name: `${self}-${name}` }, spec: { ...(targetRefs && { targetRefs }), ...spec } } as unknown as KubeObject;
}

class Stage {
  readonly wherry: TestWherry;
  readonly #workers: number;
  readonly #addresses = new Map<string, string>();
  readonly #jars = new Map<string, Map<string, string>>();
  #keys = 0;
  constructor(wherry: TestWherry, workers: number) {
    this.wherry = wherry;
    this.#workers = workers;
  }
  async address(gateway: string): Promise<string> {
    let address = this.#addresses.get(gateway);
    if (address === undefined) {
      const { status } = await this.wherry.client.get<Gateway>(gatewayResources.gateways, "default", gateway);
      assert.ok(status?.conditions?.some(({ type, status: is }) => type === "Programmed" && is === "True"), `Gateway ${gateway} is not served yet`);
      address = status!.addresses![0]!.value;
      this.#addresses.set(gateway, address);
    }
    return address;
  }
  /** What of a line is otherwise. */
  async judge({ name }: Case, call: Call): Promise<string | undefined> {
    const address = await this.address(name);
    const key = `${name}-${++this.#keys}`;
    const answers: Answer[] = [];
    const jar = this.#jars.get(name) ?? new Map<string, string>();
    this.#jars.set(name, jar);
    const own = { ...possessions, jar };
    if (call.atOnce) answers.push(...(await Promise.all(Array.from({ length: call.times }, () => ask(address, call, key, own)))));
    else for (let i = 0; i < call.times; i++) answers.push(await ask(address, call, key, own));
    const counted = (token: string): string => token.replace(/(\d+)W\b/g, (_, count: string) => String(Number(count) * this.#workers));
    return difference(call.expected.map(counted), answers);
  }
  async policy(name: string): Promise<{ kind: PolicyKind; policy: KubeObject } | undefined> {
    for (const kind of policyKinds) {
      const policy = await this.wherry.client.get<KubeObject>(policyResources[kind], "default", name).catch((error: unknown) => {
        if (!(error instanceof StatusError && error.code === 404)) throw error;
      });
      if (policy) return { kind, policy };
    }
    return undefined;
  }
  /** Written, and told of what became of it. */
  async put(self: string, short: ShortPolicy): Promise<void> {
    const { client } = this.wherry;
    const wanted = policyOf(self, short);
    const resource = policyResources[short.kind as PolicyKind];
    const present = await this.policy(wanted.metadata.name);
    const { metadata } = present ? await client.patch<KubeObject>(resource, "default", wanted.metadata.name, [{ op: "replace", path: "/spec", value: wanted["spec"] }], { type: "json" }) : await client.create<KubeObject>(resource, "default", wanted);
    await eventually(async () => conditionsOf((await client.get<KubeObject>(resource, "default", metadata.name)).status).some(({ type, observedGeneration }) => type === "Accepted" && observedGeneration === metadata.generation), patienceMs);
  }
  async statusDifference(self: string, name: string, expected: readonly string[]): Promise<string | undefined> {
    const { policy } = (await this.policy(`${self}-${name}`)) ?? assert.fail(`there is no policy ${name}`);
    const conditions = conditionsOf(policy.status).filter(({ observedGeneration }) => observedGeneration === policy.metadata.generation);
    let says = false;
    for (const token of expected) {
      if (token === "says") {
        says = true;
        continue;
      }
      const [, type, status, reason] = /^(\w+)=(True|False)(?:\/(\w+))?$/.exec(token) ?? [];
      const isSo = says ? conditions.some(({ message }) => message.includes(token.slice(1, -1))) : conditions.some((condition) => condition.type === type && condition.status === status && (reason ?? condition.reason) === condition.reason);
      if (!isSo) return `${token}: ${JSON.stringify(policy.status)}`;
    }
    return undefined;
  }
}

type Told = Condition & { observedGeneration?: number };
const conditionsOf = (status: { ancestors?: { conditions: Told[] }[] } | undefined): Told[] => status?.ancestors?.flatMap(({ conditions }) => conditions) ?? [];

async function raise(t: TestContext, workers: number): Promise<Stage> {
  const wherry = await startWherry({ test: t, netWorkers: workers, ...(authorizer !== undefined && { hostPathRoots: [dirname(authorizer)] }) });
  // Kinds that are there from the start come a moment after it.
  for (const resource of Object.values(policyResources)) await eventually(() => wherry.client.list(resource, { limit: 1 }), patienceMs);
  const manifest = join(dirname(wherry.dataDir), "policies.yaml");
  const documents = [service("web", { app: "web" }), service("one", { pod: "a" }), ...(isWhole ? ["a", "b", "c"] : ["a"]).map(pod), ...(isWhole ? shared() : []), ...cases.flatMap(objectsOf)].map((object) => dump(object, { noRefs: true }));
  // Few at a time: kubectl has a deadline, and the machine may be slow.
  for (let i = 0; i < documents.length; i += 25) {
    writeFileSync(manifest, documents.slice(i, i + 25).join("\n---\n"));
    const { code, stderr } = await wherry.kubectl("apply", "-f", manifest);
    assert.equal(code, 0, stderr);
  }
  await eventually(async () => (await wherry.client.list<Pod>(resources.pods, { namespace: "default" })).items.every(({ status }) => status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True")), patienceMs);
  const stage = new Stage(wherry, workers);
  for (const { name } of cases) await eventually(() => stage.address(name), patienceMs);
  return stage;
}

for (const workers of isWhole ? [1, 2] : [2]) {
  test(`what policies do to requests, ${workers === 1 ? "one worker" : `${workers} workers`}: ${cases.length} cases${isWhole ? "" : ", a sample"}`, { timeout: 600_000 }, async (t) => {
    if (!needs(t, "kubectl")) return;
    const stage = await raise(t, workers);
    for (const entry of cases) await t.test(entry.title, { skip: entry.objects.needs === "authorizer" && authorizer === undefined ? "the foreign authorizer is built with Go" : false }, () => play(stage, entry));
    await t.test("neither the log nor the figures say a key, a password or a token", async () => {
      let log = "";
      // Lines are written together, a while after they are made.
      await eventually(() => {
        log = ["gateway.log", "gateway.log.1"].map((file) => readFileSync(join(stage.wherry.dataDir, file), "utf8")).join("");
        return log.includes('"status":');
      }, patienceMs);
      const { stdout: figures, code } = await stage.wherry.kubectl("get", "--raw", "/metrics");
      assert.equal(code, 0);
      const secrets = ["s3cret", "W6ph5Mm5Pz8GgiULbPgzG37mj9g=", Buffer.from("ann:password").toString("base64"), "eyJ", "key=another", "token=nonsense"];
      for (const secret of secrets) for (const text of [log, figures]) assert.equal(text.includes(secret), false, secret);
    });
  });
}

/** Four clients that ask without a pause. */
class Load {
  readonly began: Promise<void>;
  readonly #clients: Promise<void>[];
  #found: string | undefined;
  #isOver = false;
  constructor(judge: () => Promise<string | undefined>) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.began = promise;
    this.#clients = Array.from({ length: 4 }, async () => {
      while (!this.#isOver && this.#found === undefined) {
        const found = await judge();
        this.#found ??= found;
        resolve();
      }
    });
  }
  /** What was once otherwise. */
  async end(): Promise<string | undefined> {
    this.#isOver = true;
    await Promise.all(this.#clients);
    return this.#found;
  }
}

async function play(stage: Stage, entry: Case): Promise<void> {
  let isKnown = false;
  let load: Load | undefined;
  await using _load = { [Symbol.asyncDispose]: async () => void (await load?.end()) };
  for (const line of entry.lines) {
    const soon = async (look: () => Promise<string | undefined>): Promise<void> => {
      let last: string | undefined = "";
      await eventually(async () => (last = await look()) === undefined, patienceMs).catch((error: unknown) => assert.fail(`${line.text}\n${last === "" ? String(error) : last}`));
    };
    switch (line.type) {
      case "put":
        await stage.put(entry.name, line.policy);
        break;
      case "delete": {
        const { kind, policy } = (await stage.policy(`${entry.name}-${line.name}`)) ?? assert.fail(line.text);
        await stage.wherry.client.delete(policyResources[kind], "default", policy.metadata.name);
        break;
      }
      case "while":
        load = new Load(() => stage.judge(entry, line.call));
        await load.began;
        break;
      case "done":
        assert.equal(await load!.end(), undefined, line.text);
        load = undefined;
        break;
      case "status":
        await soon(() => stage.statusDifference(entry.name, line.name, line.expected));
        break;
      case "call":
        if (line.isAwaited || !isKnown) await soon(() => stage.judge(entry, line));
        else {
          const found = await stage.judge(entry, line);
          assert.equal(found, undefined, `${line.text}\n${found}`);
        }
    }
    isKnown = true;
  }
}
