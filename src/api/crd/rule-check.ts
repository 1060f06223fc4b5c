import { typeOfSchema } from "../cel/schema-type.ts";
import { type FieldError, forbidden, invalid } from "../field.ts";
import type { JSONSchemaProps } from "./json-schema.ts";
import { rulesOf } from "./rules.ts";
import { CustomSchema } from "./schema.ts";

/** What one rule of a definition may cost at worst, and all of them. Source: apiextensions-apiserver validation.go. */
const ruleCostMax = 10_000_000;
const definitionCostMax = 100_000_000;
/** No object is larger than a request: a bound for what has none. */
const requestBytesMax = 3 * 1024 * 1024;

/** How often a node can come in one object: the product of the bounds around it. */
export class Cardinality {
  static readonly root = new Cardinality(1);
  static costs = (): RuleCosts => new RuleCosts();
  /** Undefined: a list or a map around it has no bound. */
  readonly max: number | undefined;
  constructor(max: number | undefined) {
    this.max = max;
  }

  inside({ type, additionalProperties, maxProperties, maxItems }: JSONSchemaProps): Cardinality {
    const factor = type === "object" && additionalProperties !== undefined ? maxProperties : type === "array" ? maxItems : 1;
    return new Cardinality(this.max === undefined || factor === undefined ? undefined : this.max * Math.max(0, factor));
  }
}

export class RuleCosts {
  #total = 0;
  readonly #expensive: { path: string; cost: number }[] = [];

  add(path: string, cost: number): void {
    this.#total += cost;
    if (cost < definitionCostMax / 100) return;
    this.#expensive.push({ path, cost });
    this.#expensive.sort((a, b) => b.cost - a.cost);
    this.#expensive.splice(4);
  }

  errors(path: string): FieldError[] {
    if (this.#total <= definitionCostMax) return [];
    return [
      ...this.#expensive.map((rule) => forbidden(rule.path, "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema")),
      forbidden(path, costText("x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", this.#total, definitionCostMax)),
    ];
  }
}

function costText(what: string, cost: number, max: number): string {
  const factor = cost / max;
  const text = factor > 100 ? "more than 100x" : factor < 1.5 ? `${factor.toFixed(6)}x` : `${factor.toFixed(1)}x`;
  return `${what} exceeds budget by factor of ${text} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
}

export interface RulePlace {
  readonly isResource: boolean;
  readonly noOldSelf: string | undefined;
  readonly cardinality: Cardinality;
  readonly costs: RuleCosts;
}

/** Whether the rules of a node compile, and what they may cost. */
export function checkRules(schema: JSONSchemaProps, path: string, { isResource, noOldSelf, cardinality, costs }: RulePlace): FieldError[] {
  const errors: FieldError[] = [];
  const node = new CustomSchema(schema);
  const times = cardinality.max ?? Math.floor(requestBytesMax / ((typeOfSchema(node, isResource)?.minSize ?? 1) + 1));
  for (const [index, { rule, program, message, usesOldSelf, error, messageError }] of rulesOf(node, isResource).entries()) {
    const at = `${path}.x-kubernetes-validations[${index}]`;
    const cost = times === 0 ? 0 : (program?.estimatedCost ?? 0) * times;
    if (cost > ruleCostMax) errors.push(forbidden(`${at}.rule`, costText("estimated rule cost", cost, ruleCostMax)));
    costs.add(`${at}.rule`, cost);
    if (error !== undefined) errors.push(invalid(`${at}.rule`, rule, error));
    if (messageError !== undefined) errors.push(invalid(`${at}.messageExpression`, rule, messageError));
    else if (message) {
      if (message.estimatedCost > ruleCostMax) errors.push(forbidden(`${at}.messageExpression`, costText("estimated messageExpression cost", message.estimatedCost, ruleCostMax)));
      costs.add(`${at}.messageExpression`, message.estimatedCost);
    }
    if (usesOldSelf) {
      if (noOldSelf !== undefined) errors.push(invalid(`${at}.rule`, rule.rule, `oldSelf cannot be used on the uncorrelatable portion of the schema within ${noOldSelf}`));
    } else if (rule.optionalOldSelf !== undefined && error === undefined) errors.push(invalid(`${at}.optionalOldSelf`, rule.optionalOldSelf, "may not be set if oldSelf is not used in rule"));
  }
  return errors;
}
