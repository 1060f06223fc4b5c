import { readFileSync } from "node:fs";
import type { Answer } from "./judges.ts";

/** Messages of what is invalid are everybody's own: Wherry's name the field. */
const comparable = (line: string): string => line.replace(/^(Accepted=False Invalid): .*$/s, "$1");

/** "WORLD: WHOSE at WHOM -> what ours says", where that is other than theirs. */
export function differencesOf(world: string, ours: Answer, theirs: Answer): string[] {
  if (ours.refused !== undefined || theirs.refused !== undefined) return (ours.refused === undefined) === (theirs.refused === undefined) ? [] : [`${world}: ${ours.refused === undefined ? "taken" : "refused by its definition"}`];
  const found: string[] = [];
  for (const subject of [...new Set([...Object.keys(ours.statuses), ...Object.keys(theirs.statuses)])].sort()) {
    const [mine, other] = [ours.statuses[subject] ?? {}, theirs.statuses[subject] ?? {}];
    for (const place of [...new Set([...Object.keys(mine), ...Object.keys(other)])].sort()) {
      const [a, b] = [mine[place], other[place]].map((lines) => lines?.map(comparable).join(" | ") ?? "nothing");
      if (a !== b) found.push(`${world}: ${subject} at ${place} -> ${a}`);
    }
  }
  return found;
}

export const knownIn = (file: string): string[] => readFileSync(file, "utf8").split("\n").filter((line) => line !== "" && !line.startsWith("#") && !line.startsWith("== "));
