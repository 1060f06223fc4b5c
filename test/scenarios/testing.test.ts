import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { type ApiError, type Stack, startWherry } from "../../src/testing/index.ts";
import { entry } from "../../src/wherry.ts";
import { find, needs } from "../needs.ts";
import { familyOf, survivors } from "./command-line.ts";

const root = join(import.meta.dirname, "..", "..");

function folderFor(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "wherry-testing-")));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const web = (name: string) => [
  { apiVersion: "apps/v1", kind: "Deployment", metadata: { name }, spec: { selector: { matchLabels: { app: name } }, template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: "web", image: "python:3", command: ["python3", "-u", "-m", "http.server", "8080"], readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] } } } },
  { apiVersion: "v1", kind: "Service", metadata: { name }, spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] } },
];

test("a stack of a test's own: applied, ready, reached, read, and gone", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "python3")) return;
  const folder = folderFor(t);
  mkdirSync(join(folder, "k8s"));
  writeFileSync(join(folder, "k8s", "settings.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {colour: blue}\n");
  const own = join(folder, "kubeconfig");
  process.env["KUBECONFIG"] = own;
  t.after(() => delete process.env["KUBECONFIG"]);
  const stack = await startWherry({ manifests: [join(folder, "k8s"), ...web("web")] });
  const family = familyOf(stack.dataDir);
  assert.ok(family.length >= 2, `${family.length} processes`);

  await t.test("manifests are applied when it resolves: folders and objects", async () => {
    const settings = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "settings" } };
    assert.equal((await stack.client.get(settings))["data"].colour, "blue");
    assert.equal((await stack.client.patch({ ...settings, data: { colour: "red" } }))["data"].colour, "red");
    await stack.client.delete(settings);
    await stack.apply(join(folder, "k8s"));
    assert.equal((await stack.client.get(settings))["data"].colour, "blue", "a file that was applied before is applied again");
    await stack.client.delete(settings);
    await assert.rejects(stack.client.get(settings), (error: ApiError) => error.code === 404 && error.reason === "NotFound" && error.message === 'configmaps "settings" not found');
    assert.deepEqual((await stack.client.list({ apiVersion: "apps/v1", kind: "Deployment" })).map(({ kind, metadata }) => [kind, metadata?.name]), [["Deployment", "web"]]);
  });
  await t.test("ready, and reached at its address", async () => {
    await stack.waitReady();
    const response = await fetch(await stack.url("web", 80));
    assert.equal(response.status, 200);
    assert.match(await stack.logs("deployment/web"), /"GET \/ HTTP\/1.1" 200/);
  });
  await t.test("what will never be ready is said at once, with the reason", async () => {
    await stack.apply({ apiVersion: "v1", kind: "Pod", metadata: { name: "none" }, spec: { containers: [{ name: "x", image: "nobody/knows" }] } });
    await assert.rejects(stack.waitReady("pod/none"), /it will not become ready:\n  pod\/none in default: not Ready\n    pod none, container x: (ErrImagePull|ImagePullBackOff): .*nobody\/knows/);
    await assert.rejects(stack.waitReady("deployment/none", { timeoutMs: 50 }), /not ready within 0.05 s:\n  deployment\/none in default: there is none/);
    await assert.rejects(stack.waitReady("service/web"), TypeError);
    await assert.rejects(stack.url("none", 80, { timeoutMs: 50 }), /Service default\/none:80 has no address on this machine after 0.05 s; there are .*default\/web:80/);
  });
  await t.test("last words of a program that fails", async () => {
    await stack.apply({ apiVersion: "v1", kind: "Pod", metadata: { name: "fails" }, spec: { restartPolicy: "Never", containers: [{ name: "x", image: "busybox", command: ["sh", "-c", "echo the reason; exit 3"], readinessProbe: { httpGet: { path: "/", port: 1 } } }] } });
    await assert.rejects(stack.waitReady("pod/fails"), /it has failed(.|\n)*\| the reason/);
  });
  await t.test("mistakes in the API's words", async () => {
    await assert.rejects(stack.apply({ apiVersion: "v1", kind: "Pot", metadata: { name: "p" } }), /no matches for kind "Pot" in version "v1"/);
    await assert.rejects(stack.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "Not_A_Name" } }), /a lowercase RFC 1123 subdomain/);
    writeFileSync(join(folder, "bad.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: 5\n");
    await assert.rejects(stack.apply(join(folder, "bad.yaml")), /bad.yaml: .*ConfigMap.data of type/);
    await assert.rejects(stack.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, datas: {} }), /unknown field "datas"|\.datas: field not declared in schema/);
    await assert.rejects(stack.apply(join(folder, "none.yaml")), /none.yaml: no such file or folder/);
  });

  await stack.stop();
  assert.deepEqual(await survivors(family, 0), []);
  assert.equal(existsSync(dirname(stack.dataDir)), false);
  assert.equal(existsSync(own), false, "nobody's kubeconfig is touched");
});

test("stacks side by side do not meet; a test begins with what a backup holds, and each has its own", { timeout: 120_000 }, async (t) => {
  const folder = folderFor(t);
  const map = (name: string) => ({ apiVersion: "v1", kind: "ConfigMap", metadata: { name } });
  const [first, second] = await Promise.all([startWherry({ manifests: map("of-the-first") }), startWherry()]);
  t.after(() => Promise.all([first.stop(), second.stop()]));
  await assert.rejects(second.client.get(map("of-the-first")), { code: 404 });
  const made = spawnSync(process.execPath, [entry, "backup", "--data-dir", first.dataDir, "-o", join(folder, "first.wherry")], { encoding: "utf8", timeout: 60_000 });
  assert.equal(made.status, 0, made.stderr);
  const [one, other] = await Promise.all([startWherry({ from: join(folder, "first.wherry") }), startWherry({ from: join(folder, "first.wherry") })]);
  t.after(() => Promise.all([one.stop(), other.stop()]));
  const uid = async (stack: Stack) => (await stack.client.get(map("of-the-first"))).metadata?.uid;
  assert.deepEqual([await uid(one), await uid(other)], [await uid(first), await uid(first)]);
  await one.client.delete(map("of-the-first"));
  assert.ok(await uid(other));
  other.keep();
  await other.stop();
  t.after(() => rmSync(dirname(other.dataDir), { recursive: true, force: true }));
  assert.ok(existsSync(join(other.dataDir, "store.db")), "what is to be kept is kept");
});

test("a test that is killed leaves nothing", { timeout: 60_000 }, async (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "test.mts"), `
    import { startWherry } from ${JSON.stringify(join(root, "src", "testing", "index.ts"))};
    const stack = await startWherry();
    await stack.apply({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { containers: [{ name: "x", image: "busybox", command: ["sleep", "1000"] }] } });
    await stack.waitReady();
    console.log(stack.dataDir);
    await new Promise(() => setInterval(() => {}, 1000));`);
  const child = spawn(process.execPath, [join(folder, "test.mts")], { stdio: ["ignore", "pipe", "inherit"] });
  const dataDir = await new Promise<string>((resolve, reject) => {
    child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
    child.once("exit", () => reject(new Error("it ended early")));
  });
  const family = familyOf(dataDir);
  assert.ok(family.length > 4, `${family.length} processes`);
  child.kill("SIGKILL");
  assert.deepEqual(await survivors(family, 15_000), []);
  const deadline = performance.now() + 5_000;
  while (existsSync(dirname(dataDir)) && performance.now() < deadline) await new Promise((resolve) => setImmediate(resolve));
  assert.equal(existsSync(dirname(dataDir)), false, "nor its data");
});

test("a stack that cannot start says why, and leaves nothing", { timeout: 60_000 }, async (t) => {
  const folder = folderFor(t);
  const mine = () => readdirSync(tmpdir()).filter((name) => name.startsWith("wherry-stack-") && readdirSync(join(tmpdir(), name)).length > 0);
  const before = new Set(mine());
  writeFileSync(join(folder, "none.wherry"), "no backup");
  await assert.rejects(startWherry({ from: join(folder, "none.wherry") }), { code: "BACKUP_DAMAGED" });
  await assert.rejects(startWherry({ link: join(folder, "nowhere") }), { code: "USAGE" });
  writeFileSync(join(folder, "bad.yaml"), "apiVersion: v1\nkind: Pot\nmetadata: {name: p}\n");
  await assert.rejects(startWherry({ manifests: join(folder, "bad.yaml") }), /bad.yaml.*Pot/);
  assert.deepEqual(mine().filter((name) => !before.has(name)), []);
});

test("the data of a test that failed is kept", { timeout: 60_000 }, async (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "fails.test.mts"), `
    import { test } from "node:test";
    import { startWherry } from ${JSON.stringify(join(root, "src", "testing", "index.ts"))};
    for (const fails of [true, false]) test("fails: " + fails, async (t) => {
      await using stack = await startWherry({ test: t });
      console.log("data: " + stack.dataDir);
      if (fails) throw new Error("as it should");
    });`);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const { stdout } = spawnSync(process.execPath, ["--test", join(folder, "fails.test.mts")], { env, encoding: "utf8", timeout: 50_000 });
  const [failed, passed] = [...stdout.matchAll(/data: (.*)/g)].map(([, path]) => dirname(path!));
  assert.ok(failed && passed, stdout);
  t.after(() => rmSync(failed, { recursive: true, force: true }));
  assert.match(stdout, new RegExp(`the stack's data and log are kept in ${failed}`));
  assert.deepEqual([existsSync(join(failed, "data", "store.db")), existsSync(passed)], [true, false]);
});

test("installed as a package: types, plain JavaScript, an older Node, and the command", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "npm")) return;
  const folder = folderFor(t);
  const packed = spawnSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: root, encoding: "utf8" });
  assert.equal(packed.status, 0, `npm pack: ${packed.stdout}${packed.stderr}`);
  assert.equal(existsSync(join(root, "lib")), false, "what was built for the package is gone");
  const { dependencies, optionalDependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<string, Record<string, string>>;
  const user = join(folder, "user");
  mkdirSync(user);
  // No registry: what it depends on is what this checkout has.
  const here = (names: Iterable<string>) => Object.fromEntries([...names].filter((name) => existsSync(join(root, "node_modules", name))).map((name) => [name, `file:${join(root, "node_modules", name)}`]));
  writeFileSync(join(user, "package.json"), JSON.stringify({ private: true, type: "module", dependencies: { wherry: `file:${join(folder, packed.stdout.trim())}` }, overrides: here([...Object.keys(dependencies!), ...Object.keys(optionalDependencies!)]) }));
  const installed = spawnSync("npm", ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"], { cwd: user, encoding: "utf8" });
  assert.equal(installed.status, 0, `npm install: ${installed.stdout}${installed.stderr}`);

  await t.test("tsc takes the types, in the strictest way and without those of Node", () => {
    writeFileSync(join(user, "test.ts"), `
      import { ApiError, startWherry, type Stack } from "wherry/testing";
      export async function run(): Promise<number> {
        await using stack: Stack = await startWherry({ manifests: [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } }, "k8s"], link: "." });
        await stack.waitReady(["deployment/web"], { timeoutMs: 5 });
        const url: string = await stack.url("web", 80);
        const failure = new ApiError(404, url);
        // @ts-expect-error there is no such option
        await startWherry({ manifest: "x" });
        return failure.code;
      }`);
    assert.ok(devDependencies!["typescript"]);
    const checked = spawnSync(join(root, "node_modules", ".bin", "tsc"), ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "", "test.ts"], { cwd: user, encoding: "utf8" });
    assert.equal(checked.status, 0, checked.stdout);
  });

  writeFileSync(join(user, "test.mjs"), `
    import { startWherry } from "wherry/testing";
    const stack = await startWherry({ manifests: { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { containers: [{ name: "x", image: "busybox", command: ["sh", "-c", "echo said; sleep 1000"] }] } } });
    await stack.waitReady("pod/p");
    let words = "";
    while (words === "") words = (await stack.logs("p")).trim(); // without a probe it is Ready before it has spoken
    console.log(process.versions.node.split(".")[0], stack.dataDir, words);
    await stack.stop();`);
  const nodes = [...new Set(["/usr/bin/node", "/usr/local/bin/node", find("node")].filter((file) => file !== undefined && existsSync(file)).map((file) => realpathSync(file!)))];
  for (const node of nodes) {
    const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout.trim();
    await t.test(`plain JavaScript under Node ${version}`, () => {
      const ran = spawnSync(node, ["test.mjs"], { cwd: user, encoding: "utf8", timeout: 60_000 });
      const [major, dataDir, words] = ran.stdout.trim().split(" ");
      assert.deepEqual([ran.status, `v${major}`, words], [0, version.split(".")[0], "said"], ran.stderr);
      assert.equal(existsSync(dataDir!), false);
    });
    await t.test(`the command under Node ${version}`, () => {
      const ran = spawnSync(node, [join(user, "node_modules", ".bin", "wherry"), "version"], { cwd: user, encoding: "utf8", timeout: 60_000 });
      assert.deepEqual([ran.status, ran.stderr], [0, ""]);
      assert.match(ran.stdout, /^wherry \d/);
    });
  }
});
