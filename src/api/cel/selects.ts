import type { Node } from "./ast.ts";

/** Whether `variable.field` or `variable.?field` stands anywhere in the expression; an index by the field's name does not count. */
export function selects(node: unknown, variable: string, field: string): boolean {
  if (typeof node !== "object" || node === null) return false;
  if (Array.isArray(node)) return node.some((item) => selects(item, variable, field));
  const one = node as Node;
  if (one.kind === "literal") return false;
  if (one.kind === "select" && one.field === field && one.operand.kind === "identifier" && one.operand.name === variable) return true;
  return Object.values(one).some((part) => selects(part, variable, field));
}
