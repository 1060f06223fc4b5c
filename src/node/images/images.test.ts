import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import type { Artifact } from "../../api/artifacts.ts";
import type { ConfigMap, Container, Pod } from "../../api/types.ts";
import { ContainerError } from "../context.ts";
import { layMounts, makeRoom } from "./artifact-image.ts";
import { parseReference } from "./reference.ts";
import { MachineImages } from "./store.ts";
import { containerUser } from "./user.ts";

test("parseReference() takes names apart and refuses what is none", () => {
  const cases: [string, [string, string, string] | undefined][] = [
    ["postgres", ["postgres", "postgres", ""]],
    ["postgres:15-alpine", ["postgres", "postgres", "15-alpine"]],
    ["docker.io/library/postgres:15", ["docker.io/library/postgres", "postgres", "15"]],
    ["library/redis", ["library/redis", "redis", ""]],
    ["ecommerce/user-service:v1.0.0", ["ecommerce/user-service", "ecommerce/user-service", "v1.0.0"]],
    ["localhost:5000/a/b:v1", ["localhost:5000/a/b", "localhost:5000/a/b", "v1"]],
    [`app@sha256:${"a".repeat(64)}`, ["app", "app", ""]],
    ["", undefined],
    ["app/Upper", undefined],
    ["a b", undefined],
    ["app:", undefined],
    ["-app", undefined],
  ];
  for (const [text, expected] of cases) {
    const reference = parseReference(text);
    assert.deepEqual(reference && [reference.name, reference.familiar, reference.tag], expected, text);
  }
});

const artifact = (image: string, tag: string, more: Partial<Artifact> = {}): Artifact => ({
  image, tag, context: "/nowhere", dockerfile: "", entrypoint: [], cmd: [`${image}:${tag}`], env: {}, workingDir: "/", user: "", users: {}, exposedPorts: [], stopSignal: "SIGQUIT", mounts: [], base: "", skippedRun: [], volumes: [], ...more,
});

test("an image is the artifact of that name and tag, else of that name, else a program of the machine, else nothing", async () => {
  const images = new MachineImages(tmpdir());
  const linked = [artifact("app", "v1"), artifact("app", "v2"), artifact("any", ""), artifact("busybox", "mine")];
  images.link({ data: Object.fromEntries(linked.map((value, index) => [String(index), JSON.stringify(value)])) } as unknown as ConfigMap);
  const cases: [string, string, string | undefined][] = [
    ["app:v1", "app:v1", undefined],
    ["app:v2", "app:v2", undefined],
    ["app:v9", "app:v2", "AnyTagLinked"],
    ["docker.io/library/app:v1", "app:v1", "AnyTagLinked"],
    ["any:whatever", "any:", undefined],
    ["busybox:1.36", "busybox:mine", "AnyTagLinked"],
    ["alpine", "sh", "MachineProgram"],
    ["node:22-alpine", "node", "MachineProgram"],
  ];
  for (const [name, cmd, notice] of cases) {
    const image = await images.resolve(name);
    assert.match(image.cmd[0]!, new RegExp(`^(da)?${cmd}$`), name);
    assert.equal(image.notices.find(({ reason }) => reason !== "FolderUnreadable")?.reason, notice, name);
  }
  assert.equal((await images.resolve("app:v1")).stopSignal, "SIGQUIT");
  const refused = async (name: string) => await images.resolve(name).then(() => undefined, (error: ContainerError) => error.reason);
  assert.equal(await refused("nobody/knows:v1"), "ErrImagePull");
  assert.equal(await refused("Not An Image"), "InvalidImageName");
  images.link(undefined);
  assert.equal(await refused("app:v1"), "ErrImagePull");
});

test("layMounts() puts the live folder in the place of its copies", () => {
  const context = mkdtempSync(join(tmpdir(), "wherry-lay-"));
  try {
    for (const file of ["package.json", "src/main.js", "node_modules/a/index.js", "deploy/config.json", "tool"]) {
      mkdirSync(join(context, dirname(file)), { recursive: true });
      writeFileSync(join(context, file), "");
    }
    const cases: [string, [string, string][], [string, string][]][] = [
      ["one folder", [["/app", "."]], [["/app", "."]]],
      ["a copied file stands for its folder, where a skipped RUN left node_modules", [["/app/package.json", "package.json"], ["/app/src", "src"]], [["/app", "."]]],
      ["a file in a system folder stands for itself", [["/usr/local/share/tool", "tool"]], [["/usr/local/share/tool", "tool"]]],
      ["what is not there is left out", [["/app", "."], ["/app/dist", "dist"]], [["/app", "."]]],
      ["a folder from elsewhere that has its place", [["/app", "."], ["/app/src", "deploy"]], [["/app", "."], ["/app/src", "deploy"]]],
      [
        "a folder from elsewhere that has no place: entries one by one",
        [["/app", "src"], ["/app/conf", "deploy"]],
        [["/app/main.js", "src/main.js"], ["/app/conf", "deploy"]],
      ],
      ["everything at the root", [["/", "src"]], [["/main.js", "src/main.js"]]],
    ];
    for (const [name, mounts, expected] of cases) {
      const laid = layMounts({ context, mounts: mounts.map(([imagePath, contextPath]) => ({ imagePath, contextPath })) });
      assert.deepEqual(laid.map(({ target, source }) => [target, source]), expected.map(([target, source]) => [target, join(context, source)]), name);
      assert.ok(laid.every(({ readOnly }) => readOnly), name);
    }
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
});

test("makeRoom() puts entries in the place of a live folder that has nothing to mount on", () => {
  const context = mkdtempSync(join(tmpdir(), "wherry-room-"));
  try {
    mkdirSync(join(context, "src/lib"), { recursive: true });
    writeFileSync(join(context, "main.js"), "");
    symlinkSync("nowhere", join(context, "dangling"));
    const mount = (target: string, source: string) => ({ kind: "bind" as const, target, source: join(context, source), readOnly: true });
    const cases: [string, string[]][] = [
      ["/app/src", ["/app"]],
      ["/app/cache", ["/app/main.js", "/app/src"]],
      ["/app/src/cache", ["/app/main.js", "/app/src/lib"]],
      ["/app", ["/app"]],
      ["/application", ["/app"]],
      ["/app/main.js/x", ["/app/src", "/app/main.js"]],
    ];
    for (const [target, expected] of cases) assert.deepEqual(makeRoom([mount("/app", ".")], target).map((laid) => laid.target).sort(), expected.sort(), target);
    const pods = { ...mount("/app", "."), readOnly: false };
    assert.deepEqual(makeRoom([pods], "/app/cache"), [pods], "in a writable mount the place is made");
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
});

test("containerUser(): the image's user, the pod's wishes, and runAsNonRoot in kubelet's words", () => {
  const pod = (security: object = {}) => ({ metadata: { name: "p", namespace: "n", uid: "u" }, spec: { securityContext: security, containers: [] } }) as unknown as Pod;
  const image = (user: string) => ({ user, users: { app: 4242, appgroup: 77 } });
  const cases: [string, object, object, [number, number, string]][] = [
    ["", {}, {}, [0, 0, "root"]],
    ["1001", {}, {}, [1001, 1001, "user1001"]],
    ["app", {}, {}, [4242, 4242, "app"]],
    ["app:appgroup", {}, {}, [4242, 77, "app"]],
    ["1001:2002", {}, {}, [1001, 2002, "user1001"]],
    ["node", {}, {}, [1000, 1000, "node"]],
    ["somebody", {}, {}, [1001, 1001, "somebody"]],
    ["app", { runAsUser: 5 }, {}, [5, 0, "user5"]],
    ["app", { runAsUser: 5, runAsGroup: 6 }, { runAsUser: 7 }, [7, 6, "user7"]],
    ["1001", { runAsNonRoot: true }, {}, [1001, 1001, "user1001"]],
  ];
  for (const [user, podSecurity, own, expected] of cases) {
    const { uid, gid, userName } = containerUser(pod(podSecurity), { name: "c", securityContext: own } as Container, image(user));
    assert.deepEqual([uid, gid, userName], expected, `${user} ${JSON.stringify(podSecurity)} ${JSON.stringify(own)}`);
  }
  const where = '(pod: "p_n(u)", container: c)';
  const refused: [string, object, string][] = [
    ["", { runAsNonRoot: true }, `container has runAsNonRoot and image will run as root ${where}`],
    ["app", { runAsNonRoot: true }, `container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root ${where}`],
    ["1001", { runAsNonRoot: true, runAsUser: 0 }, `container's runAsUser breaks non-root policy ${where}`],
  ];
  for (const [user, security, message] of refused) assert.throws(() => containerUser(pod(security), { name: "c" } as Container, image(user)), { reason: "CreateContainerConfigError", message });
});
