import { cpuSeconds, family, median, print, pssMb } from "./measure.ts";
import { withWherry } from "./fixture.ts";

/** What does an idle stack cost? Memory of the whole family and CPU over ten seconds, no pods. */
export async function run(): Promise<void> {
  const rounds: { pss: number; cpu: number; parts: string }[] = [];
  for (let round = 0; round < 3; round++) {
    await withWherry(async (wherry) => {
      await new Promise((resolve) => setTimeout(resolve, 5_000)); // let the start settle
      const before = family(process.pid);
      const cpu = cpuSeconds(before);
      await new Promise((resolve) => setTimeout(resolve, 10_000));
      const pids = family(process.pid);
      const { api, net } = wherry.processes();
      rounds.push({
        pss: pssMb(pids),
        cpu: ((cpuSeconds(before) - cpu) / 10) * 100,
        parts: `wherry ${pssMb([process.pid]).toFixed(0)} api ${pssMb([api!]).toFixed(0)} net ${net.map((pid) => pssMb([pid]).toFixed(0)).join("+")}`,
      });
    });
  }
  print(["figure", "median of 3", "mark"], [
    ["PSS of the family, MB", median(rounds.map(({ pss }) => pss)).toFixed(0), "200 first, 150 in the end"],
    ["by process, MB", rounds.at(-1)!.parts, "(this bench is the wherry process)"],
    ["CPU, % of a core", median(rounds.map(({ cpu }) => cpu)).toFixed(2), "0.3"],
  ]);
}
