import { CelEvaluationError } from "../errors.ts";
import { Opaque } from "../values.ts";
import { declare } from "./declare.ts";

/** Semantic versions 2.0.0. Source: k8s.io/apiserver/pkg/cel/library/semverlib.go. */
class Semver extends Opaque {
  readonly typeName = "kubernetes.Semver";
  readonly numbers: readonly bigint[];
  readonly pre: readonly string[];
  constructor(numbers: readonly bigint[], pre: readonly string[]) {
    super();
    [this.numbers, this.pre] = [numbers, pre];
  }
  override equals(other: unknown): boolean {
    return other instanceof Semver && this.compare(other) === 0;
  }
  /** Builds do not count; a pre-release comes before its release. */
  compare(other: Semver): number {
    for (let at = 0; at < 3; at++) if (this.numbers[at] !== other.numbers[at]) return this.numbers[at]! < other.numbers[at]! ? -1 : 1;
    if (this.pre.length === 0 || other.pre.length === 0) return Math.sign(other.pre.length - this.pre.length);
    for (let at = 0; at < Math.min(this.pre.length, other.pre.length); at++) {
      const [a, b] = [this.pre[at]!, other.pre[at]!];
      if (a === b) continue;
      const [numericA, numericB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
      if (numericA !== numericB) return numericA ? -1 : 1;
      return (numericA ? BigInt(a) < BigInt(b) : a < b) ? -1 : 1;
    }
    return Math.sign(this.pre.length - other.pre.length);
  }
}

const uint64Max = (1n << 64n) - 1n;
const form = /^([0-9]+)\.([0-9]+)\.([0-9]+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$/;

function parse(text: string): Semver {
  const fail = (reason: string): never => {
    throw new CelEvaluationError(reason);
  };
  if (text.length > 1024) return fail("Version string too long");
  if (text === "") return fail("Version string empty");
  const match = form.exec(text);
  if (!match) return fail(text.split(".").length < 3 ? "No Major.Minor.Patch elements found" : `Invalid character(s) found in version ${JSON.stringify(text)}`);
  const numbers = match.slice(1, 4).map((part, index) => {
    if (part!.length > 1 && part!.startsWith("0")) return fail(`${["Major", "Minor", "Patch"][index]} number must not contain leading zeroes ${JSON.stringify(part)}`);
    const number = BigInt(part!);
    return number > uint64Max ? fail(`strconv.ParseUint: parsing ${JSON.stringify(part)}: value out of range`) : number;
  });
  const pre = match[4]?.split(".") ?? [];
  for (const part of pre) {
    if (part === "") return fail("Prerelease is empty");
    if (/^0\d+$/.test(part)) return fail(`Numeric PreRelease version must not contain leading zeroes ${JSON.stringify(part)}`);
  }
  if (match[5]?.split(".").includes("")) return fail("Build meta data is empty");
  return new Semver(numbers, pre);
}

/** "v1.02" is 1.2.0. */
function normalize(text: string): string {
  const parts = /^([^.]*)(?:\.([^.]*))?(?:\.(.*))?$/s.exec(text.replace(/^v/, ""))!.slice(1).filter((part) => part !== undefined);
  const trimmed = parts.map((part) => (part.length > 1 ? part.replace(/^0+(?=\d)/, "") : part));
  if (trimmed.length < 3 && /[+-]/.test(trimmed.at(-1)!)) throw new CelEvaluationError("short version cannot contain PreRelease/Build meta data");
  while (trimmed.length < 3) trimmed.push("0");
  return trimmed.join(".");
}
const succeeds = (read: () => unknown): boolean => {
  try {
    read();
    return true;
  } catch (error) {
    if (error instanceof CelEvaluationError) return false;
    throw error;
  }
};
const read = (text: string, loose = false): Semver => parse(loose ? normalize(text) : text);

export const semver = declare([
  ["semver", "(string): kubernetes.Semver", ([text]) => read(text)],
  ["semver", "(string, bool): kubernetes.Semver", ([text, loose]) => read(text, loose)],
  ["isSemver", "(string): bool", ([text]) => succeeds(() => read(text))],
  ["isSemver", "(string, bool): bool", ([text, loose]) => succeeds(() => read(text, loose))],
  ["major", "kubernetes.Semver.(): int", ([value]) => BigInt.asIntN(64, value.numbers[0])],
  ["minor", "kubernetes.Semver.(): int", ([value]) => BigInt.asIntN(64, value.numbers[1])],
  ["patch", "kubernetes.Semver.(): int", ([value]) => BigInt.asIntN(64, value.numbers[2])],
  ["isGreaterThan", "kubernetes.Semver.(kubernetes.Semver): bool", ([a, b]) => a.compare(b) > 0],
  ["isLessThan", "kubernetes.Semver.(kubernetes.Semver): bool", ([a, b]) => a.compare(b) < 0],
  ["compareTo", "kubernetes.Semver.(kubernetes.Semver): int", ([a, b]) => BigInt(a.compare(b))],
]);
