import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../meta.ts";
import { pod } from "../pod.ts";
import { tagOf } from "./defaults.ts";
import { qosClass } from "./qos.ts";
import { renderFieldError } from "../../../field.ts";
import { validateEphemeralContainersUpdate } from "./update.ts";

test("tagOf() reads the tag off an image's name", () => {
  const digest = `@sha256:${"0".repeat(64)}`;
  const cases: [image: string, tag: string][] = [
    ["nginx", "latest"],
    ["nginx:1.27", "1.27"],
    ["shop/web:latest", "latest"],
    ["localhost:5000/web", "latest"],
    ["localhost:5000/web:v1", "v1"],
    ["registry.example.com:5000/a/b/c", "latest"],
    [`nginx${digest}`, ""],
    [`nginx:v1${digest}`, "v1"],
    ["", ""],
    ["Nginx", ""],
    ["nginx:", ""],
  ];
  for (const [image, tag] of cases) assert.equal(tagOf(image), tag, image);
});

const podOf = (spec: object, rest: object = {}): KubeObject => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "x" }, spec, ...rest }) as unknown as KubeObject;

test("qosClass() weighs requests against limits", () => {
  const both = { cpu: "100m", memory: "1Gi" };
  const cases: [resources: object[], quality: string][] = [
    [[{}], "BestEffort"],
    [[{ requests: { "example.com/gpu": "1" } }], "BestEffort"],
    [[{ requests: { cpu: "0" } }], "BestEffort"],
    [[{ requests: { cpu: "1" } }], "Burstable"],
    [[{ limits: both, requests: both }], "Guaranteed"],
    [[{ limits: { cpu: "0.1", memory: "1024Mi" }, requests: both }], "Guaranteed"],
    [[{ limits: both, requests: both }, {}], "Burstable"],
    [[{ limits: { cpu: "1", memory: "1Gi" }, requests: both }], "Burstable"],
    [[{ limits: { memory: "1Gi" } }], "Burstable"],
  ];
  for (const [resources, quality] of cases) assert.equal(qosClass(podOf({ containers: resources.map((each) => ({ resources: each })) })), quality, JSON.stringify(resources));
});

test("a pod with limits of its own requests what its containers request", () => {
  const requests = (spec: object): unknown => {
    const object = podOf(structuredClone(spec));
    pod.defaults!(object);
    return object.spec.resources.requests;
  };
  const resources = { limits: { cpu: "2", memory: "2Gi" } };
  const asks = (cpu: string, restartPolicy?: string): object => ({ ...(restartPolicy && { restartPolicy }), resources: { requests: { cpu } } });
  assert.deepEqual(requests({ resources, containers: [{}] }), { cpu: "2", memory: "2Gi" });
  assert.deepEqual(requests({ resources, containers: [asks("100m"), asks("0.2")] }), { cpu: "300m", memory: "2Gi" });
  assert.deepEqual(requests({ resources, initContainers: [asks("100m", "Always"), asks("1")], containers: [asks("100m")] }), { cpu: "1100m", memory: "2Gi" });
  assert.deepEqual(requests({ resources: { ...resources, requests: { cpu: "1" } }, containers: [asks("100m")] }), { cpu: "1", memory: "2Gi" });
});

test("a pod that nobody runs goes at once", () => {
  const cases: [spec: object, phase: string, seconds: number][] = [
    [{}, "Pending", 0],
    [{ nodeName: "n" }, "Running", 30],
    [{ nodeName: "n", terminationGracePeriodSeconds: 5 }, "Running", 5],
    [{ nodeName: "n", terminationGracePeriodSeconds: 0 }, "Running", 0],
    [{ nodeName: "n", terminationGracePeriodSeconds: -1 }, "Running", 1],
    [{ nodeName: "n" }, "Succeeded", 0],
    [{ nodeName: "n" }, "Failed", 0],
  ];
  for (const [spec, phase, seconds] of cases) assert.equal(pod.gracePeriodSeconds!(podOf(spec, { status: { phase } })), seconds, JSON.stringify([spec, phase]));
});

test("a status write may not bring the dead back to life", () => {
  const at = (restartPolicy: string, exitCode: number, state: object): string[] => {
    const old = podOf({ restartPolicy }, { status: { containerStatuses: [{ name: "a", state: { terminated: { exitCode } } }] } });
    const next = podOf({ restartPolicy }, { status: { containerStatuses: [{ name: "a", state }] } });
    return pod.validateStatusUpdate!(next, old).map(renderFieldError);
  };
  const refused = ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"];
  assert.deepEqual(at("Always", 1, { running: {} }), []);
  assert.deepEqual(at("Never", 1, { running: {} }), refused);
  assert.deepEqual(at("Never", 1, { terminated: {} }), []);
  assert.deepEqual(at("OnFailure", 1, { running: {} }), []);
  assert.deepEqual(at("OnFailure", 0, { waiting: {} }), refused);
});

test("ephemeral containers may be added, not changed or taken away", () => {
  const old = podOf({ ephemeralContainers: [{ name: "a", image: "i" }] });
  const errors = (list: object[]): string[] => validateEphemeralContainersUpdate(podOf({ ephemeralContainers: list }), old).map((error) => renderFieldError(error).split("\n")[0]!);
  assert.deepEqual(errors([{ name: "a", image: "i" }, { name: "b", image: "j" }]), []);
  assert.deepEqual(errors([]), ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "a" may not be removed']);
  assert.deepEqual(errors([{ name: "a", image: "k" }]), ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "a" may not be changed']);
});

test("warnings tell what works otherwise than meant", () => {
  const spec = { nodeSelector: { "beta.kubernetes.io/os": "linux" }, containers: [{ name: "a", env: [{ name: "X", value: "1" }, { name: "X", value: "2" }, { name: "P", value: "1" }, { name: "P", value: "$(P):2" }] }] };
  assert.deepEqual(pod.warnings!(podOf(spec)), [
    'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
    'spec.containers[0].env[1]: hides previous definition of "X", which may be dropped when using apply',
  ]);
  assert.deepEqual(pod.warnings!(podOf(spec), podOf(spec)), [], "an update repeats nothing");
});
