import { readdirSync, readFileSync } from "node:fs";

/** Figures of whole processes, read off /proc, and the middle of several runs. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export const spread = (values: readonly number[], digits = 0): string => `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;

/** A process and everything below it, by parent. */
export function family(root: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    } catch {
      // gone between the two reads
    }
  }
  const found = [root];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

/** Proportional set size in MB: shared pages counted once over all who share them. Pss_Anon: without those of files, such as the program. */
export function pssMb(pids: readonly number[], field: "Pss" | "Pss_Anon" = "Pss"): number {
  let kilobytes = 0;
  for (const pid of pids) {
    try {
      kilobytes += Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
    } catch {
      // gone, or not ours to read
    }
  }
  return kilobytes / 1024;
}

/** As if nobody else on the machine ran the same programs: pages of files are counted once over these processes, by the largest share of each file. */
export function aloneMb(pids: readonly number[]): number {
  const files = new Map<string, number>();
  for (const pid of pids) {
    try {
      let file = "";
      const own = new Map<string, number>();
      for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
        const [, path] = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+\s*(.*)$/.exec(line) ?? [];
        if (path !== undefined) file = path;
        const [, kilobytes, anonymous] = /^(?:Rss:\s+(\d+)|Anonymous:\s+(\d+))/.exec(line) ?? [];
        own.set(file, (own.get(file) ?? 0) + Number(kilobytes ?? 0) - Number(anonymous ?? 0));
      }
      for (const [path, kilobytes] of own) files.set(path, Math.max(files.get(path) ?? 0, kilobytes));
    } catch {
      // gone, or not ours to read
    }
  }
  return pssMb(pids, "Pss_Anon") + files.values().reduce((sum, kilobytes) => sum + kilobytes, 0) / 1024;
}

/** CPU seconds used so far by all threads of these processes. */
export function cpuSeconds(pids: readonly number[]): number {
  let nanoseconds = 0;
  for (const pid of pids) {
    try {
      for (const task of readdirSync(`/proc/${pid}/task`)) nanoseconds += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // gone
    }
  }
  return nanoseconds / 1e9;
}

export function print(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, index) => Math.max(title.length, ...rows.map((row) => row[index]!.length)));
  for (const row of [head, ...rows]) process.stdout.write(`${row.map((cell, index) => cell.padEnd(widths[index]! + 2)).join("").trimEnd()}\n`);
}
