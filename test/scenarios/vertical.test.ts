import { availableParallelism } from "node:os";
import { test } from "node:test";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { playTranscript } from "./stack.ts";

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
  await playTranscript(wherry, "vertical", { "web.yaml": manifest }, { variables: { CORES: String(availableParallelism()), MILLICORES: String(1000 * availableParallelism()) } });
});

/** Uses a quarter of a core and 150 MB, many times what it asks for. */
const burner = `
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
        command: [node, -e, "const kept = Buffer.alloc(150e6, 1); setInterval(() => { const began = Date.now(); while (Date.now() - began < 25) kept[0]++; }, 100)"]
        resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 800m, memory: 640Mi}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: burner}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: burner}
  updatePolicy: {updateMode: InPlaceOrRecreate, minReplicas: 1}
  resourcePolicy: {containerPolicies: [{containerName: app, controlledValues: RequestsOnly}]}
`;

/** Needs 160 MB of heap before it is ready, and may have 75: killed at once, again and again. */
const hungry = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: hungry}
spec:
  selector: {matchLabels: {app: hungry}}
  template:
    metadata: {labels: {app: hungry}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: node:22
        command: [node, -e, "const kept = []; while (kept.length < 16) kept.push(new Array(1.25e6).fill(kept.length + 0.5)); require('fs').writeFileSync('/tmp/ready', ''); setInterval(() => kept, 1000)"]
        readinessProbe: {exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1}
        resources: {requests: {cpu: 50m, memory: 100Mi}, limits: {memory: 100Mi}}
---
apiVersion: autoscaling.k8s.io/v1
kind: VerticalPodAutoscaler
metadata: {name: hungry}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: hungry}
  updatePolicy: {updateMode: InPlaceOrRecreate, minReplicas: 1}
`;

test("what a program uses becomes its request: recommended, applied where it runs, and from the start for the next pod", { timeout: 120_000 }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t });
  await playTranscript(wherry, "vertical-autoscaler", { "burner.yaml": burner, "hungry.yaml": hungry });
});
