import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { socketPath } from "../src/base/socket-path.ts";
import { resources } from "../src/api/resources.ts";
import { entry } from "../src/wherry.ts";
import { fixturePod, untilReady, withWherry } from "./fixture.ts";
import { print, spread } from "./measure.ts";

/** How long until the API answers, and until a pod is Ready? Warm compile cache; beside it, what bare Node takes. */
export async function run(): Promise<void> {
  const api: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < 7; round++) {
    bare.push(await timed(() => new Promise<void>((resolve) => spawn(process.execPath, ["-e", "0"]).on("exit", () => resolve()))));
    api.push(await untilAnswering());
  }
  const pods: number[] = [];
  const direct: number[] = [];
  await withWherry(async (wherry, folder) => {
    for (let round = 0; round < 7; round++) {
      direct.push(await timed(() => bareServer(join(folder, "app", "server.cjs"))));
      const name = `fixture-${round}`;
      pods.push(
        await timed(async () => {
          await wherry.client.create(resources.pods, "default", fixturePod(name));
          await untilReady(wherry, "default", 1);
        }),
      );
      await wherry.client.delete(resources.pods, "default", name, { gracePeriodSeconds: 0 });
      while (await wherry.client.get(resources.pods, "default", name).catch(() => undefined)) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  print(["figure (ms)", "median (range)", "mark"], [
    ["bare Node, start to exit", spread(bare), ""],
    ["process start → API answers", spread(api), "500 warm .ts, goal 400"],
    ["bare Node server, spawn → HTTP", spread(direct), ""],
    ["fixture pod: create → Ready", spread(pods), "1000"],
  ]);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function untilAnswering(): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const dataDir = join(folder, "data");
  const socket = socketPath(dataDir, "api.sock");
  const began = performance.now();
  const child = spawn(process.execPath, [entry, "up", "--data-dir", dataDir], { stdio: "ignore", env: { ...process.env, HOME: folder, KUBECONFIG: join(folder, "kubeconfig") } });
  const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  try {
    for (;;) {
      if (await answers(socket)) return performance.now() - began;
      if (performance.now() - began > 20_000) throw new Error("the API did not answer within 20 s");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    child.kill("SIGINT");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ socketPath: socket, path: "/readyz" }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on("error", () => resolve(false));
    call.end();
  });
}

async function bareServer(file: string): Promise<void> {
  const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "ignore"], env: { PORT: "0" } });
  await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  child.kill("SIGKILL");
}
