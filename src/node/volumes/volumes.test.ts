import assert from "node:assert/strict";
import { mkdirSync, readFileSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Pod, Volume } from "../../api/types.ts";
import { NodeHarness } from "../testing/harness.ts";
import { PodVolumes } from "./volumes.ts";

const podWith = (volumes: Volume[], containers: object[] = [{ name: "c" }]) =>
  ({ apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "default", uid: "u", labels: { app: "web" } }, spec: { volumes, containers, serviceAccountName: "robot" } }) as unknown as Pod;

async function prepare(node: NodeHarness, volumes: Volume[], containers?: object[]): Promise<PodVolumes> {
  const made = new PodVolumes(node.ctx, podWith(volumes, containers), join(node.dataDir, "pods", "u"), 0);
  await made.mount();
  return made;
}
async function withObjects(): Promise<NodeHarness> {
  const node = new NodeHarness();
  await node.client.create(resources.configMaps, "default", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf" }, data: { a: "1", b: "2" }, binaryData: { raw: Buffer.from([0, 255]).toString("base64") } });
  await node.client.create(resources.secrets, "default", { apiVersion: "v1", kind: "Secret", metadata: { name: "key" }, data: { k: Buffer.from("secret").toString("base64") } });
  await node.client.create(resources.persistentVolumeClaims, "default", { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: { name: "pending" }, spec: {}, status: { phase: "Pending" } });
  return node;
}

test("generated volumes hold what their sources say", async () => {
  await using node = await withObjects();
  const volumes = await prepare(node, [
    { name: "all", configMap: { name: "conf" } },
    { name: "some", configMap: { name: "conf", items: [{ key: "a", path: "x/y", mode: 0o600 }], defaultMode: 0o444 } },
    { name: "none", secret: { secretName: "absent", optional: true } },
    { name: "mixed", projected: { defaultMode: 0o440, sources: [{ secret: { name: "key" } }, { downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] } }, { configMap: { name: "conf", items: [{ key: "b", path: "b" }] } }] } },
  ]);
  const file = async (name: string, path: string) => join((await volumes.source({ name, mountPath: "/m" }, {})).source!, path);
  assert.equal(readFileSync(await file("all", "a"), "utf8"), "1");
  assert.deepEqual([...readFileSync(await file("all", "raw"))], [0, 255]);
  assert.equal(statSync(await file("some", "x/y")).mode & 0o777, 0o600);
  assert.deepEqual([readFileSync(await file("mixed", "k"), "utf8"), readFileSync(await file("mixed", "labels"), "utf8"), readFileSync(await file("mixed", "b"), "utf8")], ["secret", 'app="web"', "2"]);
  assert.equal(statSync(await file("mixed", "k")).mode & 0o777, 0o440);
  assert.equal((await volumes.source({ name: "none", mountPath: "/m/" }, {})).target, "/m");
  assert.equal((await volumes.source({ name: "all", mountPath: "/m" }, {})).readOnly, true, "pods never write what the agent writes");
});

test("what cannot be mounted is said in kubelet's words", async () => {
  await using node = await withObjects();
  const cases: [Volume, string | RegExp][] = [
    [{ name: "v", configMap: { name: "absent" } }, 'configmap "absent" not found'],
    [{ name: "v", secret: { secretName: "absent" } }, 'secret "absent" not found'],
    [{ name: "v", configMap: { name: "conf", items: [{ key: "z", path: "z" }] } }, "configmap references non-existent config key: z"],
    [{ name: "v", secret: { secretName: "key", items: [{ key: "z", path: "z" }] } }, "references non-existent secret key: z"],
    [{ name: "v", configMap: { name: "conf", items: [{ key: "a", path: "../out" }] } }, /not a relative one below the volume/],
    [{ name: "v", configMap: { name: "conf", items: [{ key: "a", path: "..data" }] } }, /not a relative one below the volume/],
    [{ name: "v", persistentVolumeClaim: { claimName: "absent" } }, 'persistentvolumeclaim "absent" not found'],
    [{ name: "v", persistentVolumeClaim: { claimName: "pending" } }, 'persistentvolumeclaim "pending" is not bound'],
    [{ name: "v", hostPath: { path: "/etc" } }, 'hostPath /etc lies outside of the folders given to "wherry up"'],
    [{ name: "v", nfs: { server: "s", path: "/" } }, "volumes of type nfs are not supported here"],
  ];
  for (const [volume, text] of cases) {
    await assert.rejects(prepare(node, [volume]), (error: Error) => {
      const [, said] = /^MountVolume\.SetUp failed for volume "v" : (.*)$/.exec(error.message) ?? [];
      assert.ok(said !== undefined, error.message);
      if (typeof text === "string") assert.equal(said, text);
      else assert.match(said, text);
      return true;
    });
  }
});

test("hostPath: types, and links below the given folders are not followed", async () => {
  await using node = await withObjects();
  const root = join(realpathSync(node.dataDir), "given");
  mkdirSync(join(root, "folder"), { recursive: true });
  writeFileSync(join(root, "file"), "");
  symlinkSync("/etc", join(root, "link"));
  Object.assign(node.ctx, { hostPathRoots: [root] });
  const cases: [string, string, RegExp | undefined][] = [
    ["folder", "", undefined],
    ["folder", "Directory", undefined],
    ["file", "File", undefined],
    ["made/deep", "DirectoryOrCreate", undefined],
    ["new-file", "FileOrCreate", undefined],
    ["absent", "Directory", /does not exist/],
    ["file", "Directory", /is not a directory/],
    ["folder", "File", /is not a file/],
    ["folder", "Socket", /type Socket is not supported/],
    ["link", "", /not followed/],
    ["link/passwd", "File", /not followed/],
    ["folder/../../..", "", /lies outside/],
  ];
  for (const [path, type, refusal] of cases) {
    const mounted = prepare(node, [{ name: "v", hostPath: { path: `${root}/${path}`, type: type as "File" } }]);
    if (refusal) await assert.rejects(mounted, refusal, `${path} ${type}`);
    else assert.match((await (await mounted).source({ name: "v", mountPath: "/m" }, {})).identity!, /^\d+:\d+$/, `${path} ${type}`);
  }
});

test("subPath: made in the pod's volumes, expanded from its environment, a plain file of a generated one", async () => {
  await using node = await withObjects();
  const volumes = await prepare(node, [{ name: "scratch", emptyDir: {} }, { name: "conf", configMap: { name: "conf" } }]);
  const work = await volumes.source({ name: "scratch", mountPath: "/m", subPathExpr: "logs/$(NAME)" }, { NAME: "web-0" });
  assert.ok(work.source!.endsWith("/volumes/scratch/logs/web-0"));
  const { dev, ino } = statSync(work.source!);
  assert.equal(work.identity, `${dev}:${ino}`);
  const file = await volumes.source({ name: "conf", mountPath: "/etc/a.conf", subPath: "a" }, {});
  assert.equal(readFileSync(file.source!, "utf8"), "1");
  const refused = (mount: object) => volumes.source({ name: "scratch", mountPath: "/m", ...mount }, {}).then(() => "", (error: Error) => error.message);
  assert.match(await refused({ subPathExpr: "$(UNKNOWN)" }), /missing value for "UNKNOWN"/);
  assert.match(await refused({ subPath: "a/../../b" }), /must not contain "\.\."/);
  assert.match(await refused({ name: "nothing" }), /cannot find volume "nothing"/);
});

test("memory is one container's mount; a folder where several share it", async () => {
  await using node = await withObjects();
  const memory: Volume = { name: "shm", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } };
  const user = (name: string) => ({ name, volumeMounts: [{ name: "shm", mountPath: "/dev/shm" }] });
  const own = await (await prepare(node, [memory], [user("a")])).source({ name: "shm", mountPath: "/dev/shm" }, {});
  assert.deepEqual(own, { kind: "tmpfs", target: "/dev/shm", readOnly: false, sizeBytes: 64 * 2 ** 20 });
  const shared = await (await prepare(node, [memory], [user("a"), user("b")])).source({ name: "shm", mountPath: "/dev/shm" }, {});
  assert.equal(shared.kind, "bind");
});

test("a token is renewed when four fifths of its life are over, and leaves the disk with the pod", async () => {
  await using node = await withObjects();
  let given = 0;
  const create = node.client.create.bind(node.client);
  node.client.create = async (resource, namespace, object, options) => {
    if (options?.subresource !== "token") return await create(resource, namespace, object, options);
    const { expirationSeconds } = (object as { spec: { expirationSeconds: number } }).spec;
    return { status: { token: `${options.name} ${++given}`, expirationTimestamp: new Date(node.clock.now() + expirationSeconds * 1000).toISOString() } } as never;
  };
  const volumes = await prepare(node, [{ name: "token", projected: { sources: [{ serviceAccountToken: { path: "token", expirationSeconds: 1000 } }] } }]);
  const file = join((await volumes.source({ name: "token", mountPath: "/t" }, {})).source!, "token");
  const token = () => readFileSync(file, "utf8");
  assert.equal(token(), "robot 1");
  assert.equal(statSync(file).mode & 0o777, 0o600);
  await node.advance(799_000);
  assert.equal(token(), "robot 1");
  await node.advance(2_000);
  assert.equal(token(), "robot 2");
  await node.advance(800_000);
  assert.equal(token(), "robot 3");
  await volumes.unmount();
  assert.throws(token, /ENOENT/);
  await node.advance(10_000_000);
  assert.equal(given, 3, "and is asked for no more");
});

test("a ConfigMap that vanishes leaves its last content, and says so", async () => {
  await using node = await withObjects();
  const volumes = await prepare(node, [{ name: "conf", configMap: { name: "conf" } }]);
  const { source } = await volumes.source({ name: "conf", mountPath: "/m" }, {});
  await node.client.delete(resources.configMaps, "default", "conf");
  await volumes.refresh();
  assert.equal(readFileSync(join(source!, "a"), "utf8"), "1");
  assert.equal(node.events.at(-1)!.message, 'MountVolume.SetUp failed for volume "conf" : configmap "conf" not found');
  rmSync(source!, { recursive: true });
});
