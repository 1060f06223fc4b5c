import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { needs } from "../needs.ts";
import { CommandLine, isUp, type Running } from "../scenarios/command-line.ts";
import { freePort } from "../scenarios/stack.ts";

/** Secrets at rest as the pages tell a person to keep them: begun on a stack that has some, exchanged keys, backups. */
const plain = "hunter2-hunter2";
const encoded = Buffer.from(plain).toString("base64");

const pod = `
apiVersion: v1
kind: Pod
metadata: {name: uses}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    command: [sleep, infinity]
    env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: s, key: password}}}]
    volumeMounts: [{name: s, mountPath: /etc/secret}]
  volumes: [{name: s, secret: {secretName: s}}]
`;

test("Secrets are encrypted on a stack that has some, and stay so in backups", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl", "grep")) return;
  await using desk = new CommandLine(t);
  const port = String(await freePort());
  const key = (letter: string) => ({ name: letter, secret: Buffer.alloc(32, letter).toString("base64") });
  const configure = (...providers: object[]) => writeFileSync(desk.path("encryption.yaml"), JSON.stringify({ apiVersion: "apiserver.config.k8s.io/v1", kind: "EncryptionConfiguration", resources: [{ resources: ["secrets"], providers }] }));
  const up = async (...options: string[]): Promise<Running> => {
    const running = desk.start("up", "--no-watch", "--name", "stack", "--data-dir", "data", "--port", port, ...options);
    await running.said(isUp);
    return running;
  };
  const stop = async (running: Running): Promise<void> => {
    running.kill("SIGINT");
    await running.ended;
  };
  const encrypted = ["--encryption-provider-config", "encryption.yaml"];
  /** Which files below the folder hold one of the texts. */
  const holding = (folder: string, ...texts: string[]): string[] => spawnSync("grep", ["-rlaE", texts.join("|"), desk.path(folder)], { encoding: "utf8" }).stdout.split("\n").filter((line) => line !== "");
  const gone = async (...texts: string[]): Promise<void> => {
    const deadline = AbortSignal.timeout(20_000);
    while (holding("data", ...texts).length > 0) {
      deadline.throwIfAborted();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const replaceAll = (): string => {
    const { stdout, stderr } = spawnSync("sh", ["-c", "kubectl --context stack get secrets -A -o json | kubectl --context stack replace -f -"], { cwd: desk.folder, env: desk.env, encoding: "utf8", timeout: 60_000 });
    assert.equal(stderr, "");
    return stdout;
  };
  const password = (): string => Buffer.from(desk.kubectl("stack", "get", "secret", "s", "-o", "jsonpath={.data.password}"), "base64").toString();

  const plainly = ["--isolation", "plain"]; // sooner there
  let running = await up(...plainly);
  desk.kubectl("stack", "create", "secret", "generic", "s", `--from-literal=password=${plain}`);
  desk.kubectl("stack", "create", "configmap", "c", "--from-literal=in=the-open");
  // The mesh's authority is a Secret too, and is made once the API answers.
  desk.kubectl("stack", "wait", "-n", "wherry-system", "--for=create", "secret/wherry-mesh-ca", "--timeout=60s");
  await stop(running);
  assert.deepEqual(holding("data", encoded), [desk.path("data", "store.db")]);

  configure({ aesgcm: { keys: [key("a")] } }, { identity: {} });
  running = await up(...encrypted, ...plainly);
  assert.match(running.stderr, /objects are stored otherwise than the first provider would store them: write them again .* objects=2 storedWith="no encryption"/);
  assert.match(replaceAll(), /^secret\/s replaced$/m);
  await gone(plain, encoded);
  assert.equal(password(), plain);
  assert.equal((await desk.wherry("backup", "--data-dir", "data", "-o", "stack.wherry")).code, 0);
  await stop(running);

  // The key is exchanged: first the old one leads, then the new one, then it is alone.
  configure({ aesgcm: { keys: [key("b"), key("a")] } });
  running = await up(...encrypted, ...plainly);
  assert.match(running.stderr, /objects=2 storedWith="aesgcm a"/);
  replaceAll();
  await gone("k8s:enc:aesgcm:v1:a:");
  await stop(running);
  configure({ aesgcm: { keys: [key("b")] } });
  running = await up(...encrypted);
  assert.equal(running.stderr, "");
  assert.equal(password(), plain);
  // A pod that uses it, as variable and as file, leaves nothing on the disk either.
  if (running.stdout.includes(": isolated pods")) {
    writeFileSync(desk.path("pod.yaml"), pod);
    desk.kubectl("stack", "apply", "-f", "pod.yaml");
    desk.kubectl("stack", "wait", "--for=condition=Ready", "pod/uses", "--timeout=60s");
    assert.equal(desk.kubectl("stack", "exec", "uses", "--", "sh", "-c", "cat /etc/secret/password; echo $PASSWORD"), `${plain}${plain}\n`);
  } else t.diagnostic("no pod used it: plain mode has no /etc of a pod's own");
  assert.deepEqual(holding("data", plain, encoded, "k8s:enc:aesgcm:v1:a:"), []);
  await stop(running);

  const refused = await desk.wherry("up", "--no-watch", "--name", "stack", "--data-dir", "data", "--port", port);
  assert.equal(refused.code, 3);
  assert.match(refused.stderr, /2 objects in .*data\/store\.db cannot be read:\n {2}unable to transform key "\/core\/secrets\/default\/s": it is encrypted, and no EncryptionConfiguration is given/);
  assert.match(refused.stderr, /Give the EncryptionConfiguration that holds the key/);
  assert.equal((await desk.wherry("backup", "--data-dir", "data", "-o", "still.wherry")).code, 0, "a backup needs no key");

  // What was saved under the first key.
  const from = ["up", "--no-watch", "--isolation", "plain", "--name", "other", "--data-dir", "other", "--port", port, "--from", "stack.wherry"];
  const wrong = await desk.wherry(...from, ...encrypted);
  assert.equal(wrong.code, 3);
  assert.match(wrong.stderr, /no matching prefix found: it is stored with k8s:enc:aesgcm:v1:a:/);
  configure({ aesgcm: { keys: [key("b"), key("a")] } });
  running = desk.start(...from, ...encrypted);
  await running.said(isUp);
  assert.equal(Buffer.from(desk.kubectl("other", "get", "secret", "s", "-o", "jsonpath={.data.password}"), "base64").toString(), plain);
  assert.equal(desk.kubectl("other", "get", "configmap", "c", "-o", "jsonpath={.data.in}"), "the-open");
  assert.deepEqual(holding("other", plain, encoded), []);
  await stop(running);
});
