import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { childFlags } from "../src/cli/up.ts";
import { entry, type Wherry } from "../src/wherry.ts";
import { appFolder, server } from "../test/scenarios/edit-loop.ts";
import { withWherry } from "./fixture.ts";
import { print, spread } from "./measure.ts";

const rounds = 9;
const pauseMs = 5;

/** How long from saving a file until the new code answers? Beside it `node --watch` with the same program, bare. */
export async function run(): Promise<void> {
  const rows: string[][] = [];
  const note = ({ times, refused }: { times: number[]; refused: number }, what: string, mark = "") => rows.push([what, spread(times), String(refused), mark]);
  note(await bare(), "node --watch, bare");
  for (const replicas of [1, 3]) {
    await withWherry(async (wherry, folder) => {
      const app = join(folder, `edit-${replicas}`);
      for (const [name, text] of Object.entries(appFolder({ replicas, program: server("v0") }))) write(join(app, name), text);
      const watching = spawn(process.execPath, [...childFlags, entry, "internal:apply", JSON.stringify({ dataDir: wherry.dataDir, paths: [app], links: [], watch: true })], { env: { ...process.env, HOME: folder }, stdio: ["ignore", "pipe", "ignore", "ipc"] });
      try {
        const reloaded = counted(watching, /runs the new code/);
        await new Promise((resolve) => watching.once("message", resolve));
        note(await measured(urlOf(wherry), join(app, "server.js"), reloaded), `wherry up, ${replicas} replica${replicas > 1 ? "s, the first" : ""}`, "500");
      } finally {
        await ended(watching);
      }
    });
  }
  print(["save → new code answers (ms)", "median (range)", "requests refused", "mark"], rows);
}

async function bare(): Promise<{ times: number[]; refused: number }> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-bench-"));
  const file = join(folder, "server.mjs");
  // Any free port, told by the program: the same one each time.
  const port = 20_000 + (process.pid % 10_000);
  const program = (version: string) => server(version).replace("8080", `${port}, "127.0.0.1"`);
  write(file, program("v0"));
  const child = spawn(process.execPath, ["--watch", file], { stdio: "ignore" });
  try {
    while ((await answer(`http://127.0.0.1:${port}`)) === undefined) await pause(20);
    return await measured(`http://127.0.0.1:${port}`, file, async () => {}, program);
  } finally {
    await ended(child);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measured(url: string, file: string, settled: () => Promise<void>, program = server): Promise<{ times: number[]; refused: number }> {
  const times: number[] = [];
  let refused = 0;
  for (let round = 1; round <= rounds; round++) {
    await pause(500);
    const done = settled();
    const began = performance.now();
    // In place: `node --watch` does not see a second file that is moved over the first, as many editors save.
    write(file, program(`v${round}`));
    for (;;) {
      const text = await answer(url);
      if (text?.startsWith(`v${round} `)) break;
      if (text === undefined) refused++;
      if (performance.now() - began > 20_000) throw new Error(`the new code does not answer: ${readFileSync(file, "utf8")}`);
      await pause(pauseMs);
    }
    times.push(performance.now() - began);
    await done;
  }
  return { times, refused };
}

function answer(url: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const request = get(url, { agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(text)).on("error", () => resolve(undefined));
    });
    request.on("error", () => resolve(undefined));
  });
}

/** Each call resolves when the child has said it once more. */
function counted(child: ChildProcess, pattern: RegExp): () => Promise<void> {
  let waiting: (() => void)[] = [];
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    if (!pattern.test(text)) return;
    for (const go of waiting) go();
    waiting = [];
  });
  return () => new Promise((resolve) => waiting.push(resolve));
}

function urlOf(wherry: Wherry): string {
  const { address } = wherry.hostAddresses().find(({ service }) => service === "app")!;
  return `http://${address}`;
}

function ended(child: ChildProcess): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  return gone;
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
