import { PolicyError } from "../policy-error.ts";
import { isList, joined, type Keywords, type Node, type Reading, wanted } from "./node.ts";
import { type Check, depthMax, type Failure, type Run } from "./run.ts";

/** Keywords that apply other schemas to the same value. */
export const combinedKeywords: Keywords = (reading) => {
  const { schema } = reading;
  const checks: Check[] = [];
  if (schema["$ref"] !== undefined) {
    const target = reading.resolve(schema["$ref"]);
    reading.node.inPlace.push(target);
    checks.push((value, run) => {
      if (run.depth >= depthMax) return run.fail("$ref", undefined, `must be nested less deeply: ${depthMax} levels are followed`);
      run.depth++;
      const isRight = target.check(value, run);
      run.depth--;
      return isRight;
    });
  }
  const list = (keyword: string): Node[] | undefined => {
    const schemas = wanted(reading, keyword, isList, "a list of schemas");
    if (schemas?.length === 0) throw new PolicyError(joined(reading.place, [keyword]), schemas, "must have at least one schema");
    return schemas?.map((inner, i) => reading.beside(inner, keyword, i));
  };
  for (const { check } of list("allOf") ?? []) checks.push((value, run) => check(value, run));
  const any = list("anyOf");
  if (any) {
    checks.push((value, run) => {
      for (const node of any) if (run.tries(node.check, value)) return true;
      return run.isCollecting ? nearest("anyOf", any, value, run) : false;
    });
  }
  const one = list("oneOf");
  if (one) {
    checks.push((value, run) => {
      let count = 0;
      for (const node of one) if (run.tries(node.check, value) && ++count > 1) return run.fail("oneOf", value, `must be one of ${one.length} alternatives alone, and is several`);
      if (count === 1) return true;
      return run.isCollecting ? nearest("oneOf", one, value, run) : false;
    });
  }
  if (schema["not"] !== undefined) {
    const not = reading.beside(schema["not"], "not");
    checks.push((value, run) => !run.tries(not.check, value) || run.fail("not", value, 'must not be of the kind that the schema names in "not"'));
  }
  checks.push(...conditional(reading));
  return checks;
};

function conditional(reading: Reading): Check[] {
  const { schema } = reading;
  const branch = (keyword: string): Node | undefined => (schema[keyword] === undefined ? undefined : reading.beside(schema[keyword], keyword));
  const [condition, then, other] = [branch("if"), branch("then"), branch("else")];
  if (!condition || (!then && !other)) return [];
  return [
    (value, run) => {
      const next = run.tries(condition.check, value) ? then : other;
      return next === undefined || next.check(value, run);
    },
  ];
}

/** None of the alternatives: what is wrong by the one that was probably meant. Of another type, or of another constant, it was not. */
function nearest(keyword: string, alternatives: readonly Node[], value: unknown, run: Run): false {
  const here = run.pointer;
  let best: Failure[] = [];
  let least = Infinity;
  for (const node of alternatives) {
    if (!run.step()) break;
    const failures = run.failuresOf(node.check, value);
    let far = 0;
    for (const failure of failures) far += failure.pointer === here && failure.keyword === "type" ? 1000 : failure.keyword === "const" || failure.keyword === "enum" ? 100 : 1;
    if (far < least) [best, least] = [failures, far];
  }
  const isMeant = least < 1000 && alternatives.length > 1;
  if (!isMeant) run.fail(keyword, value, `must be one of ${alternatives.length} alternatives, and is none`);
  else run.add(best.map((failure) => ({ ...failure, why: `${failure.why} (by the nearest of ${alternatives.length} alternatives)` })));
  return false;
}
