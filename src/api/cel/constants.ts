import type { Node } from "./ast.ts";
import { accepts } from "./functions/declare.ts";
import { EntryMap } from "./values.ts";

/** Of a literal, whatever it is converted to. */
const conversions = new Set(["bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "dyn", "type"]);

const known = new WeakMap<Node, { value: unknown } | null>();
const nothing = { work: (): void => undefined };

/**
 * The value of what is the same at each evaluation, and therefore costs nothing: literals, lists and maps of them,
 * and what they are converted to. Of a checked tree. Source: cel-go's interpreter/decorators.go, decOptimize.
 * @throws CelEvaluationError for a conversion that can never succeed
 */
export function constantOf(node: Node): { value: unknown } | undefined {
  let constant = known.get(node);
  if (constant === undefined) known.set(node, (constant = find(node) ?? null));
  return constant ?? undefined;
}

function find(node: Node): { value: unknown } | undefined {
  switch (node.kind) {
    case "literal":
      return { value: node.value };
    case "list": {
      const elements = node.elements.map(({ value, optional }) => (optional ? undefined : constantOf(value)));
      return elements.every((element) => element !== undefined) ? { value: elements.map(({ value }) => value) } : undefined;
    }
    case "map": {
      const map = new EntryMap();
      for (const { key, value, optional } of node.entries) {
        const [name, content] = [constantOf(key), constantOf(value)];
        if (optional || !name || !content || map.has(name.value)) return undefined;
        map.set(name.value, content.value);
      }
      return { value: map };
    }
    case "call": {
      if (node.target || !conversions.has(node.name) || node.args.length !== 1) return undefined;
      const arg = constantOf(node.args[0]!);
      const overload = arg && node.candidates?.find(({ params }) => accepts(params[0]!, arg.value));
      return overload && { value: overload.call([arg.value], nothing) };
    }
    default:
      return undefined;
  }
}
