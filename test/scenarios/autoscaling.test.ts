import assert from "node:assert/strict";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

/** Uses up to a third of a core, many times what it requests also on a busy machine, until the time in $UNTIL; then nothing. */
const program = `
const until = Number(process.env.UNTIL);
setInterval(() => { const began = Date.now(); while (Date.now() < until && Date.now() - began < 35); }, 100);
`;
const burner = (untilMs: number) => `
apiVersion: apps/v1
kind: Deployment
metadata: {name: burner}
spec:
  selector: {matchLabels: {app: burner}}
  template:
    metadata: {labels: {app: burner}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: node:22
        command: [node, -e, ${JSON.stringify(program)}]
        env: [{name: UNTIL, value: "${untilMs}"}]
        resources: {requests: {cpu: 20m}}
`;

test("a program that burns CPU gets replicas, and loses them when it rests; kubectl top says how much", { timeout: 180_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  const began = Date.now();
  await playTranscript(wherry, "autoscaling", { "burner.yaml": burner(began + 18_000) });
  const tookMs = Date.now() - began;
  t.diagnostic(`up and down again in ${(tookMs / 1000).toFixed(1)} s`);
  assert.ok(tookMs < 90_000, `${tookMs} ms; under a minute on a machine of its own`);
});
