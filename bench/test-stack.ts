import { spawn } from "node:child_process";
import { startWherry } from "../src/testing/index.ts";
import { hasOracle, startOracle } from "../test/conformance/differential/oracle.ts";
import { print, spread } from "./measure.ts";

/**
 * How long does a test wait for a stack of its own? `startWherry()` of wherry/testing, and its end, beside what a test
 * environment of the usual kind starts: kube-apiserver on etcd (no controllers, no pods). They take turns.
 */
const rounds = 12;

export async function run(): Promise<void> {
  const [bare, started, ended, theirs]: number[][] = [[], [], [], []];
  await (await startWherry()).stop(); // the compile cache is warm, as with every test but the first
  for (let round = 0; round < rounds; round++) {
    bare!.push(await timed(() => new Promise<void>((resolve) => spawn(process.execPath, ["-e", "0"]).on("exit", () => resolve()))));
    let stack!: Awaited<ReturnType<typeof startWherry>>;
    started!.push(await timed(async () => (stack = await startWherry())));
    ended!.push(await timed(() => stack.stop()));
    if (!hasOracle()) continue;
    let peer!: Awaited<ReturnType<typeof startOracle>>;
    theirs!.push(await timed(async () => (peer = await startOracle())));
    await peer[Symbol.asyncDispose]();
  }
  print(["figure (ms)", "median (range)", "mark"], [
    ["bare Node, start to exit", spread(bare!), ""],
    ["startWherry() → its API answers", spread(started!), "500"],
    ["its end, nothing left", spread(ended!), ""],
    ["kube-apiserver + etcd, start → ready", hasOracle() ? spread(theirs!) : "not built: node tools/build-oracle.mjs", ""],
  ]);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
