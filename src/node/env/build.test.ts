import assert from "node:assert/strict";
import { test } from "node:test";
import { resources } from "../../api/resources.ts";
import type { Container, Pod, Service } from "../../api/types.ts";
import { NodeHarness } from "../testing/harness.ts";
import { buildEnvironment } from "./build.ts";
import { expand } from "./expand.ts";
import { fieldValue, resourceValue } from "./fields.ts";
import { linkedServices, serviceVariables } from "./services.ts";

test("expand() replaces known names, keeps unknown ones, and lets $$ escape", () => {
  const cases: [string, string][] = [
    ["$(A)", "1"],
    ["x$(A)y$(B)", "x1y2"],
    ["$(UNKNOWN)", "$(UNKNOWN)"],
    ["$$(A)", "$(A)"],
    ["$$$(A)", "$1"],
    ["$$$$(A)", "$$(A)"],
    ["$A", "$A"],
    ["$", "$"],
    ["$(A", "$(A"],
    ["$()", "$()"],
    ["a$b$(A)", "a$b1"],
    ["$(A)$(A)", "11"],
  ];
  for (const [text, result] of cases) assert.equal(expand(text, (name) => ({ A: "1", B: "2" })[name]), result, text);
});

const pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web-0", namespace: "shop", uid: "u", resourceVersion: "1", creationTimestamp: "", labels: { b: "2", a: 'quote"d' }, annotations: { note: "line\nbreak" } },
  spec: { nodeName: "wherry", serviceAccountName: "robot", containers: [] },
} as unknown as Pod;
const addresses = { podIP: "10.244.0.5", hostIP: "192.0.2.1" };

test("fieldValue() knows the downward API's fields", () => {
  const cases: [string, string][] = [
    ["metadata.name", "web-0"],
    ["metadata.namespace", "shop"],
    ["metadata.uid", "u"],
    ["metadata.labels['b']", "2"],
    ["metadata.labels['none']", ""],
    ["metadata.annotations['note']", "line\nbreak"],
    ["metadata.labels", 'a="quote\\"d"\nb="2"'],
    ["metadata.annotations", 'note="line\\nbreak"'],
    ["spec.nodeName", "wherry"],
    ["spec.serviceAccountName", "robot"],
    ["status.podIP", "10.244.0.5"],
    ["status.podIPs", "10.244.0.5"],
    ["status.hostIP", "192.0.2.1"],
  ];
  for (const [path, value] of cases) assert.equal(fieldValue(pod, path, addresses), value, path);
  assert.throws(() => fieldValue(pod, "spec.other", addresses), /unsupported fieldPath: spec.other/);
});

test("resourceValue() divides and rounds up; what is not limited is the machine's", () => {
  const container = { name: "c", resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { cpu: "1500m" } } } as Container;
  const machine = { cpu: 4, memoryBytes: 8 * 2 ** 30 };
  const cases: [string, string | undefined, string][] = [
    ["requests.cpu", "1m", "100"],
    ["requests.cpu", undefined, "1"],
    ["limits.cpu", "1", "2"],
    ["limits.cpu", "0", "2"],
    ["requests.memory", "1Mi", "64"],
    ["requests.memory", "1", "67108864"],
    ["limits.memory", "1Gi", "8"],
    ["requests.ephemeral-storage", "1", "0"],
  ];
  for (const [resource, divisor, value] of cases) assert.equal(resourceValue(container, resource, divisor, machine), value, `${resource} / ${divisor}`);
});

const service = (name: string, clusterIP: string, ports: object[], namespace = "shop") => ({ metadata: { name, namespace }, spec: { clusterIP, ports } }) as unknown as Service;

test("serviceVariables() gives hosts, ports and Docker's links; headless Services have none", () => {
  assert.deepEqual(serviceVariables([service("user-service", "10.96.0.7", [{ name: "http", port: 80 }, { name: "dns-udp", port: 53, protocol: "UDP" }]), service("none", "None", [{ port: 1 }])]), {
    USER_SERVICE_SERVICE_HOST: "10.96.0.7",
    USER_SERVICE_SERVICE_PORT: "80",
    USER_SERVICE_SERVICE_PORT_HTTP: "80",
    USER_SERVICE_SERVICE_PORT_DNS_UDP: "53",
    USER_SERVICE_PORT: "tcp://10.96.0.7:80",
    USER_SERVICE_PORT_80_TCP: "tcp://10.96.0.7:80",
    USER_SERVICE_PORT_80_TCP_PROTO: "tcp",
    USER_SERVICE_PORT_80_TCP_PORT: "80",
    USER_SERVICE_PORT_80_TCP_ADDR: "10.96.0.7",
    USER_SERVICE_PORT_53_UDP: "udp://10.96.0.7:53",
    USER_SERVICE_PORT_53_UDP_PROTO: "udp",
    USER_SERVICE_PORT_53_UDP_PORT: "53",
    USER_SERVICE_PORT_53_UDP_ADDR: "10.96.0.7",
  });
  const own = [service("a", "10.96.0.8", [{ port: 1 }])];
  const defaults = [service("kubernetes", "10.96.0.1", [{ name: "https", port: 443 }], "default"), service("other", "10.96.0.9", [{ port: 1 }], "default")];
  assert.deepEqual(linkedServices(own, defaults, true).map(({ metadata }) => metadata.name), ["kubernetes", "a"]);
  assert.deepEqual(linkedServices(own, defaults, false).map(({ metadata }) => metadata.name), ["kubernetes"]);
});

test("buildEnvironment(): later sources win, values refer to what stands before them, optional references may be missing", async () => {
  await using node = new NodeHarness();
  await node.client.create(resources.configMaps, "shop", { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf" }, data: { HOST: "from-map", mode: "fast" } });
  await node.client.create(resources.secrets, "shop", { apiVersion: "v1", kind: "Secret", metadata: { name: "key" }, data: { user: Buffer.from("shop").toString("base64") } });
  const container = {
    name: "c",
    envFrom: [{ configMapRef: { name: "conf" } }, { prefix: "DB_", secretRef: { name: "key" } }, { configMapRef: { name: "absent", optional: true } }],
    env: [
      { name: "HOST", value: "own" },
      { name: "URL", value: "http://$(HOST):$(KUBERNETES_SERVICE_PORT)/$(LATER)" },
      { name: "LATER", value: "x" },
      { name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "USER_NAME", valueFrom: { secretKeyRef: { name: "key", key: "user" } } },
      { name: "MAYBE", valueFrom: { secretKeyRef: { name: "key", key: "absent", optional: true } } },
    ],
  } as Container;
  const input = { ctx: node.ctx, pod, container, image: { HOST: "image", LANG: "C" }, podIP: addresses.podIP, hostname: "web-0", homeDir: "/home/app", machine: { cpu: 1, memoryBytes: 1 } };
  const env = await buildEnvironment(input);
  const { PATH, ...rest } = env;
  assert.match(PATH!, /\/usr\/bin/);
  assert.deepEqual(rest, {
    HOME: "/home/app",
    HOSTNAME: "web-0",
    HOST: "own",
    LANG: "C",
    KUBERNETES_SERVICE_HOST: "10.96.0.1",
    KUBERNETES_SERVICE_PORT: "443",
    KUBERNETES_SERVICE_PORT_HTTPS: "443",
    mode: "fast",
    DB_user: "shop",
    URL: "http://own:443/$(LATER)",
    LATER: "x",
    IP: "10.244.0.5",
    USER_NAME: "shop",
  });
  const wrong: [Container["env"], RegExp][] = [
    [[{ name: "A", valueFrom: { configMapKeyRef: { name: "conf", key: "absent" } } }], /^couldn't find key absent in ConfigMap shop\/conf$/],
    [[{ name: "A", valueFrom: { secretKeyRef: { name: "key", key: "absent" } } }], /^couldn't find key absent in Secret shop\/key$/],
    [[{ name: "A", valueFrom: { secretKeyRef: { name: "no", key: "absent" } } }], /^secret "no" not found$/],
  ];
  for (const [env, message] of wrong) await assert.rejects(buildEnvironment({ ...input, container: { name: "c", env: env! } as Container }), { message, reason: "CreateContainerConfigError" });
});
