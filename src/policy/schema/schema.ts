import { isObject } from "../../base/is-object.ts";
import { at, PolicyError } from "../policy-error.ts";
import { arrayKeywords, leftItems } from "./arrays.ts";
import { combinedKeywords } from "./combined.ts";
import { annotations, type Dialect, dialectOf, dialects, type Rules } from "./dialects.ts";
import { every, joined, type Node, type Reading } from "./node.ts";
import { leftProperties, objectKeywords } from "./objects.ts";
import { type Check, type Failure, Run } from "./run.ts";
import { anyKeywords, bitOf, numberKeywords, stringKeywords, typeCheck, typesOf } from "./scalars.ts";

export type { Failure } from "./run.ts";
export type { Dialect } from "./dialects.ts";

/** Schemas of one validator, and levels of them. */
const nodesMax = 20_000;
const levelsMax = 100;

export interface SchemaOptions {
  /** What `#/…` refers into; the schema itself unless given. */
  document?: unknown;
  /** Unless the schema names one; JSON Schema 2020-12, which is OpenAPI 3.1's. */
  dialect?: Dialect;
  /** Formats that are not known: refused (unless said), or passed over; or none is checked. */
  formats?: Rules["formats"];
  /** Whether members that only answers have (`readOnly`) are required. */
  isAnswer?: boolean;
}

export interface Validator {
  /** Empty: it is right. `cost`: how many comparisons it may take, {@link stepsFor} a document of this size. */
  failures(value: unknown, stepsMax?: number, failuresMax?: number): readonly Failure[];
}
const right: readonly Failure[] = [];
/** Comparisons that a document of so many bytes is worth. */
export const stepsFor = (bytes: number): number => 10_000 + 4 * bytes;

/**
 * A JSON Schema, read once; what is left for each document is a function, and no code is made of text. Whatever keyword is
 * not honoured is refused: a document is never believed because a rule was not understood.
 * @throws PolicyError naming the keyword, its value and why
 */
export function compileSchema(schema: unknown, options: SchemaOptions = {}): Validator {
  const compiler = new Compiler(schema, options);
  const { check } = compiler.root;
  const run = new Run();
  return {
    failures(value, stepsMax = stepsFor(1_000_000), failuresMax = 20) {
      if (run.test(check, value, stepsMax)) return right;
      return run.collect(check, value, stepsMax, failuresMax);
    },
  };
}

class Compiler {
  readonly root: Node;
  readonly #document: unknown;
  readonly #rules: Rules;
  readonly #nodes = new Map<object, Node>();
  readonly #anchors = new Map<string, object>();
  readonly #always: Node = { schema: true, check: () => true, inPlace: [], patterns: [], place: "" };
  readonly #never: Node = { schema: false, check: (value, run) => run.fail("false", value, "must not be there"), inPlace: [], patterns: [], place: "" };

  constructor(schema: unknown, { document = schema, dialect, formats, isAnswer }: SchemaOptions) {
    this.#document = document;
    const named = [schema, document].map((one) => (isObject(one) && typeof one["$schema"] === "string" ? one["$schema"] : undefined)).find((name) => name !== undefined);
    const found = named === undefined ? (dialect ?? "2020-12") : dialectOf(named);
    if (found === undefined) throw new PolicyError("$schema", named, "is not a dialect that is known here");
    this.#rules = { ...dialects[found], ...(formats && { formats }), ...(isAnswer && { readOnly: false }) };
    this.#findAnchors(document, 0);
    if (document !== schema) this.#findAnchors(schema, 0);
    this.root = this.#read(schema, "schema", 0);
    this.#refuseLoops();
  }

  #read(schema: unknown, place: string, level: number): Node {
    if (schema === true) return this.#always;
    if (schema === false) return this.#never;
    if (!isObject(schema)) throw new PolicyError(place, schema, "must be a schema: an object, true or false");
    const known = this.#nodes.get(schema);
    if (known) return known;
    if (level > levelsMax) throw new PolicyError(place, "…", `must not be nested in more than ${levelsMax} schemas`);
    if (this.#nodes.size >= nodesMax) throw new PolicyError(place, "…", `must not have more than ${nodesMax} schemas`);
    const node: Node = { schema, check: () => false, inPlace: [], patterns: [], place };
    this.#nodes.set(schema, node);
    const inner = (value: unknown, path: (string | number)[]): Node => this.#read(value, joined(place, path), level + 1);
    const reading: Reading = {
      schema,
      place,
      rules: this.#rules,
      node,
      within: (value, ...path) => inner(value, path),
      beside: (value, ...path) => {
        const beside = inner(value, path);
        node.inPlace.push(beside);
        return beside;
      },
      resolve: (reference) => this.#resolve(reference, place, level),
      nodeOf: (value) => (value === true ? this.#always : value === false ? this.#never : this.#nodes.get(value as object)!),
      isReadOnly: (value) => this.#isReadOnly(value, 0),
    };
    this.#refuseUnknown(reading);
    node.check = assemble(reading);
    return node;
  }

  /** The schema that a `$ref` names, within the document. */
  #resolve(reference: unknown, place: string, level: number): Node {
    const { target, name } = this.#find(reference, place);
    return this.#read(target, name, level + 1);
  }
  #find(reference: unknown, place: string): { target: unknown; name: string } {
    const refuse = (why: string): never => {
      throw new PolicyError(joined(place, ["$ref"]), reference, why);
    };
    if (typeof reference !== "string") return refuse("must be a reference");
    if (!reference.startsWith("#")) return refuse("must lead into this document: it must begin with '#'");
    let fragment: string;
    try {
      fragment = decodeURIComponent(reference.slice(1));
    } catch {
      return refuse("must be percent-encoded UTF-8");
    }
    if (fragment !== "" && !fragment.startsWith("/")) {
      const target = this.#anchors.get(fragment);
      return target ? { target, name: reference } : refuse("names an anchor that is not there");
    }
    let target: unknown = this.#document;
    for (const part of fragment.split("/").slice(1)) {
      const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof target !== "object" || target === null || !Object.hasOwn(target, key)) return refuse("leads nowhere");
      target = (target as Record<string, unknown>)[key];
    }
    return { target, name: reference };
  }
  #findAnchors(value: unknown, level: number): void {
    if (typeof value !== "object" || value === null || level > levelsMax * 2) return;
    if (isObject(value) && typeof value["$anchor"] === "string") this.#anchors.set(value["$anchor"], value);
    for (const inner of Object.values(value)) this.#findAnchors(inner, level + 1);
  }
  #isReadOnly(schema: unknown, level: number): boolean {
    if (!isObject(schema) || level > levelsMax) return false;
    if (schema["readOnly"] === true) return true;
    return schema["$ref"] !== undefined && this.#isReadOnly(this.#find(schema["$ref"], "").target, level + 1);
  }

  #refuseUnknown({ schema, place, rules }: Reading): void {
    for (const keyword of Object.keys(schema)) {
      if (annotations.has(keyword) || keyword.startsWith("x-")) continue;
      const field = joined(place, [keyword]);
      if (keyword === "$id" || keyword === "id") {
        // Of the whole it is a name; of a part it would change where references lead.
        if (place !== "schema" && schema !== this.#document) throw new PolicyError(field, schema[keyword], "is not honoured here below the root of a document: references lead by '#/…'");
        continue;
      }
      if (!keywords.has(keyword) && !(rules.nullable && keyword === "nullable") && !(rules.listItems && (keyword === "additionalItems" || keyword === "dependencies"))) throw new PolicyError(field, schema[keyword], "is not a keyword that is honoured here");
      if (rules.loneRef && keyword !== "$ref" && schema["$ref"] !== undefined) throw new PolicyError(field, schema[keyword], "says nothing in this dialect, because it stands beside $ref: use allOf");
    }
  }

  /** A schema that leads to itself without going into its value would never come to an end. */
  #refuseLoops(): void {
    const done = new Set<Node>();
    const open = new Set<Node>();
    const visit = (node: Node): void => {
      if (done.has(node)) return;
      if (open.has(node)) throw new PolicyError(node.place, "…", "refers to itself for the same value, and so never ends");
      open.add(node);
      node.inPlace.forEach(visit);
      open.delete(node);
      done.add(node);
    };
    for (const node of this.#nodes.values()) visit(node);
  }
}

const keywords = new Set(
  [
    "$ref type enum const allOf anyOf oneOf not if then else",
    "minLength maxLength pattern format multipleOf minimum exclusiveMinimum maximum exclusiveMaximum",
    "items prefixItems contains minContains maxContains minItems maxItems uniqueItems unevaluatedItems",
    "properties patternProperties additionalProperties propertyNames required dependentRequired dependentSchemas minProperties maxProperties unevaluatedProperties",
  ].flatMap((names) => names.split(" ")),
);

/** One function of all keywords of a schema, by the type of what it is given. */
function assemble(reading: Reading): Check {
  const mask = typesOf(reading);
  // OpenAPI 3.0.3: `nullable` without `type` adds nothing, since without it null is allowed already.
  const type = mask === undefined ? undefined : typeCheck(mask);
  const any = every([...anyKeywords(reading), ...combinedKeywords(reading)]);
  const text = every(stringKeywords(reading));
  const number = every(numberKeywords(reading));
  const list = every([...arrayKeywords(reading), ...leftItems(reading)]);
  const object = every([...objectKeywords(reading), ...leftProperties(reading)]);
  return (value, run) => {
    if (!run.step()) return false;
    if (type !== undefined && (mask! & bitOf(value)) === 0) return type(value, run);
    let isRight = true;
    if (any !== undefined && !any(value, run)) {
      if (!run.isCollecting) return false;
      isRight = false;
    }
    let own: Check | undefined;
    if (typeof value === "string") own = text;
    else if (typeof value === "number") own = number;
    else if (Array.isArray(value)) own = list;
    else if (typeof value === "object" && value !== null) own = object;
    return (own === undefined || own(value, run)) && isRight;
  };
}

/** As {@link compileSchema}; the error's field begins with `field`. */
export function compileSchemaAt(field: string, schema: unknown, options?: SchemaOptions): Validator {
  return at(field, () => compileSchema(schema, options));
}
