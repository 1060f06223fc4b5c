import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { silentLog } from "../../base/log.ts";
import { createBuiltinRegistry } from "../../api/registry.ts";
import { strategies } from "../../api/kinds/index.ts";
import { requestInfoOf } from "../http/request-info.ts";
import { AuditLog } from "./log.ts";
import { judge, readAuditPolicy } from "./policy.ts";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-audit-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
const policyOf = (t: TestContext, rest: object) => {
  const file = join(folderOf(t), "policy.yaml");
  writeFileSync(file, JSON.stringify({ apiVersion: "audit.k8s.io/v1", kind: "Policy", ...rest }));
  return readAuditPolicy(file);
};

test("the first rule that fits says how much is recorded", (t) => {
  const registry = createBuiltinRegistry(strategies);
  const pods = "/api/v1/namespaces/default/pods";
  const table: [rule: object, request: string, fits: boolean][] = [
    [{}, `GET ${pods}`, true],
    [{ users: ["ann"] }, `GET ${pods}`, true],
    [{ users: ["bob"] }, `GET ${pods}`, false],
    [{ userGroups: ["other", "team"] }, `GET ${pods}`, true],
    [{ userGroups: ["other"] }, `GET ${pods}`, false],
    [{ verbs: ["list"] }, `GET ${pods}`, true],
    [{ verbs: ["get"] }, `GET ${pods}`, false],
    [{ verbs: ["watch"] }, `GET ${pods}?watch=1`, true],
    [{ namespaces: ["default"] }, `GET ${pods}`, true],
    [{ namespaces: ["kube-system"] }, `GET ${pods}`, false],
    [{ namespaces: [""] }, "GET /api/v1/nodes", true],
    [{ namespaces: ["default"] }, "GET /version", false],
    [{ resources: [{ group: "" }] }, `GET ${pods}`, true],
    [{ resources: [{ group: "apps" }] }, `GET ${pods}`, false],
    [{ resources: [{ resources: ["pods"] }] }, `GET ${pods}/p`, true],
    [{ resources: [{ resources: ["pods"] }] }, `GET ${pods}/p/log`, false],
    [{ resources: [{ resources: ["pods/log"] }] }, `GET ${pods}/p/log`, true],
    [{ resources: [{ resources: ["pods/*"] }] }, `GET ${pods}/p/log`, true],
    [{ resources: [{ resources: ["pods/*"] }] }, `GET ${pods}/p`, true],
    [{ resources: [{ resources: ["*/log"] }] }, `GET ${pods}/p/log`, true],
    [{ resources: [{ resources: ["*"] }] }, `GET ${pods}/p/log`, true],
    [{ resources: [{ resources: ["pods"], resourceNames: ["p"] }] }, `GET ${pods}/p`, true],
    [{ resources: [{ resources: ["pods"], resourceNames: ["p"] }] }, `GET ${pods}/q`, false],
    [{ nonResourceURLs: ["/version", "/healthz*"] }, "GET /healthz/ping", true],
    [{ nonResourceURLs: ["/version"] }, "GET /healthz", false],
    [{ nonResourceURLs: ["*"] }, `GET ${pods}`, false],
  ];
  for (const [rule, request, fits] of table) {
    const [method, url] = request.split(" ") as [string, string];
    const policy = policyOf(t, { omitStages: ["RequestReceived"], rules: [{ level: "Request", omitStages: ["Panic"], ...rule }, { level: "None" }] });
    const verdict = judge(policy, requestInfoOf(registry, method, url), { name: "ann", groups: ["team"] });
    assert.equal(verdict.level, fits ? "Request" : "None", `${JSON.stringify(rule)} ${request}`);
    assert.deepEqual([...verdict.omitted], fits ? ["RequestReceived", "Panic"] : ["RequestReceived"]);
  }
});

test("a policy that cannot be followed is refused, field by field", (t) => {
  const table: [rest: object, error: RegExp][] = [
    [{ rules: [] }, /rules: Required value/],
    [{ rules: [{}] }, /rules\[0\]\.level: Required value/],
    [{ rules: [{ level: "All" }] }, /rules\[0\]\.level: Unsupported value: "All": supported values: "None", "Metadata", "Request", "RequestResponse"/],
    [{ rules: [{ level: "None", user: ["x"] }] }, /rules\[0\]\.user: unknown field/],
    [{ rules: [{ level: "None", nonResourceURLs: ["x"] }] }, /must begin with a '\/' character/],
    [{ rules: [{ level: "None", nonResourceURLs: ["/a*b"] }] }, /wildcards '\*' must be the final character of the rule/],
    [{ rules: [{ level: "None", nonResourceURLs: ["/a"], namespaces: ["a"] }] }, /rules cannot apply to both regular resources and non-resource URLs/],
    [{ rules: [{ level: "None", resources: [{ group: "apps/v1" }] }] }, /rules\[0\]\.resources\.group: Invalid value: "apps\/v1"/],
    [{ rules: [{ level: "None", resources: [{ resourceNames: ["a"] }] }] }, /using resourceNames requires at least one resource/],
    [{ rules: [{ level: "None" }], omitStages: ["End"] }, /omitStages\[0\]: Invalid value: "End": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic/],
    [{ kind: "Rules", rules: [{ level: "None" }] }, /kind Policy, not audit\.k8s\.io\/v1 and Rules/],
  ];
  for (const [rest, error] of table) assert.throws(() => policyOf(t, rest), { code: "ACCESS_CONFIG_INVALID", message: error });
});

test("lines stay in order over many files, and the oldest files go", async (t) => {
  const folder = folderOf(t);
  const clock = new FakeClock(Date.UTC(2026, 0, 1));
  const open = (backupsMax: number, ageDaysMax = 0) => new AuditLog({ file: join(folder, "audit.log"), clock, log: silentLog, rotation: { sizeMbMax: 60_000 / 1024 / 1024, backupsMax, ageDaysMax } });
  const first = open(100);
  for (let number = 0; number < 20_000; number++) first.write(`line ${number}`);
  await first.close();
  const files = readdirSync(folder).sort();
  assert.ok(files.length > 2, files.join());
  assert.match(files[0]!, /^audit-2026-01-01T00-00-00\.\d{3}\.log$/);
  const lines = files.flatMap((file) => readFileSync(join(folder, file), "utf8").trimEnd().split("\n"));
  assert.deepEqual(lines, Array.from({ length: 20_000 }, (_, number) => `line ${number}`));
  writeFileSync(join(folder, "audit-notes.log"), "mine");
  const second = open(2);
  for (let number = 0; number < 20_000; number++) second.write(`line ${number}`);
  await second.close();
  const left = readdirSync(folder).sort();
  assert.equal(left.length, 4);
  assert.ok(left.includes("audit-notes.log"), "another's file");
  assert.match(readFileSync(join(folder, "audit.log"), "utf8"), /line 19999\n$/);
  const all = open(0);
  for (let number = 0; number < 20_000; number++) all.write(`line ${number}`);
  await all.close();
  const kept = readdirSync(folder).length;
  assert.ok(kept > 4, "none goes by its number");
  clock.advance(2 * 86_400_000);
  const third = open(0, 2);
  third.write("at two days");
  await third.close();
  assert.equal(readdirSync(folder).length, kept);
  clock.advance(1_000);
  const fourth = open(0, 2);
  fourth.write("later");
  await fourth.close();
  assert.deepEqual(readdirSync(folder).sort(), ["audit-notes.log", "audit.log"]);
});

test("while the file cannot be written nothing more is taken, and nothing is lost", async (t) => {
  const file = join(folderOf(t), "audit.log");
  mkdirSync(file);
  const clock = new FakeClock(0);
  let told: () => void = () => {};
  const failed = new Promise<void>((resolve) => (told = resolve));
  const log = new AuditLog({ file, clock, log: { ...silentLog, error: () => told() }, waitingBytesMax: 100 });
  assert.equal(log.takes, true);
  log.write("one");
  await failed;
  assert.equal(log.takes, false);
  rmSync(file, { recursive: true });
  clock.advance(1_000);
  log.write("two");
  await log.close();
  assert.equal(readFileSync(file, "utf8"), "one\ntwo\n");
  assert.equal(log.takes, true);
});
