import { spawn, type ChildProcess } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { resources } from "../src/api/resources.ts";
import { fixturePod, untilReady, withWherry } from "./fixture.ts";
import { print, spread } from "./measure.ts";

/** A hundred pods from apply to Ready, against spawning the same hundred programs bare, in turn. */
const count = Number(process.env["PODS"] ?? 100);
const rounds = Number(process.env["ROUNDS"] ?? 3);

export async function run(): Promise<void> {
  const rows: string[][] = [];
  for (const isolation of ["isolated", "plain"] as const) {
    const [bare, pods]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      await withWherry(
        async (wherry, folder) => {
          const turns = [
            async () => void bare.push(await bareRound(join(folder, "app", "server.cjs"))),
            async () => {
              const began = performance.now();
              await Promise.all(Array.from({ length: count }, (_, index) => wherry.client.create(resources.pods, "default", fixturePod(`fixture-${index}`))));
              await untilReady(wherry, "default", count);
              pods.push(performance.now() - began);
              // They must not take the machine's time from who comes after.
              await Promise.all(Array.from({ length: count }, (_, index) => wherry.client.delete(resources.pods, "default", `fixture-${index}`, { gracePeriodSeconds: 0 })));
              while ((await wherry.client.list(resources.pods, { namespace: "default" })).items.length > 0) await new Promise((resolve) => setTimeout(resolve, 50));
            },
          ];
          for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn();
        },
        { isolation },
      );
    }
    rows.push([isolation, spread(bare), spread(pods), spread(pods.map((ms, index) => ms / bare[index]!), 2), isolation === "isolated" ? "≤ 1.8 (goal 1.4)" : "≤ 1.3"]);
  }
  print(["mode", `${count} bare, ms`, `${count} pods → Ready, ms`, "ratio", "mark"], rows);
}

/** Spawns them all and waits until each answers on its port: the same work without Wherry. */
async function bareRound(file: string): Promise<number> {
  const began = performance.now();
  const children: ChildProcess[] = [];
  try {
    await Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const port = 20_000 + ((process.pid + index) % 10_000);
        const child = spawn(process.execPath, [file], { stdio: ["ignore", "pipe", "ignore"], env: { PORT: String(port) } });
        children.push(child);
        await new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
        await new Promise<void>((resolve, reject) => {
          const socket = connect(port, "127.0.0.1", () => {
            socket.end("GET / HTTP/1.0\r\n\r\n");
            socket.resume().on("end", () => resolve());
          });
          socket.on("error", reject);
        });
      }),
    );
    return performance.now() - began;
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}
