import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FakeClock } from "../../base/clock.ts";
import { type Log, silentLog } from "../../base/log.ts";
import { openSqliteStore } from "../../store/sqlite-store.ts";
import type { Store } from "../../store/store.ts";
import type { TransformingJournal } from "../../store/transform.ts";
import { Encryption, followEncryptionFile } from "./encryption.ts";
import { providersOf } from "./providers.ts";

const secretOf = (letter: string, size = 32): string => Buffer.alloc(size, letter).toString("base64");
const aesgcm = (...names: string[]) => ({ aesgcm: { keys: names.map((name) => ({ name, secret: secretOf(name[0]!) })) } });
const secretbox = (name: string) => ({ secretbox: { keys: [{ name, secret: secretOf(name) }] } });
const identity = { identity: {} };

function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "wherry-encryption-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
function write(folder: string, resources: unknown): string {
  const file = join(folder, "encryption.yaml");
  writeFileSync(file, JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources }));
  return file;
}
const encryptionOf = (folder: string, ...entries: [resources: string[], providers: unknown[]][]): Encryption => new Encryption(write(folder, entries.map(([resources, providers]) => ({ resources, providers }))));

test("what kube-apiserver has stored is read, and what is altered is not", () => {
  const place = "/core/secrets/default/s";
  const text = '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"default"},"data":{"password":"aHVudGVyMg=="}}';
  const lines = readFileSync(join(import.meta.dirname, "testdata", "upstream.txt"), "utf8").split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  assert.equal(lines.length, 7);
  for (const line of lines) {
    const [type, secret, hex] = line.split(" ") as ["aesgcm" | "aescbc" | "secretbox", string, string];
    const [provider] = providersOf({ [type]: { keys: [{ name: "key1", secret }] } });
    const stored = Buffer.from(hex, "hex");
    assert.equal(provider!.decrypt(place, stored).toString(), text, line);
    const ours = provider!.encrypt(place, Buffer.from(text));
    assert.ok(ours.toString("latin1").startsWith(`k8s:enc:${type}:v1:key1:`));
    assert.equal(ours.length, provider!.prefix.length + stored.length);
    assert.equal(provider!.decrypt(place, ours.subarray(provider!.prefix.length)).toString(), text);
    assert.throws(() => provider!.decrypt(place, stored.subarray(0, 20)), /^Error: the stored data was shorter than the required size$/);
    if (type === "aescbc") continue; // which proves nothing
    const altered = Buffer.from(stored);
    altered[altered.length - 1]! ^= 1;
    assert.throws(() => provider!.decrypt(place, altered), /message authentication failed/);
    if (type === "aesgcm") assert.throws(() => provider!.decrypt("/core/secrets/default/other", stored), /message authentication failed/);
  }
});

test("the first entry that names a resource counts", (t) => {
  const encryption = encryptionOf(folderOf(t), [["secrets", "configmaps"], [aesgcm("a"), identity]], [["secrets"], [aesgcm("z")]], [["*.apps"], [aesgcm("b")]], [["*."], [identity, aesgcm("c")]], [["things.example.com"], [aesgcm("d")]], [["*.*"], [aesgcm("e")]]);
  const table: [key: string, writer: string][] = [
    ["/core/secrets/default/s", "a"],
    ["/core/configmaps/default/c", "a"],
    ["/apps/deployments/default/d", "b"],
    ["/core/nodes/n", ""],
    ["/example.com/things/default/t", "d"],
    ["/example.com/others/default/t", "e"],
    ["/rbac.authorization.k8s.io/clusterroles/admin", "e"],
  ];
  for (const [key, name] of table) {
    const { bytes, by } = encryption.toDisk(key, Buffer.from("{}"));
    assert.equal(bytes.toString("latin1").split(":")[4] ?? "", name, key);
    assert.deepEqual(encryption.fromDisk(key, bytes), { bytes: Buffer.from("{}"), by });
    assert.ok(encryption.canRead(by, key));
  }
  // Entries that name the very same resource add up, as upstream's do.
  assert.ok(encryption.canRead(providersOf(aesgcm("z"))[0]!.id, "/core/secrets/default/s"));
  assert.ok(!encryption.canRead("", "/apps/deployments/default/d"));
});

test("a configuration that cannot be followed is refused, field by field, and shows no key", (t) => {
  const folder = folderOf(t);
  const key = (more: object) => [{ resources: ["secrets"], providers: [{ aesgcm: { keys: [{ name: "a", secret: secretOf("a"), ...more }] } }] }];
  const resource = (...resources: string[]) => [{ resources, providers: [identity] }];
  const table: [resources: unknown, error: RegExp][] = [
    [[], /resources: Required value: at least one resources is required/],
    [[{ providers: [identity] }], /resources\[0\]\.resources: Required value: at least one resources\[0\]\.resources is required/],
    [[{ resources: ["secrets"] }], /resources\[0\]\.providers: Required value/],
    [[{ resources: ["secrets"], provider: [identity] }], /resources\[0\]\.provider: unknown field/],
    [[{ resources: ["secrets"], providers: [{}] }], /providers\[0\]: Invalid value: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity/],
    [[{ resources: ["secrets"], providers: [{ ...identity, ...aesgcm("a") }] }], /more than one provider specified in a single element, should split into different list elements/],
    [[{ resources: ["secrets"], providers: [{ kms: { apiVersion: "v2", name: "vault", endpoint: "unix:///tmp/socket.sock" } }] }], /providers\[0\]\.kms: Forbidden: Wherry asks no key management service; use aesgcm or secretbox/],
    [[{ resources: ["secrets"], providers: [{ aesgcm: { keys: [] } }] }], /aesgcm\.keys: Required value: at least one keys is required/],
    [key({ name: "" }), /keys\[0\]\.name: Required value: name is a mandatory field for a key/],
    [key({ secret: "" }), /keys\[0\]\.secret: Required value: secret is a mandatory field for a key/],
    [key({ secret: "hunter2!" }), /keys\[0\]\.secret: Invalid value: "REDACTED": secrets must be base64 encoded/],
    [key({ secret: secretOf("a", 15) }), /keys\[0\]\.secret: Invalid value: "REDACTED": secret is not of the expected length, got 15, expected one of \[16 24 32\]/],
    [[{ resources: ["secrets"], providers: [{ secretbox: { keys: [{ name: "a", secret: secretOf("a", 16) }] } }] }], /got 16, expected one of \[32\]/],
    [resource("secrets", "secrets"), /the same resource cannot be specified multiple times/],
    [resource("secrets", "*."), /using overlapping resources such as 'secrets' and '\*\.'/],
    [resource("pods", "*.*"), /using overlapping resources/],
    [resource("Secrets"), /resource name should not contain capital letters/],
    [resource("*"), /use '\*\.' to encrypt all the resources from core API group or \*\.\* to encrypt all resources/],
    [resource("events.events.k8s.io"), /Use 'events' instead in the config file/],
    [resource("serviceipallocations"), /resources which do not have REST API\/s cannot be encrypted/],
    [resource("deployments.*"), /encrypting the same resource across groups is not supported/],
    [[...resource("*."), ...resource("secrets")], /resource "secrets" is masked by earlier rule "\*\."/],
  ];
  for (const [resources, message] of table) {
    assert.throws(
      () => new Encryption(write(folder, resources)),
      (error: Error) => {
        assert.equal((error as { code?: string }).code, "ACCESS_CONFIG_INVALID");
        assert.match(error.message, message, JSON.stringify(resources));
        assert.doesNotMatch(error.message, /hunter2|YWFh/);
        return true;
      },
    );
  }
});

const object = (revision: number, data: string) => ({ bytes: Buffer.from(JSON.stringify({ metadata: { resourceVersion: String(revision) }, data })), object: { metadata: { resourceVersion: String(revision) }, data } });
const put = (store: Store, name: string, value: string, resource = "secrets") => store.put(`/core/${resource}/default/${name}`, store.get(`/core/${resource}/default/${name}`)?.revision ?? 0, (revision) => object(revision, value));
const again = async (store: Store) => {
  for (const { key, object: old } of store.range("/core/secrets/")) if (store.isStale(key)) await put(store, key.split("/").at(-1)!, old["data"] as string);
};
/** Everything in the folder of the store, as one text. */
const bytesIn = (folder: string): string => readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1")).join("\n");

/** A log that tells when the file was scrubbed. */
function scrubbing(): { log: Log; scrubbed: Promise<void> } {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const log: Log = { ...silentLog, info: (message) => void (message.includes("holds nothing any more") && resolve()), warn: (_, fields) => reject(fields!["error"] as Error), child: () => log };
  return { log, scrubbed: promise };
}

for (const provider of ["aesgcm", "aescbc", "secretbox"] as const) {
  test(`nothing of a Secret is in any file, at any time (${provider})`, async (t) => {
    const dataDir = join(folderOf(t), "data");
    mkdirSync(dataDir);
    const transform = encryptionOf(folderOf(t), [["secrets"], [{ [provider]: { keys: [{ name: "key1", secret: secretOf("k") }] } }]]);
    const store = await openSqliteStore({ dataDir, log: silentLog, transform });
    for (let n = 0; n < 50; n++) await put(store, `s${n}`, `hunter2-${n}-${"x".repeat(n * 100)}`);
    await put(store, "c", "in the open", "configmaps");
    assert.equal(store.get("/core/secrets/default/s1")!.object["data"], `hunter2-1-${"x".repeat(100)}`);
    assert.doesNotMatch(bytesIn(dataDir), /hunter2/, "while it runs: the log too");
    assert.match(bytesIn(dataDir), new RegExp(`k8s:enc:${provider}:v1:key1:`));
    await store.copyTo(join(dataDir, "copy"));
    await store.close();
    const all = bytesIn(dataDir);
    assert.doesNotMatch(all, /hunter2/);
    assert.match(all, /in the open/);
    const later = await openSqliteStore({ dataDir, log: silentLog, transform });
    assert.equal(later.range("/core/secrets/").length, 50);
    assert.equal(later.get("/core/secrets/default/s7")!.object["data"], `hunter2-7-${"x".repeat(700)}`);
    await later.close();
  });
}

test("encryption begins, the key is exchanged, encryption ends; what was is not left behind", async (t) => {
  const folder = folderOf(t);
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const start = (providers: unknown[] | undefined, log = silentLog) => openSqliteStore({ dataDir, log, ...(providers && { transform: encryptionOf(folder, [["secrets"], providers]) }) });
  let store = await start(undefined);
  for (let n = 0; n < 200; n++) await put(store, `s${n}`, `hunter2-${n}-${"x".repeat((n * 37) % 3000)}`);
  for (let n = 0; n < 200; n += 3) await put(store, `s${n}`, `hunter2-${n}`);
  await store.delete("/core/secrets/default/s5", store.get("/core/secrets/default/s5")!.revision, (revision) => object(revision, ""));
  await store.close();

  const steps: [providers: unknown[], stays: RegExp, goes: RegExp][] = [
    [[aesgcm("a"), identity], /k8s:enc:aesgcm:v1:a:/, /hunter2/],
    [[aesgcm("b", "a")], /k8s:enc:aesgcm:v1:b:/, /k8s:enc:aesgcm:v1:a:|hunter2/],
    [[secretbox("c"), aesgcm("b")], /k8s:enc:secretbox:v1:c:/, /k8s:enc:aesgcm|hunter2/],
    [[identity, secretbox("c")], /hunter2/, /k8s:enc:/],
  ];
  for (const [providers, stays, goes] of steps) {
    const { log, scrubbed } = scrubbing();
    store = await start(providers, log);
    assert.match(bytesIn(dataDir), goes, "not before they are written again");
    assert.equal(store.isStale("/core/secrets/default/s1"), true);
    await again(store);
    assert.equal(store.isStale("/core/secrets/default/s1"), false);
    await scrubbed;
    assert.doesNotMatch(bytesIn(dataDir), goes);
    assert.equal(store.get("/core/secrets/default/s3")!.object["data"], "hunter2-3");
    await store.close();
    assert.doesNotMatch(bytesIn(dataDir), goes);
    assert.match(bytesIn(dataDir), stays);
  }
  store = await start(undefined);
  assert.equal(store.range("/core/secrets/").length, 199);
  await store.close();
});

test("what cannot be read is said, and nothing starts; a copy needs no key", async (t) => {
  const folder = folderOf(t);
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const start = (providers?: unknown[]) => openSqliteStore({ dataDir, log: silentLog, ...(providers && { transform: encryptionOf(folder, [["secrets"], providers]) }) });
  const store = await start([aesgcm("a")]);
  for (let n = 0; n < 5; n++) await put(store, `s${n}`, "hunter2");
  await put(store, "c", "in the open", "configmaps");
  await store.close();
  const before = readFileSync(join(dataDir, "store.db"));
  const refused: [providers: unknown[] | undefined, error: RegExp][] = [
    [undefined, /^5 objects in .*store\.db cannot be read:\n {2}unable to transform key "\/core\/secrets\/default\/s0": it is encrypted, and no EncryptionConfiguration is given\n.*s1.*\n.*s2.*\n {2}…$/],
    [[aesgcm("b"), identity], /unable to transform key "\/core\/secrets\/default\/s0": no matching prefix found: it is stored with k8s:enc:aesgcm:v1:a:/],
    [[{ aesgcm: { keys: [{ name: "a", secret: secretOf("b") }] } }], /cipher: message authentication failed \(stored with k8s:enc:aesgcm:v1:a:\)/],
    [[{ aescbc: { keys: [{ name: "a", secret: secretOf("a") }] } }], /no matching prefix found/],
  ];
  for (const [providers, message] of refused) await assert.rejects(start(providers), { code: "DATA_ENCRYPTED", message }, JSON.stringify(providers));
  // Not stored encrypted, and nobody reads it as it is.
  await assert.rejects(openSqliteStore({ dataDir, log: silentLog, transform: encryptionOf(folder, [["secrets", "configmaps"], [aesgcm("a")]]) }), { code: "DATA_ENCRYPTED", message: /^an object in .*c": no matching prefix found: it is stored as it is, which only the provider "identity" reads$/s });
  assert.deepEqual(readFileSync(join(dataDir, "store.db")), before);

  const opaque = await openSqliteStore({ dataDir, log: silentLog, transform: "opaque" });
  await opaque.copyTo(join(folder, "copy.db"));
  assert.equal(opaque.get("/core/configmaps/default/c")!.object["data"], "in the open");
  assert.throws(() => opaque.get("/core/secrets/default/s0")!.object, { code: "DATA_ENCRYPTED" });
  await opaque.close();
  assert.match(readFileSync(join(folder, "copy.db"), "latin1"), /k8s:enc:aesgcm:v1:a:/);
});

test("a changed file is followed, unless it could not read what is stored", async (t) => {
  const folder = folderOf(t);
  const dataDir = join(folder, "data");
  mkdirSync(dataDir);
  const resources = (...providers: unknown[]) => [{ resources: ["secrets"], providers }];
  const file = write(folder, resources(aesgcm("a")));
  let journal: TransformingJournal | undefined;
  const store = await openSqliteStore({ dataDir, log: silentLog, transform: new Encryption(file), onTransforming: (made) => (journal = made) });
  const clock = new FakeClock(0);
  const said: string[] = [];
  const log: Log = { ...silentLog, error: (message, fields) => void said.push(`${message}: ${(fields!["error"] as Error).message}`), warn: (_, fields) => void said.push(`${fields!["objects"]} with ${fields!["storedWith"]}`) };
  const following = followEncryptionFile({ file, journal: journal!, clock, log });
  await put(store, "s", "hunter2");

  write(folder, resources(aesgcm("b")));
  clock.advance(60_000);
  assert.match(said.pop()!, /the one before stays: "\/core\/secrets\/default\/s" and perhaps more is stored with aesgcm a,/);
  write(folder, "nonsense");
  clock.advance(60_000);
  assert.match(said.pop()!, /the one before stays: .*resources: must be a list/s);
  rmSync(file);
  clock.advance(60_000);
  assert.match(said.pop()!, /cannot be read/);
  assert.equal(store.isStale("/core/secrets/default/s"), false);

  write(folder, resources(aesgcm("b", "a")));
  // Given to the disk before, durable after.
  const late = put(store, "late", "hunter2");
  clock.advance(60_000);
  await late;
  assert.deepEqual(said.splice(0), ["1 with aesgcm a"]);
  assert.equal(store.isStale("/core/secrets/default/s"), true);
  await again(store);
  write(folder, resources(aesgcm("b")));
  clock.advance(60_000);
  assert.deepEqual(said, []);
  following.close();
  await store.close();
  await (await openSqliteStore({ dataDir, log: silentLog, transform: new Encryption(file) })).close();
});
