import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { needs } from "../needs.ts";
import { CommandLine, isUp } from "./command-line.ts";
import { freePort } from "./stack.ts";

const secret = "what only the key opens";
const encryption = (name: string, key: Buffer): string => `
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: ${name}, secret: ${key.toString("base64")}}]}}, {identity: {}}]}]
`;
const manifest = `
apiVersion: v1
kind: Secret
metadata: {name: treasure}
stringData: {word: ${secret}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: busybox, command: [sh, -c, "trap exit TERM; sleep infinity & wait"], env: [{name: WORD, valueFrom: {secretKeyRef: {name: treasure, key: word}}}]}]
`;

test("a backup of encrypted Secrets: restored with the key, refused without it, and by another; Ready is said of what runs", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using desk = new CommandLine(t);
  const key = randomBytes(32);
  writeFileSync(desk.path("app.yaml"), manifest);
  writeFileSync(desk.path("right.yaml"), encryption("a", key));
  writeFileSync(desk.path("other.yaml"), encryption("a", randomBytes(32)));
  writeFileSync(desk.path("renamed.yaml"), encryption("b", key));
  const up = desk.start("up", "app.yaml", "--no-watch", "--data-dir", "data", "--port", String(await freePort()), "--encryption-provider-config", "right.yaml");
  await up.said(isUp);
  const running = await desk.wherry("backup", "--data-dir", "data", "-o", "running.wherry");
  assert.equal(running.code, 0, running.stderr);
  up.kill("SIGINT");
  await up.ended;
  const stopped = await desk.wherry("backup", "--data-dir", "data", "-o", "stopped.wherry");
  assert.equal(stopped.code, 0, stopped.stderr);
  for (const file of ["running.wherry", "stopped.wherry"]) assert.ok(!readFileSync(desk.path(file)).includes(secret));

  for (const [file, options] of [
    ["running.wherry", []],
    ["stopped.wherry", []],
    ["running.wherry", ["--encryption-provider-config", "other.yaml"]],
    ["running.wherry", ["--encryption-provider-config", "renamed.yaml"]],
  ] as const) {
    const { code, stderr } = await desk.wherry("up", "--no-watch", "--data-dir", "refused", "--from", file, ...options);
    assert.equal(code, 3, stderr);
    assert.match(stderr, new RegExp(`${file} cannot be read.*/core/secrets/default/treasure`, "s"));
    assert.match(stderr, /--encryption-provider-config/);
    assert.ok(!existsSync(desk.path("refused")), "nothing of it is left");
  }

  for (const file of ["running.wherry", "stopped.wherry"]) {
    const name = file.replace(".wherry", "");
    const again = desk.start("up", "app.yaml", "--no-watch", "--name", name, "--port", String(await freePort()), "--from", file, "--encryption-provider-config", "right.yaml");
    assert.match(await again.said(isUp), /✓ app +1\/1 +Ready/);
    // What was said is true: the program is another one than before, and it runs.
    assert.match(desk.kubectl(name, "get", "pod", "app-0", "-o", "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}"), /^[1-9] true$/);
    assert.equal(desk.kubectl(name, "exec", "app-0", "--", "printenv", "WORD").trim(), secret);
    assert.equal(Buffer.from(desk.kubectl(name, "get", "secret", "treasure", "-o", "jsonpath={.data.word}"), "base64").toString(), secret);
    again.kill("SIGINT");
    await again.ended;
    assert.ok(!readFileSync(desk.path(`.wherry-${name}`, "store.db")).includes(secret), "and it is encrypted there");
  }
});
