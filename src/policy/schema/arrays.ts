import { PolicyError } from "../policy-error.ts";
import { canonical } from "./compare.ts";
import { evaluatedItems } from "./evaluated.ts";
import { aCount, isCount, isFlag, isList, type Keywords, type Node, wanted } from "./node.ts";
import type { Check } from "./run.ts";
import { counted } from "./scalars.ts";

export const arrayKeywords: Keywords = (reading) => {
  const { schema, place, rules } = reading;
  const checks: Check[] = [];
  const min = wanted(reading, "minItems", isCount, aCount);
  const max = wanted(reading, "maxItems", isCount, aCount);
  if (min !== undefined && min > 0) checks.push((value, run) => (value as unknown[]).length >= min || run.fail("minItems", value, `must have at least ${counted(min, "item")}`));
  if (max !== undefined) checks.push((value, run) => (value as unknown[]).length <= max || run.fail("maxItems", value, `must have at most ${counted(max, "item")}`));
  if (wanted(reading, "uniqueItems", isFlag, "a boolean")) checks.push(uniqueItems);

  const isOld = rules.listItems && Array.isArray(schema["items"]);
  if (!isOld && Array.isArray(schema["items"])) throw new PolicyError(`${place}.items`, "[…]", "must be a schema in this dialect; a list of them is prefixItems");
  const [firstName, restName] = isOld ? (["items", "additionalItems"] as const) : (["prefixItems", "items"] as const);
  const first = wanted(reading, firstName, isList, "a list of schemas")?.map((item, i) => reading.within(item, firstName, i));
  const rest = schema[restName] === undefined ? undefined : reading.within(schema[restName], restName);
  if (first || rest) checks.push(itemsCheck(first ?? [], rest));

  if (schema["contains"] !== undefined) {
    const contained = reading.within(schema["contains"], "contains");
    const [least = 1, most = Infinity] = [wanted(reading, "minContains", isCount, aCount), wanted(reading, "maxContains", isCount, aCount)];
    checks.push((value, run) => {
      let count = 0;
      for (const item of value as unknown[]) {
        if (run.tries(contained.check, item)) count++;
        if (count > most) return run.fail("maxContains", value, `must have at most ${counted(most, "item")} of the kind that the schema names in "contains"`);
      }
      return count >= least || run.fail(least === 1 ? "contains" : "minContains", value, `must have at least ${counted(least, "item")} of the kind that the schema names in "contains"`);
    });
  }
  return checks;
};

/** Last: what none of the others has looked at. */
export const leftItems: Keywords = (reading) => {
  const left = reading.schema["unevaluatedItems"];
  if (left === undefined) return [];
  const node = reading.within(left, "unevaluatedItems");
  return [
    (value, run) => {
      const seen = evaluatedItems(reading, value as unknown[], run);
      if (seen === true) return true;
      let isRight = true;
      for (const [i, item] of (value as unknown[]).entries()) {
        if (seen.has(i) || run.inside(i, item, node.check)) continue;
        if (!run.isCollecting) return false;
        isRight = false;
      }
      return isRight;
    },
  ];
};

function itemsCheck(first: readonly Node[], rest: Node | undefined): Check {
  return (value, run) => {
    const items = value as unknown[];
    let isRight = true;
    const most = rest ? items.length : Math.min(items.length, first.length);
    for (let i = 0; i < most; i++) {
      const { check } = first[i] ?? rest!;
      if (run.isCollecting ? run.inside(i, items[i], check) : check(items[i], run)) continue;
      if (!run.isCollecting) return false;
      isRight = false;
    }
    return isRight;
  };
}

/** By a set of texts: comparing each with each would let a client decide how long it takes. */
const uniqueItems: Check = (value, run) => {
  const items = value as unknown[];
  const seen = new Set<string>();
  for (const [i, item] of items.entries()) {
    const text = canonical(item);
    if (text === undefined) return run.failAt(i, "uniqueItems", undefined, "must be nested less deeply: it cannot be compared");
    if (!run.step(1 + (text.length >> 6))) return false;
    if (seen.has(text)) return run.failAt(i, "uniqueItems", item, "must differ from the items before it");
    seen.add(text);
  }
  return true;
};
