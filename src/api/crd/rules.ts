import { type CelProgram, CelBudgetError, CelCompileError, CelEvaluationError, compileCel, type CompileOptions, type CostBudget } from "../cel/program.ts";
import { fromJson } from "../cel/from-json.ts";
import { typeOfSchema } from "../cel/schema-type.ts";
import { optionalOf, types } from "../cel/types.ts";
import { Optional } from "../cel/values.ts";
import { duplicate, type FieldError, forbidden, invalid, required } from "../field.ts";
import { Correlation } from "./correlation.ts";
import type { JSONSchemaProps, ValidationRule } from "./json-schema.ts";
import { CustomSchema } from "./schema.ts";
import { childrenOf } from "./structural.ts";

/**
 * The rules (x-kubernetes-validations) of a schema, evaluated on an object and, where they speak of oldSelf, on what
 * it was before.
 * Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go.
 */
export interface CompiledRule {
  readonly rule: ValidationRule;
  readonly program: CelProgram | undefined;
  readonly message: CelProgram | undefined;
  readonly usesOldSelf: boolean;
  /** Why it could not be compiled. */
  readonly error?: string;
  readonly messageError?: string;
}

export interface RuleOptions {
  /** The object as it was; undefined on create. */
  old?: unknown;
  budget: CostBudget;
  /** Told what was wrong before and has not changed. */
  warn?: (text: string) => void;
}

/** Stops at the first rule that the budget does not allow. */
export function validateRules(schema: CustomSchema, value: unknown, { old, budget, warn }: RuleOptions, path = ""): FieldError[] {
  if (!hasRules(schema.props)) return [];
  const evaluation = new Evaluation(budget, warn);
  const correlation = old === undefined ? undefined : new Correlation(schema, value, old);
  evaluation.node(schema, value, old, path, { current: correlation, nearest: undefined }, true);
  return evaluation.errors;
}

const withRules = new WeakMap<JSONSchemaProps, boolean>();

/** Whether a rule is stated here or anywhere below. */
export function hasRules(props: JSONSchemaProps): boolean {
  let known = withRules.get(props);
  if (known === undefined) withRules.set(props, (known = (props["x-kubernetes-validations"]?.length ?? 0) > 0 || childrenOf(props).some(hasRules)));
  return known;
}

const compiled = new WeakMap<CustomSchema, readonly CompiledRule[]>();

/** Each rule of a node, compiled when first needed. `isResource`: the node is an object with apiVersion, kind and metadata. */
export function rulesOf(schema: CustomSchema, isResource: boolean): readonly CompiledRule[] {
  let rules = compiled.get(schema);
  if (!rules) {
    compiled.set(schema, (rules = (schema.props["x-kubernetes-validations"] ?? []).map((rule) => compileRule(rule, schema, isResource))));
  }
  return rules;
}

function compileRule(rule: ValidationRule, self: CustomSchema, isResource: boolean): CompiledRule {
  const options: Omit<CompileOptions, "result"> = rule.optionalOldSelf
    ? { variables: { self }, types: { oldSelf: optionalOf(typeOfSchema(self, isResource) ?? types.dyn) }, ...(isResource && { roots: ["self"] }) }
    : { variables: { self, oldSelf: self }, ...(isResource && { roots: ["self", "oldSelf"] }) };
  if (rule.rule.trim() === "") return { rule, program: undefined, message: undefined, usesOldSelf: false };
  let program: CelProgram;
  try {
    program = compileCel(rule.rule, { ...options, result: "bool" });
  } catch (error) {
    return { rule, program: undefined, message: undefined, usesOldSelf: false, error: compileText(error, "cel expression must evaluate to a bool", "compilation failed: ") };
  }
  const usesOldSelf = program.variables.has("oldSelf");
  if (!rule.messageExpression) return { rule, program, message: undefined, usesOldSelf };
  try {
    return { rule, program, message: compileCel(rule.messageExpression, { ...options, result: "string" }), usesOldSelf };
  } catch (error) {
    return { rule, program, message: undefined, usesOldSelf, messageError: compileText(error, "messageExpression must evaluate to a string", "messageExpression compilation failed: ") };
  }
}

function compileText(error: unknown, otherType: string, prefix: string): string {
  if (!(error instanceof CelCompileError)) throw error;
  return error.message.startsWith("must evaluate to") ? otherType : prefix + error.message;
}

/** The place, and the nearest one above it of which it is known what was there before. */
interface Ratchet {
  readonly current: Correlation | undefined;
  readonly nearest: Correlation | undefined;
}
const unchanged = ({ current, nearest }: Ratchet): boolean => (current ?? nearest)?.unchanged ?? false;

const messageBytesMax = 5 * 1024;

class Evaluation {
  readonly errors: FieldError[] = [];
  readonly #budget: CostBudget;
  readonly #warn: ((text: string) => void) | undefined;
  #over = false;

  constructor(budget: CostBudget, warn: ((text: string) => void) | undefined) {
    this.#budget = budget;
    this.#warn = warn;
  }

  node(schema: CustomSchema, value: unknown, old: unknown, path: string, ratchet: Ratchet, isResource: boolean): void {
    if (value === null || value === undefined || this.#over || !hasRules(schema.props)) return;
    this.#rules(schema, value, old ?? undefined, path, ratchet, isResource);
    if (Array.isArray(value)) {
      if (!schema.items || !hasRules(schema.items.props)) return;
      const items = new Correlation(schema, value, old);
      for (const [index, item] of value.entries()) this.node(schema.items, item, items.item(index)?.old, `${path}[${index}]`, stepInto(ratchet, (current) => current.item(index)), schema.items.embeddedResource);
    } else if (typeof value === "object") {
      const before = typeof old === "object" && old !== null && !Array.isArray(old) ? (old as Record<string, unknown>) : {};
      for (const [key, item] of Object.entries(value)) {
        const named = schema.fields.get(key);
        const field = named ?? schema.additionalProperties;
        if (!field) continue;
        const inside = ratchet.nearest === undefined && (key === "apiVersion" || key === "kind") ? { current: undefined, nearest: undefined } : stepInto(ratchet, (current) => current.field(key));
        this.node(field, item, Object.hasOwn(before, key) ? before[key] : undefined, named ? (path === "" ? key : `${path}.${key}`) : `${path}[${key}]`, inside, field.embeddedResource);
      }
    }
  }

  #rules(schema: CustomSchema, value: unknown, old: unknown, path: string, ratchet: Ratchet, isResource: boolean): void {
    const at = path === "" ? "<nil>" : path;
    const type = schema.type ?? "";
    for (const { rule, program, message, usesOldSelf, error } of rulesOf(schema, isResource)) {
      if (error !== undefined) this.errors.push(invalid(at, type, `rule compile error: ${error}`));
      if (!program) continue;
      // A rule about change has nothing to say of what is new, unless it says that it has.
      if (usesOldSelf && old === undefined && !rule.optionalOldSelf) continue;
      const before = !rule.optionalOldSelf ? old : old === undefined ? Optional.none : new Optional(fromJson(old, schema, isResource));
      const activation = { self: value, ...(usesOldSelf && { oldSelf: before }) };
      let holds: unknown;
      try {
        holds = program.evaluate(activation, this.#budget);
      } catch (caught) {
        if (caught instanceof CelBudgetError) return this.#stop(invalid(at, type, caught.message.startsWith("operation cancelled") ? `'${caught.message}': no further validation rules will be run due to call cost exceeds limit for rule: ${ruleText(rule)}` : caught.message));
        if (!(caught instanceof CelEvaluationError)) throw caught;
        const text = caught.message;
        if (text.startsWith("no such overload")) this.errors.push(invalid(at, type, `'${text}': call arguments did not match a supported operator, function or macro signature for rule: ${ruleText(rule)}`));
        else this.errors.push(invalid(at, type, `${text} evaluating rule: ${ruleText(rule)}`));
        continue;
      }
      if (holds === true) continue;
      const place = rule.fieldPath ? `${path}${normalizedPath(schema, rule.fieldPath)}`.replace(/^\./, "") : at;
      const told = this.#message(rule, message, activation, place, type);
      if (told === undefined) return;
      const failure = errorOf(rule, place, value, type, told);
      if (!usesOldSelf && unchanged(ratchet)) this.#warn?.(`${failure.field}: ${failure.body}`);
      else this.errors.push(failure);
    }
  }

  /** What is wrong, in the rule's words. Undefined: the budget ended here. */
  #message(rule: ValidationRule, program: CelProgram | undefined, activation: Record<string, unknown>, at: string, type: string): string | undefined {
    if (program) {
      try {
        const text = program.evaluate(activation, this.#budget);
        const trimmed = typeof text === "string" ? text.trim() : "";
        if (trimmed !== "" && !trimmed.includes("\n") && Buffer.byteLength(trimmed) <= messageBytesMax) return trimmed;
      } catch (caught) {
        if (caught instanceof CelBudgetError) return void this.#stop(invalid(at, type, caught.message.startsWith("operation cancelled") ? `no further validation rules will be run due to call cost exceeds limit for messageExpression: ${JSON.stringify(rule.messageExpression)}` : "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run"));
        if (!(caught instanceof CelEvaluationError)) throw caught;
      }
    }
    return rule.message ? rule.message.trim() : `failed rule: ${ruleText(rule)}`;
  }

  #stop(error: FieldError): void {
    this.errors.push(error);
    this.#over = true;
  }
}

const stepInto = (ratchet: Ratchet, step: (current: Correlation) => Correlation | undefined): Ratchet => (ratchet.current ? { current: step(ratchet.current), nearest: ratchet.current } : ratchet);

const ruleText = ({ rule, message }: ValidationRule): string => (message ? message : rule).trim();

function errorOf({ reason }: ValidationRule, at: string, value: unknown, type: string, detail: string): FieldError {
  switch (reason) {
    case "FieldValueForbidden":
      return forbidden(at, detail);
    case "FieldValueRequired":
      return required(at, detail);
    case "FieldValueDuplicate":
      return type === "object" || type === "array" ? { type: "FieldValueDuplicate", field: at, body: "Duplicate value" } : duplicate(at, value);
    default:
      // Whole objects and lists are not repeated.
      return type === "object" || type === "array" ? { type: "FieldValueInvalid", field: at, body: `Invalid value: ${detail}` } : invalid(at, value, detail);
  }
}

/** A rule's path to the field it speaks of. */
export class FieldPathError extends Error {}

export interface FieldPath {
  /** ".spec.a[key]" */
  readonly text: string;
  readonly root: string;
  readonly schema: CustomSchema;
}

/** `.a.b`, `.a['b']`: names of fields, and keys of maps. Throws FieldPathError. */
export function parseFieldPath(schema: CustomSchema, path: string, arrayNotation = true): FieldPath {
  const tokens = path.match(/'(?:[^'\\]|\\.)*'|[.[\]]|[^.[\]]+/g) ?? [];
  let node = schema;
  let text = "";
  let root = "";
  let at = 0;
  const next = (): string => {
    const token = tokens[at++];
    if (token === undefined) throw new FieldPathError("unexpected end of JSON path");
    return token;
  };
  while (at < tokens.length) {
    const token = next();
    let name: string;
    if (token === ".") name = next();
    else if (token === "[") {
      if (!arrayNotation) throw new FieldPathError("array notation is not allowed");
      const quoted = next();
      if (quoted.length < 2 || !quoted.startsWith("'") || !quoted.endsWith("'")) throw new FieldPathError(`expected single quoted string but got ${quoted}`);
      name = quoted.slice(1, -1).replace(/\\(.)/g, "$1");
    } else throw new FieldPathError(`expected [ or . but got: ${token}`);
    if (node.props.properties) {
      const field = node.fields.get(name);
      if (!field) throw new FieldPathError("does not refer to a valid field");
      node = field;
      text += `.${name}`;
    } else if (node.additionalProperties) {
      node = node.additionalProperties;
      text += `[${name}]`;
    } else throw new FieldPathError("does not refer to a valid field");
    if (root === "") root = name;
    if (token === "[") {
      const close = next();
      if (close !== "]") throw new FieldPathError(`expected ] but got ${close}`);
    }
  }
  return { text, root, schema: node };
}

function normalizedPath(schema: CustomSchema, path: string): string {
  try {
    return parseFieldPath(schema, path).text;
  } catch (error) {
    if (error instanceof FieldPathError) return "";
    throw error;
  }
}
