import { isMembers, member, type Work } from "./values.ts";

/** A template may be told a path by who asks. */
const sourceMax = 1_000;

type Step = { deep: boolean } & ({ type: "name"; name: string } | { type: "index"; index: number } | { type: "all" } | { type: "slice"; from: number | undefined; to: number | undefined } | { type: "names"; names: string[] });

/** A JSONPath as mapping templates use it: members, indexes, slices, `*` and `..`. Filters and scripts are refused. */
export class JsonPath {
  readonly #steps: Step[];
  /** It can lead to one place alone. */
  readonly #isDefinite: boolean;

  /** @throws Error saying what is wrong */
  constructor(source: string) {
    if (source.length > sourceMax) throw new Error(`a JSONPath may have ${sourceMax} characters`);
    this.#steps = read(source.trim());
    this.#isDefinite = this.#steps.every((step) => !step.deep && (step.type === "name" || step.type === "index"));
  }

  /** What is there: a value, or a list of them where there may be several; undefined: nothing. */
  find(root: unknown, work: Work): unknown {
    let found: unknown[] = [root];
    for (const step of this.#steps) {
      const next: unknown[] = [];
      for (const value of step.deep ? found.flatMap((one) => below(one, work, 0)) : found) take(step, value, next, work);
      found = next;
    }
    return this.#isDefinite ? found[0] : found;
  }
}

function take(step: Step, value: unknown, into: unknown[], work: Work): void {
  work.step();
  const members = isMembers(value) ? value : undefined;
  const list = Array.isArray(value) ? (value as unknown[]) : undefined;
  if (step.type === "name") {
    if (members && Object.hasOwn(members, step.name)) into.push(members[step.name]);
  } else if (step.type === "names") {
    work.step(step.names.length);
    if (members) for (const name of step.names) if (Object.hasOwn(members, name)) into.push(member(members, name));
  } else if (step.type === "index") {
    const index = step.index < 0 ? (list?.length ?? 0) + step.index : step.index;
    if (list && index >= 0 && index < list.length) into.push(list[index]);
  } else {
    const items = list ?? (members && step.type === "all" ? Object.values(members) : []);
    const some = step.type === "slice" ? items.slice(step.from, step.to) : items;
    work.step(some.length);
    for (const item of some) into.push(item);
  }
}

/** A value and all within it. */
function below(value: unknown, work: Work, level: number): unknown[] {
  work.step();
  if (level > 100) work.fail("what '..' looks through is nested in more than 100 levels");
  if (typeof value !== "object" || value === null) return [];
  const inner = Array.isArray(value) ? (value as unknown[]) : isMembers(value) ? Object.values(value) : [];
  const found: unknown[] = [value];
  for (const one of inner) for (const each of below(one, work, level + 1)) found.push(each);
  return found;
}

function read(source: string): Step[] {
  // Without "$" it is taken as below it, as Jayway's does it.
  let rest = source.startsWith("$") ? source.slice(1) : `.${source}`;
  const steps: Step[] = [];
  while (rest !== "") {
    const deep = rest.startsWith("..");
    const named = /^\.\.?(?:(\*)|([^.[\]'"*?()\s]+))/.exec(rest);
    const bracket = /^(?:\.\.)?\[\s*(?:(\*)|(-?\d+)|(-?\d*):(-?\d*)|((?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?:\s*,\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))*))\s*\]/.exec(rest);
    const found = bracket ?? named;
    if (!found) {
      if (/^\[\s*\?|^\[\s*\(/.test(rest)) throw new Error("filters and scripts in a JSONPath are not honoured here");
      throw new Error(`'${rest.slice(0, 20)}' is not understood as a JSONPath`);
    }
    rest = rest.slice(found[0].length);
    if (named && !bracket) steps.push(named[1] ? { deep, type: "all" } : { deep, type: "name", name: named[2]! });
    else if (bracket![1]) steps.push({ deep, type: "all" });
    else if (bracket![2] !== undefined) steps.push({ deep, type: "index", index: Number(bracket![2]) });
    else if (bracket![5] !== undefined) {
      const names = [...bracket![5].matchAll(/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/g)].map((quoted) => (quoted[1] ?? quoted[2]!).replace(/\\(.)/g, "$1"));
      steps.push(names.length === 1 ? { deep, type: "name", name: names[0]! } : { deep, type: "names", names });
    } else steps.push({ deep, type: "slice", from: bracket![3] ? Number(bracket![3]) : undefined, to: bracket![4] ? Number(bracket![4]) : undefined });
    if (steps.length > 50) throw new Error("a JSONPath may have 50 steps");
  }
  return steps;
}
