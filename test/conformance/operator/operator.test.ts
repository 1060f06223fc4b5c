import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openPki } from "../../../src/apiserver/pki.ts";
import { parseYaml } from "../../../src/api/yaml.ts";
import { startWherry, type TestWherry } from "../../harness.ts";
import { needs } from "../../needs.ts";
import { applyFolders, freePort } from "../../scenarios/stack.ts";
import { buildOperator, type Built } from "./build.ts";

const namespace = "operator-system";
const group = "batch.tutorial.example.org";
/** Asked for by its short name, kubectl takes the newest version. */
const v1 = `cronjobs.v1.${group}`;
const v2 = `cronjobs.v2.${group}`;
type Target = { url: string } | { service: { name: string; namespace: string } };

test("an operator as kubebuilder lays it out: definitions, roles, webhooks, conversion; as a program and as a pod", { timeout: 1_800_000 }, async (t) => {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("building an operator takes minutes: npm run conformance");
  if (!needs(t, "go", "kubectl")) return;
  const built = buildOperator();
  if (!built) return t.skip("the operator could not be built here");
  const folder = mkdtempSync(join(tmpdir(), "wherry-operator-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const pki = await openPki(folder, { names: [`webhook-service.${namespace}.svc`] });
  const certificates = join(folder, "certificates");
  mkdirSync(certificates);
  writeFileSync(join(certificates, "tls.crt"), pki.server.cert);
  writeFileSync(join(certificates, "tls.key"), pki.server.key);
  await using wherry = await startWherry({ test: t, hostPathRoots: [folder] });
  const caBundle = Buffer.from(pki.ca).toString("base64");

  await t.test("as a program with a token of its ServiceAccount", async (inner) => {
    const [port, probes] = [await freePort(), await freePort()];
    await apply(wherry, [...account(), ...manifests(built, caBundle, { url: `https://127.0.0.1:${port}` })]);
    const token = (await kubectl(wherry, ["create", "token", "manager", "-n", namespace])).trim();
    const config = JSON.parse(await kubectl(wherry, ["config", "view", "--raw", "-o", "json"])) as { users: { user: object }[] };
    config.users[0]!.user = { token };
    const kubeconfig = join(folder, "kubeconfig");
    writeFileSync(kubeconfig, JSON.stringify(config));
    let said = "";
    const operator = spawn(built.program, ["--kubeconfig", kubeconfig, "--webhook-cert-path", certificates, "--webhook-port", String(port), "--health-probe-bind-address", `127.0.0.1:${probes}`, "--leader-elect", "--leader-election-namespace", namespace], { stdio: ["ignore", "ignore", "pipe"] });
    operator.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-20_000)));
    const ended = new Promise<number | null>((resolve) => operator.once("exit", resolve));
    try {
      await until(async () => (await fetch(`http://127.0.0.1:${probes}/readyz`)).ok, () => said);
      await checks(inner, wherry, () => said);
    } finally {
      operator.kill("SIGTERM");
    }
    assert.equal(await ended, 0, said);
    assert.equal(await kubectl(wherry, ["get", "lease", "80807133.tutorial.example.org", "-n", namespace, "-o", "jsonpath={.spec.holderIdentity}"]), "", "the lease was given back");
  });

  await t.test("as a pod behind a Service", async (inner) => {
    const project = join(folder, "project");
    mkdirSync(project);
    copyFileSync(built.program, join(project, "operator"));
    writeFileSync(join(project, "Dockerfile"), 'FROM scratch\nCOPY operator /operator\nUSER 65532:65532\nENTRYPOINT ["/operator"]\n');
    writeFileSync(join(project, "skaffold.yaml"), JSON.stringify({ apiVersion: "skaffold/v4beta11", kind: "Config", build: { artifacts: [{ image: "example.org/operator:v1", context: ".", docker: {} }] } }));
    await applyFolders(wherry, [], [project]);
    await apply(wherry, [
      ...manifests(built, caBundle, { service: { name: "webhook-service", namespace } }),
      { apiVersion: "v1", kind: "Secret", type: "kubernetes.io/tls", metadata: { name: "webhook-server-cert", namespace }, stringData: { "tls.crt": pki.server.cert, "tls.key": pki.server.key } },
      { apiVersion: "v1", kind: "Service", metadata: { name: "webhook-service", namespace }, spec: { selector: { "control-plane": "manager" }, ports: [{ port: 443, targetPort: 9443 }] } },
      deployment(),
    ]);
    const said = () => kubectl(wherry, ["logs", "-n", namespace, "deployment/manager", "--tail=60"]).catch(String);
    await kubectl(wherry, ["rollout", "status", "-n", namespace, "deployment/manager", "--timeout=60s"]).catch(async (error: Error) => assert.fail(`${error.message}\n${await kubectl(wherry, ["describe", "pods", "-n", namespace])}\n${await said()}`));
    await checks(inner, wherry, said);
  });
});

/** What the tutorial's reader would try. */
async function checks(t: TestContext, wherry: TestWherry, said: () => string | Promise<string>): Promise<void> {
  const get = (...args: string[]) => kubectl(wherry, ["get", ...args]);
  const cronJob = (name: string, spec: object, version = "v1") => ({ apiVersion: `${group}/${version}`, kind: "CronJob", metadata: { name }, spec: { jobTemplate: { spec: { template: { spec: { restartPolicy: "OnFailure", containers: [{ name: "hello", image: "busybox:1.37", command: ["sh", "-c", "echo hello"] }] } } } }, ...spec } });
  await t.test("what is left out is filled in", async () => {
    await apply(wherry, [cronJob("filled", { schedule: "0 5 * * 1" })]);
    assert.equal(await get(v1, "filled", "-o", "jsonpath={.spec.schedule} {.spec.concurrencyPolicy} {.spec.suspend} {.spec.successfulJobsHistoryLimit}"), "0 5 * * 1 Allow false 3");
  });
  await t.test("what makes no sense is refused, by the webhook and by the schema", async () => {
    await assert.rejects(apply(wherry, [cronJob("bad", { schedule: "now and then" })]), /The CronJob "bad" is invalid: spec\.schedule: Invalid value: "now and then": expected exactly 5 fields/);
    await assert.rejects(apply(wherry, [cronJob("n".repeat(53), { schedule: "* * * * *" })]), /metadata\.name: Invalid value: .*must be no more than 52 characters/);
    await assert.rejects(apply(wherry, [cronJob("bad", { schedule: "* * * * *", concurrencyPolicy: "Sometimes" })]), /spec\.concurrencyPolicy: Unsupported value: "Sometimes": supported values: "Allow", "Forbid", "Replace"/);
    await assert.rejects(apply(wherry, [cronJob("bad", { schedule: "* * * * *", jobTemplate: { spec: {} } })]), /spec\.jobTemplate\.spec\.template\.spec\.containers: Required value/);
    assert.match(await kubectl(wherry, ["patch", v1, "filled", "--type=merge", "-p", '{"spec":{"suspend":true}}']), /Warning: spec\.suspend: nothing is started meanwhile/);
  });
  await t.test("two versions of one object", async () => {
    assert.deepEqual(JSON.parse(await get(v2, "filled", "-o", "jsonpath={.spec.schedule}")), { minute: "0", hour: "5", dayOfWeek: "1" });
    await apply(wherry, [cronJob("second", { schedule: { minute: "*/5", hour: "2" }, suspend: true }, "v2")]);
    assert.equal(await get(v1, "second", "-o", "jsonpath={.spec.schedule} {.spec.concurrencyPolicy}"), "*/5 2 * * * Allow");
    await kubectl(wherry, ["delete", v1, "filled", "second"]);
  });
  await t.test("Jobs are made, run, counted, and go with their owner", async () => {
    await apply(wherry, [cronJob("often", { schedule: "@every 1s", successfulJobsHistoryLimit: 2, concurrencyPolicy: "Forbid" })]);
    const done = async () => (JSON.parse(await get("jobs", "-o", "json")) as { items: { metadata: { name: string }; status: { succeeded?: number } }[] }).items.filter(({ metadata, status }) => metadata.name.startsWith("often-") && status.succeeded === 1);
    const seen = new Set<string>();
    await until(async () => ((await done()).forEach(({ metadata }) => seen.add(metadata.name)), seen.size >= 4), said);
    assert.match(await get(v1, "often"), /^NAME +SCHEDULE +SUSPEND +LAST SCHEDULE\noften +@every 1s +false +\d+s\n$/);
    await until(async () => (await get(v1, "often", "-o", 'jsonpath={.status.conditions[?(@.type=="Available")].status} {.status.lastScheduleTime}')).startsWith("True 2"), said);
    await until(async () => /started often-\d+/.test(await get("events", "--field-selector=reason=Started,involvedObject.name=often", "-o", "jsonpath={.items[*].message}")), said);
    await kubectl(wherry, ["patch", v1, "often", "--type=merge", "-p", '{"spec":{"suspend":true}}']);
    await until(async () => (await done()).length <= 2, said);
    await assert.rejects(get("tcj"), /conversion webhook for batch\.tutorial\.example\.org\/v1, Kind=CronJob failed: the schedule "@every 1s" has not five fields/);
    await kubectl(wherry, ["delete", v1, "often"]);
    await until(async () => (await get("jobs,pods", "-o", "name")) === "", said);
  });
}

const account = (): object[] => [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
  { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "manager", namespace } },
  { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", metadata: { name: "manager" }, roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "manager-role" }, subjects: [{ kind: "ServiceAccount", name: "manager", namespace }] },
];

const deployment = (): object => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "manager", namespace },
  spec: {
    replicas: 1,
    selector: { matchLabels: { "control-plane": "manager" } },
    template: {
      metadata: { labels: { "control-plane": "manager" } },
      spec: {
        serviceAccountName: "manager",
        securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
        containers: [
          {
            name: "manager",
            image: "example.org/operator:v1",
            args: ["--leader-elect", "--webhook-cert-path=/certificates"],
            securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
            ports: [{ containerPort: 9443, name: "webhook-server" }],
            readinessProbe: { httpGet: { path: "/readyz", port: 8081 }, periodSeconds: 1 },
            livenessProbe: { httpGet: { path: "/healthz", port: 8081 } },
            resources: { limits: { cpu: "500m", memory: "128Mi" }, requests: { cpu: "10m", memory: "64Mi" } },
            volumeMounts: [{ name: "certificates", mountPath: "/certificates", readOnly: true }],
          },
        ],
        volumes: [{ name: "certificates", secret: { secretName: "webhook-server-cert" } }],
      },
    },
  },
});

/** What controller-gen made, aimed at where the webhooks are: what kustomize does in a project of kubebuilder's. */
function manifests({ config }: Built, caBundle: string, target: Target): object[] {
  const aimed = (path: string) => ("url" in target ? { url: target.url + path, caBundle } : { service: { ...target.service, path }, caBundle });
  const objects = readdirSync(config, { recursive: true, encoding: "utf8" }).filter((file) => file.includes("/") && file.endsWith(".yaml")).flatMap((file) => parseYaml(readFileSync(join(config, file), "utf8")) as any[]);
  for (const object of objects) {
    for (const webhook of object.webhooks ?? []) webhook.clientConfig = aimed(webhook.clientConfig.service.path as string);
    if (object.kind === "CustomResourceDefinition") object.spec.conversion = { strategy: "Webhook", webhook: { clientConfig: aimed("/convert"), conversionReviewVersions: ["v1"] } };
  }
  return objects;
}

/** As documents: what lies in a List, kubectl judges itself. */
const apply = (wherry: TestWherry, objects: object[]): Promise<string> => kubectl(wherry, ["apply", "--server-side", "--force-conflicts", "-f", "-"], objects.map((object) => JSON.stringify(object)).join("\n---\n"));

/** What it says, warnings too; rejects with the same. */
function kubectl({ env }: TestWherry, args: string[], input = ""): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile("kubectl", args, { env, timeout: 120_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => (error ? reject(new Error(stderr || error.message)) : resolve(stdout + (stderr.includes("Warning") ? stderr : ""))));
    child.stdin!.end(input);
  });
}

async function until(holds: () => Promise<boolean>, said: () => string | Promise<string>, waitMs = 60_000): Promise<void> {
  for (const began = performance.now(); ; ) {
    if (await holds().catch(() => false)) return;
    if (performance.now() - began > waitMs) throw new Error(`not within ${waitMs / 1000} s:\n${await said()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
