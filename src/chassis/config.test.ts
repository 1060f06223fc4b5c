import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { inspect } from "node:util";
import { Worker } from "node:worker_threads";
import { address, choice, Config, ConfigError, type ConfigOptions, decimal, duration, flag, integer, list, loadConfig, optional, secret, type Shape, text } from "./config.ts";
import { createService } from "./service.ts";

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-config-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** As kubelet writes a ConfigMap: keys are links into `..data`, which a rename puts in place. */
class MountedConfigMap {
  readonly folder: string;
  #version = 0;
  constructor(folder: string) {
    this.folder = folder;
  }
  write(data: Record<string, string>): void {
    const version = `..2026_01_01_00_00_${this.#version++}`;
    mkdirSync(join(this.folder, version));
    for (const [key, value] of Object.entries(data)) writeFileSync(join(this.folder, version, key), value);
    symlinkSync(version, join(this.folder, "..data_tmp"));
    renameSync(join(this.folder, "..data_tmp"), join(this.folder, "..data"));
    for (const key of Object.keys(data)) {
      try {
        symlinkSync(join("..data", key), join(this.folder, key));
      } catch {
        // there already
      }
    }
    if (this.#version > 1) rmSync(join(this.folder, `..2026_01_01_00_00_${this.#version - 2}`), { recursive: true });
  }
}

const changed = <T>(config: Config<T>): Promise<T> => new Promise((resolve) => config.onChange(resolve));

// A schema, what is given, and the value or what is wrong with it.
const cases: [what: string, Shape, ConfigOptions["env"], unknown][] = [
  ["nested fields by their variables", { database: { host: text(), maxSize: integer({ default: 4 }) } }, { DATABASE_HOST: "db" }, { database: { host: "db", maxSize: 4 } }],
  ["a variable of another name", { port: integer({ env: "HTTP_PORT" }) }, { HTTP_PORT: "80" }, { port: 80 }],
  ["every type from text", { a: decimal(), b: flag(), c: choice(["x", "y"]), d: duration(), e: address(), f: list(integer()) }, { A: "0.5", B: "true", C: "y", D: "1.5m", E: "http://user-service/", F: "1, 2" }, { a: 0.5, b: true, c: "y", d: 90_000, e: "http://user-service", f: [1, 2] }],
  ["an empty variable is none", { a: optional(text()), b: text({ default: "z" }) }, { A: "", B: "" }, { a: undefined, b: "z" }],
  ["all that is missing, at once", { a: text(), b: { c: integer() } }, {}, ["a: Required value: give variable A", "b.c: Required value: give variable B_C"]],
  ["what is wrong, and where it is from", { port: integer({ min: 1, max: 65_535 }), level: choice(["info", "debug"]), wait: duration() }, { PORT: "70000", LEVEL: "loud", WAIT: "3" }, ['port: Invalid value: "70000": must be between 1 and 65535 (variable PORT)', 'level: Invalid value: "loud": must be one of "info", "debug" (variable LEVEL)', 'wait: Invalid value: "3": must be a duration such as "250ms", "3s" or "5m" (variable WAIT)']],
  ["numbers that are none", { a: integer(), b: integer(), c: integer() }, { A: "1.5", B: "x", C: " " }, ['a: Invalid value: "1.5": must be an integer (variable A)', 'b: Invalid value: "x": must be an integer (variable B)', 'c: Invalid value: " ": must be an integer (variable C)']],
  ["an item of a list", { ports: list(integer()) }, { PORTS: "1,x" }, ['ports: Invalid value: "1,x": [1] must be an integer (variable PORTS)']],
  ["addresses", { a: address() }, { A: "user-service:80" }, ['a: Invalid value: "user-service:80": must be an address that begins with http:// or https:// (variable A)']],
];
for (const [what, schema, env, expected] of cases) {
  test(`configuration: ${what}`, () => {
    if (!Array.isArray(expected)) return assert.deepEqual(JSON.parse(JSON.stringify(loadConfig(schema, { env: env!, watch: false }).value)), JSON.parse(JSON.stringify(expected)));
    assert.throws(() => loadConfig(schema, { env: env!, watch: false }), (error: unknown) => (assert.ok(error instanceof ConfigError), assert.deepEqual(error.problems, expected), true));
  });
}

test("types follow from the schema, and values do not change in themselves", () => {
  const { value } = loadConfig({ port: integer({ default: 1 }), deep: { names: list(text(), { default: ["a"] }), maybe: optional(text()) } }, { env: {}, watch: false });
  const port: number = value.port;
  const names: readonly string[] = value.deep.names;
  const maybe: string | undefined = value.deep.maybe;
  assert.deepEqual([port, names, maybe], [1, ["a"], undefined]);
  assert.throws(() => ((value.deep as { maybe: unknown }).maybe = "x"), TypeError);
});

test("secrets come from variables, files and mounted folders, and are shown nowhere", (t) => {
  const folder = folderOf(t);
  const file = join(folder, "password");
  writeFileSync(file, "hunter2\n");
  const { value } = loadConfig({ password: secret(), token: secret() }, { env: { PASSWORD_FILE: file, TOKEN: "t0ken" }, watch: false });
  assert.deepEqual([value.password.reveal(), value.token.reveal()], ["hunter2", "t0ken"]);
  for (const shown of [JSON.stringify(value), inspect(value), `${value.password}`, inspect(value, { showHidden: true, depth: 9 })]) assert.doesNotMatch(shown, /hunter2|t0ken/);
  assert.throws(() => loadConfig({ pins: list(secret()) }, { env: { PINS: "s3cret,,x" }, watch: false }), (error: Error) => (assert.doesNotMatch(error.message, /s3cret/), true));
  assert.throws(() => loadConfig({ password: secret() }, { env: { PASSWORD_FILE: join(folder, "none") }, watch: false }), /password: ENOENT.*variable PASSWORD_FILE/);
});

test("variables go before files, files before folders; what no field asks for is refused", (t) => {
  const folder = folderOf(t);
  const mounted = join(folder, "mounted");
  mkdirSync(mounted);
  writeFileSync(join(mounted, "a.b"), "folder\n");
  writeFileSync(join(mounted, "C"), "folder");
  writeFileSync(join(mounted, "d"), "folder");
  const file = join(folder, "config.json");
  writeFileSync(file, JSON.stringify({ a: { b: "file" }, c: "file" }));
  const schema = { a: { b: text() }, c: text(), d: text() };
  const options = { files: [file], folders: [mounted], watch: false };
  assert.deepEqual({ ...loadConfig(schema, { ...options, env: { C: "variable" } }).value, a: undefined }, { a: undefined, c: "variable", d: "folder" });
  assert.equal(loadConfig(schema, { ...options, env: {} }).value.a.b, "file");
  writeFileSync(file, JSON.stringify({ a: { b: "file", extra: 1 }, c: "file" }));
  assert.throws(() => loadConfig(schema, { ...options, env: {} }), /a\.extra: no such field \(.*config\.json\)/);
  assert.equal(loadConfig(schema, { ...options, env: {}, unknown: "ignore" }).value.c, "file");
  writeFileSync(file, "{");
  assert.throws(() => loadConfig(schema, { ...options, env: {} }), /config\.json: is no JSON/);
});

test("a ConfigMap that changes is followed; a bad change is refused and told, and the last good one stays", async (t) => {
  const mounted = new MountedConfigMap(folderOf(t));
  mounted.write({ greeting: "Hello", "limits.max": "3" });
  const config = loadConfig({ greeting: text(), limits: { max: integer({ min: 1 }) } }, { env: {}, folders: [mounted.folder] });
  const lines: Record<string, unknown>[] = [];
  const told = Promise.withResolvers<void>();
  const service = createService({ name: "greeter", host: "127.0.0.1", port: 0, signals: false, env: {}, log: { write: (text) => (lines.push(...text.trimEnd().split("\n").map((line) => JSON.parse(line) as Record<string, unknown>)), lines.some(({ problems }) => problems) && told.resolve()) } });
  t.after(() => service.stop());
  config.report(service);
  await service.start();

  let next = changed(config);
  mounted.write({ greeting: "Good day", "limits.max": "4" });
  assert.deepEqual({ ...(await next) }, { greeting: "Good day", limits: { max: 4 } });

  mounted.write({ greeting: "Bad day", "limits.max": "0" });
  await told.promise;
  assert.equal(config.value.greeting, "Good day", "nothing of a bad one is taken");
  assert.match(config.error!.message, /^limits\.max: Invalid value: "0": must be at least 1 \(.*limits\.max\)$/);
  const health = (await (await fetch(`${service.url}/health`)).json()) as { status: string; checks: Record<string, { error: string }> };
  assert.equal(health.status, "degraded");
  assert.match(health.checks["configuration"]!.error, /must be at least 1/);
  const metrics = () => fetch(`${service.url}/metrics`).then((response) => response.text());
  assert.match(await metrics(), /config_reloads_total\{service="greeter",result="refused"\} 1\n[^]*config_last_reload_successful\{service="greeter"\} 0\n/);

  next = changed(config);
  mounted.write({ greeting: "Better day", "limits.max": "5" });
  assert.equal((await next).greeting, "Better day");
  assert.equal(config.error, undefined);
  assert.match(await metrics(), /config_reloads_total\{service="greeter",result="accepted"\} 2\n[^]*config_last_reload_successful\{service="greeter"\} 1\n/);
});

test("keys that change together are never read half old and half new, whenever they are read", async (t) => {
  const mounted = new MountedConfigMap(folderOf(t));
  mounted.write({ a: "0", b: "0" });
  const config = loadConfig({ a: integer(), b: integer() }, { env: {}, folders: [mounted.folder], watch: false });
  const torn: unknown[] = [];
  let seen = 0;
  config.onChange((value) => (seen++, value.a !== value.b && torn.push(value)));
  // Another thread writes while this one reads.
  const writer = new Worker(
    `const { mkdirSync, writeFileSync, symlinkSync, renameSync, rmSync } = require("node:fs");
     const { workerData: folder } = require("node:worker_threads");
     for (let i = 1; i <= 60; i++) {
       mkdirSync(folder + "/..v" + i);
       for (const key of ["a", "b"]) writeFileSync(folder + "/..v" + i + "/" + key, String(i));
       symlinkSync("..v" + i, folder + "/..data_tmp");
       renameSync(folder + "/..data_tmp", folder + "/..data");
       rmSync(folder + "/..v" + (i - 1), { recursive: true, force: true });
     }`,
    { eval: true, workerData: mounted.folder },
  );
  const state = { isWriting: true };
  writer.on("exit", () => (state.isWriting = false));
  while (state.isWriting) {
    config.reload();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(config.reload(), true, String(config.error));
  assert.deepEqual([config.value.a, torn], [60, []]);
  assert.ok(seen > 0);
});

test("a secret that is rotated in its file is followed", async (t) => {
  const mounted = new MountedConfigMap(folderOf(t));
  mounted.write({ password: "old" });
  const config = loadConfig({ password: secret() }, { env: { PASSWORD_FILE: join(mounted.folder, "password") } });
  t.after(() => config.close());
  const next = changed(config);
  mounted.write({ password: "new" });
  assert.equal((await next).password.reveal(), "new");
});
