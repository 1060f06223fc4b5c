import { JsonPath } from "./json-path.ts";
import { type Expression, type Part, type Reference, TemplateError } from "./syntax.ts";

/** What can be known to fail before anybody asks: a JSONPath that stands in the template and is none that is honoured. @throws TemplateError */
export function checkPaths(parts: readonly Part[]): void {
  for (const part of parts) {
    if (part.type === "reference") checkReference(part.reference);
    else if (part.type === "set") {
      checkReference(part.target);
      checkExpression(part.value);
    } else if (part.type === "if") {
      for (const { condition, body } of part.branches) {
        checkExpression(condition);
        checkPaths(body);
      }
      checkPaths(part.otherwise);
    } else if (part.type === "foreach") {
      checkExpression(part.list);
      checkPaths(part.body);
    }
  }
}

function checkReference({ name, accesses, line }: Reference): void {
  for (const [i, access] of accesses.entries()) {
    if (access.type === "index") checkExpression(access.index);
    if (access.type !== "call") continue;
    access.parameters.forEach(checkExpression);
    const [first] = access.parameters;
    if (name !== "input" || i > 0 || (access.name !== "path" && access.name !== "json") || !first) continue;
    const source = first.type === "literal" ? first.value : undefined;
    if (typeof source !== "string") continue;
    try {
      void new JsonPath(source);
    } catch (error) {
      throw new TemplateError(line, (error as Error).message);
    }
  }
}

function checkExpression(expression: Expression): void {
  switch (expression.type) {
    case "interpolated":
      return checkPaths(expression.parts);
    case "reference":
      return checkReference(expression.reference);
    case "list":
      return expression.items.forEach(checkExpression);
    case "range":
      checkExpression(expression.from);
      return checkExpression(expression.to);
    case "map":
      for (const pair of expression.entries) pair.forEach(checkExpression);
      return;
    case "not":
    case "negative":
      return checkExpression(expression.operand);
    case "binary":
      checkExpression(expression.left);
      return checkExpression(expression.right);
    default:
      return undefined;
  }
}
