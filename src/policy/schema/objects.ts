import { isObject } from "../../base/is-object.ts";
import { PolicyError } from "../policy-error.ts";
import { evaluatedNames } from "./evaluated.ts";
import { aCount, isCount, isNames, joined, type Keywords, memberReader, type Node, wanted } from "./node.ts";
import { compileRegular } from "./regular.ts";
import type { Check, Run } from "./run.ts";
import { counted } from "./scalars.ts";

interface Member {
  name: string;
  read(value: Record<string, unknown>): unknown;
  check: Node | undefined;
  isRequired: boolean;
}

export const objectKeywords: Keywords = (reading) => {
  const { schema, place, node, rules } = reading;
  const checks: Check[] = [];
  const min = wanted(reading, "minProperties", isCount, aCount);
  const max = wanted(reading, "maxProperties", isCount, aCount);
  if (min !== undefined && min > 0) checks.push((value, run) => Object.keys(value as object).length >= min || run.fail("minProperties", undefined, `must have at least ${counted(min, "member")}`));
  if (max !== undefined) checks.push((value, run) => Object.keys(value as object).length <= max || run.fail("maxProperties", undefined, `must have at most ${counted(max, "member")}`));

  const properties = wanted(reading, "properties", isObject, "an object of schemas") ?? {};
  const members = new Map<string, Member>();
  const member = (name: string): Member => {
    const known = members.get(name) ?? { name, read: memberReader(name), check: undefined, isRequired: false };
    members.set(name, known);
    return known;
  };
  for (const [name, inner] of Object.entries(properties)) member(name).check = reading.within(inner, "properties", name);
  for (const name of wanted(reading, "required", isNames, "a list of names") ?? []) {
    if (rules.readOnly && Object.hasOwn(properties, name) && reading.isReadOnly(properties[name])) continue;
    member(name).isRequired = true;
  }
  for (const [source, inner] of Object.entries(wanted(reading, "patternProperties", isObject, "an object of schemas") ?? {})) {
    node.patterns.push({ pattern: compileRegular(source, joined(place, ["patternProperties", source])), node: reading.within(inner, "patternProperties", source) });
  }
  const additional = schema["additionalProperties"] === undefined ? undefined : reading.within(schema["additionalProperties"], "additionalProperties");
  if (additional && additional.schema !== true) checks.push(closedCheck([...members.values()], node.patterns, additional));
  else if (members.size > 0 || node.patterns.length > 0) {
    if (members.size > 0) checks.push(membersCheck([...members.values()]));
    if (node.patterns.length > 0) checks.push(patternsCheck(node.patterns));
  }
  if (schema["propertyNames"] !== undefined) {
    const names = reading.within(schema["propertyNames"], "propertyNames");
    checks.push((value, run) => all(Object.keys(value as object), run, (name) => run.inside(name, name, names.check)));
  }
  checks.push(...dependents(reading));
  return checks;
};

/** `each` of all of them, or up to the first that is wrong. */
function all(names: readonly string[], run: Run, each: (name: string) => boolean): boolean {
  let isRight = true;
  for (let i = 0; i < names.length; i++) {
    if (each(names[i]!)) continue;
    if (!run.isCollecting) return false;
    isRight = false;
  }
  return isRight;
}

/** Members that are named, whatever else there is. */
function membersCheck(members: readonly Member[]): Check {
  return (value, run) => {
    const object = value as Record<string, unknown>;
    let isRight = true;
    for (let i = 0; i < members.length; i++) {
      const { name, read, check, isRequired } = members[i]!;
      const inner = read(object);
      if (inner === undefined) {
        if (!isRequired) continue;
        run.failAt(name, "required", undefined, "is required");
      } else if (check === undefined || (run.isCollecting ? run.inside(name, inner, check.check) : check.check(inner, run))) continue;
      if (!run.isCollecting) return false;
      isRight = false;
    }
    return isRight;
  };
}

function patternsCheck(patterns: Node["patterns"]): Check {
  return (value, run) => {
    const object = value as Record<string, unknown>;
    return all(Object.keys(object), run, (name) => {
      let isRight = true;
      for (const { pattern, node } of patterns) if (pattern.test(name) && !run.inside(name, object[name], node.check)) isRight = false;
      return isRight;
    });
  };
}

/** One look at each member that is there, and a count of those that must be. */
function closedCheck(members: readonly Member[], patterns: Node["patterns"], additional: Node): Check {
  const known = new Map(members.filter(({ check }) => check).map((member) => [member.name, member]));
  const required = members.filter(({ isRequired }) => isRequired);
  const names = [...known.keys()];
  const why = names.length === 0 ? "must not be there" : `is not known here; known are ${names.slice(0, 12).join(", ")}${names.length > 12 ? ", …" : ""}`;
  return (value, run) => {
    const object = value as Record<string, unknown>;
    let isRight = true;
    for (let i = 0; i < required.length; i++) {
      if (required[i]!.read(object) !== undefined) continue;
      if (!run.isCollecting) return false;
      isRight = run.failAt(required[i]!.name, "required", undefined, "is required");
    }
    const isRightInside = all(Object.keys(object), run, (name) => {
      const inner = object[name];
      const member = known.get(name);
      let isGood = member === undefined || run.inside(name, inner, member.check!.check);
      let isNamed = member !== undefined;
      for (const { pattern, node } of patterns) {
        if (!pattern.test(name)) continue;
        isNamed = true;
        if (!run.inside(name, inner, node.check)) isGood = false;
      }
      if (isNamed) return isGood;
      return additional.schema === false ? run.failAt(name, "additionalProperties", inner, why) : run.inside(name, inner, additional.check);
    });
    return isRight && isRightInside;
  };
}

const dependents: Keywords = (reading) => {
  const { place, rules } = reading;
  const checks: Check[] = [];
  const names = (name: string, needed: readonly string[]): void => {
    const [has, ...others] = [name, ...needed].map(memberReader) as [ReturnType<typeof memberReader>, ...ReturnType<typeof memberReader>[]];
    checks.push((value, run) => {
      const object = value as Record<string, unknown>;
      if (has(object) === undefined) return true;
      const missing = needed.filter((_, i) => others[i]!(object) === undefined);
      for (const one of missing) run.failAt(one, "dependentRequired", undefined, `is required where ${name} is`);
      return missing.length === 0;
    });
  };
  const schemas = (keyword: string, name: string, inner: unknown): void => {
    const node = reading.beside(inner, keyword, name);
    const has = memberReader(name);
    checks.push((value, run) => has(value as Record<string, unknown>) === undefined || node.check(value, run));
  };
  for (const [name, needed] of Object.entries(wanted(reading, "dependentRequired", isObject, "an object of lists") ?? {})) {
    if (!isNames(needed)) throw new PolicyError(joined(place, ["dependentRequired", name]), needed, "must be a list of names");
    names(name, needed);
  }
  for (const [name, inner] of Object.entries(wanted(reading, "dependentSchemas", isObject, "an object of schemas") ?? {})) schemas("dependentSchemas", name, inner);
  if (rules.listItems) {
    for (const [name, inner] of Object.entries(wanted(reading, "dependencies", isObject, "an object of lists or schemas") ?? {})) {
      if (isNames(inner)) names(name, inner);
      else schemas("dependencies", name, inner);
    }
  }
  return checks;
};

/** Last: what none of the others has looked at. */
export const leftProperties: Keywords = (reading) => {
  const left = reading.schema["unevaluatedProperties"];
  if (left === undefined) return [];
  const node = reading.within(left, "unevaluatedProperties");
  return [
    (value, run) => {
      const object = value as Record<string, unknown>;
      const seen = evaluatedNames(reading, object, run);
      if (seen === true) return true;
      return all(Object.keys(object).filter((name) => !seen.has(name)), run, (name) =>
        node.schema === false ? run.failAt(name, "unevaluatedProperties", object[name], "is not known here") : run.inside(name, object[name], node.check),
      );
    },
  ];
};
