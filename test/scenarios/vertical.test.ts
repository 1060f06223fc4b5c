import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { runTranscript } from "./transcript.ts";

/** Serves nothing; says its limits as the program in the container sees them, when asked. */
const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: app
    image: node:22
    command: [node, -e, "setInterval(() => {}, 1000)"]
    resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 500m, memory: 128Mi}}
    resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: memory, restartPolicy: RestartContainer}]
`;

test("a running pod is resized by kubectl: in place, by a restart where its policy asks for one, or not at all", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const folder = join(dirname(wherry.dataDir), "manifests");
  mkdirSync(folder);
  writeFileSync(join(folder, "web.yaml"), manifest);
  await runTranscript(join(import.meta.dirname, "vertical.transcript"), { cwd: folder, env: wherry.env, onStep: process.env["STEPS"] ? (command, ms) => console.log(`${ms.toFixed(0).padStart(6)} ms  ${command}`) : () => {} });
});
