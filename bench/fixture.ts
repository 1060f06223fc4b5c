import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Artifact, artifactKey, artifactsConfigMap } from "../src/api/artifacts.ts";
import { resources, systemNamespace } from "../src/api/resources.ts";
import type { Pod } from "../src/api/types.ts";
import { silentLog } from "../src/base/log.ts";
import { startWherry, type Wherry } from "../src/wherry.ts";

/** The fixture of DESIGN §11: a pod without limits whose readiness probe has period 1 and no delay. */
export const program = `require("node:http").createServer((request, response) => response.end("ok")).listen(Number(process.env.PORT ?? 8080), () => console.log("listening"));\n`;

export async function withWherry<T>(use: (wherry: Wherry, folder: string) => Promise<T>, options: { isolation?: "isolated" | "plain" } = {}): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  chmodSync(folder, 0o755); // in plain mode a pod has a uid of its own and must reach its program by the folder's path
  mkdirSync(join(folder, "app"));
  writeFileSync(join(folder, "app", "server.cjs"), program);
  const wherry = await startWherry({ dataDir: join(folder, "data"), private: true, log: silentLog, ...options });
  try {
    const artifact: Artifact = { image: "bench/fixture", tag: "", context: join(folder, "app"), dockerfile: "", entrypoint: ["node", "/app/server.cjs"], cmd: [], env: {}, workingDir: "/app", user: "", users: {}, exposedPorts: [8080], stopSignal: "SIGTERM", mounts: [{ imagePath: "/app", contextPath: "." }], base: "node:26", skippedRun: [], volumes: [] };
    await wherry.client.create(resources.configMaps, systemNamespace, { metadata: { name: artifactsConfigMap }, data: { [artifactKey(artifact.image, "")]: JSON.stringify(artifact) } });
    return await use(wherry, folder);
  } finally {
    await wherry.stop("fast");
    rmSync(folder, { recursive: true, force: true });
  }
}

export function fixturePod(name: string): object {
  return {
    metadata: { name, labels: { app: "fixture" } },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: "main", image: "bench/fixture", readinessProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 } }] },
  };
}

/** Resolves when `count` pods of the namespace are Ready. */
export async function untilReady(wherry: Wherry, namespace: string, count: number, deadlineMs = 120_000): Promise<void> {
  const ready = new Set<string>();
  const signal = AbortSignal.timeout(deadlineMs);
  for await (const { object } of wherry.client.watch<Pod>(resources.pods, { namespace, signal })) {
    if (object.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True")) ready.add(object.metadata.name);
    if (ready.size >= count) return;
  }
  throw new Error(`only ${ready.size} of ${count} pods became Ready`);
}
