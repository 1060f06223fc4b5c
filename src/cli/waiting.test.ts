import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigMap, Container, Pod, Service } from "../api/types.ts";
import { waitingLine } from "./waiting.ts";

const pod = (name: string, container: Partial<Container>, more: { ready?: boolean; init?: Partial<Container>; status?: Pod["status"] } = {}): Pod =>
  ({
    metadata: { name: `${name}-0`, namespace: "shop", uid: name, labels: { app: name } },
    spec: { containers: [{ name: "main", ...container }], ...(more.init && { initContainers: [{ name: "wait", ...more.init }] }) },
    status: { conditions: [{ type: "Ready", status: more.ready ? "True" : "False" }], ...more.status },
  }) as unknown as Pod;
const service = (name: string, namespace = "shop"): Service => ({ metadata: { name, namespace, uid: name }, spec: { selector: { app: name } } }) as unknown as Service;
const services = ["postgres", "users", "web"].map((name) => service(name)).concat(service("postgres", "elsewhere"));
const env = (variables: Record<string, string>) => ({ env: Object.entries(variables).map(([name, value]) => ({ name, value })) });

test("waitingLine() names the Services that a pod speaks of and behind which nobody is Ready", () => {
  const running = { state: { running: { startedAt: "2026-01-01T00:00:00Z" } } };
  const ended = { state: { waiting: { reason: "CrashLoopBackOff" } }, lastState: { terminated: { exitCode: 1 } } };
  const cases: [string, Pod, others: Pod[], expected: string][] = [
    ["a host", pod("orders", env({ DB_HOST: "postgres" })), [], "waiting for postgres"],
    ["addresses", pod("orders", env({ A: "postgres://me@postgres:5432/x", B: "http://users.shop.svc:80/" })), [], "waiting for postgres, users"],
    ["somebody is Ready there", pod("orders", env({ DB_HOST: "postgres", USERS_URL: "http://users" })), [pod("postgres", {}, { ready: true })], "waiting for users"],
    ["a word that is no place", pod("orders", env({ ROLE: "web", TITLE: "web shop" })), [], ""],
    ["a longer name", pod("orders", env({ DB_HOST: "postgres-2", URL: "http://users2/" })), [], ""],
    ["itself", pod("web", env({ SELF_URL: "http://web:80" })), [], ""],
    ["an init container", pod("orders", {}, { init: { command: ["sh", "-c", "until pg_isready -h postgres; do sleep 1; done"] }, status: { initContainerStatuses: [{ name: "wait", ...running }] } as never }), [], "waiting for postgres (init container wait)"],
    ["one that only runs", pod("orders", {}, { init: { command: ["migrate"] }, status: { initContainerStatuses: [{ name: "wait", ...running }] } as never }), [], "init container wait runs"],
    ["one that gives up", pod("orders", env({ DB_HOST: "postgres" }), { status: { containerStatuses: [{ name: "main", ...ended }] } as never }), [], "waiting for postgres (main ended with exit code 1, and is started again)"],
    ["a crash of its own", pod("orders", {}, { status: { containerStatuses: [{ name: "main", ...ended }] } as never }), [], ""],
    ["from a ConfigMap", pod("orders", { envFrom: [{ configMapRef: { name: "settings" } }] }), [], "waiting for users"],
  ];
  const configMaps = [{ metadata: { name: "settings", namespace: "shop" }, data: { USERS_URL: "http://users:80" } }] as unknown as ConfigMap[];
  for (const [name, waiting, others, expected] of cases) assert.equal(waitingLine(waiting, { pods: [waiting, ...others], services, configMaps }), expected, name);
});
