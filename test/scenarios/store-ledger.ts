import { readFileSync } from "node:fs";

/** A write that `store-writer.ts` was told is durable. */
export interface Line {
  type: "put" | "delete";
  key: string;
  revision: number;
  n: number;
}

export function readLedger(file: string): Line[] {
  // The last line may be in half: its write was acknowledged, but nobody has been told.
  const whole = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return whole.filter((line) => /^(put|delete) /.test(line)).map((line) => {
    const [type, key, revision, n] = line.split(" ") as ["put" | "delete", string, string, string];
    return { type, key, revision: Number(revision), n: Number(n) };
  });
}
