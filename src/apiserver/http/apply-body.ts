import { duplicateFields } from "../../api/duplicate-fields.ts";
import { badRequestError } from "../../api/status.ts";
import type { WriteContext } from "../rest/context.ts";

/**
 * The configuration of a server-side apply: YAML, of which JSON is a part. Keys that come twice are judged by
 * fieldValidation; the last one counts. Throws 400.
 */
export async function readConfig(bytes: Buffer, context: Pick<WriteContext, "fieldValidation" | "warnings">): Promise<unknown> {
  const text = bytes.toString("utf8");
  const json = jsonOf(text);
  if (json !== undefined) {
    if (context.fieldValidation !== "Ignore") judge(duplicateFields(text).map((problem) => problem.replace(/^duplicate field "(?:.*\.)?([^.]+)"$/, "$1")).map((key) => `line 1: key ${JSON.stringify(key)} already set in map`), context);
    return json.value;
  }
  const { parseYaml } = await import("../../api/yaml.ts");
  let config: unknown;
  try {
    config = parseYaml(text, { lastOfDuplicates: true })[0];
  } catch (error) {
    throw badRequestError(`error decoding YAML: error converting YAML to JSON: yaml: ${problemOf(error)}`);
  }
  // Aliases may make a few lines as large as memory is.
  if (!fits(config, 10 * text.length)) throw badRequestError("error decoding YAML: error converting YAML to JSON: yaml: document contains excessive aliasing");
  try {
    if (context.fieldValidation !== "Ignore") parseYaml(text);
  } catch (error) {
    judge([problemOf(error)], context);
  }
  return config;
}

/** Whether the value has at most so many nodes, aliases written out. */
function fits(value: unknown, nodesMax: number): boolean {
  let left = nodesMax;
  const visit = (node: unknown): boolean => {
    if (--left < 0) return false;
    if (typeof node !== "object" || node === null) return true;
    for (const child of Object.values(node)) if (!visit(child)) return false;
    return true;
  };
  return visit(value);
}

/** What js-yaml threw, with the line first, as Go's reader says it. */
function problemOf(error: unknown): string {
  const { reason, mark } = error as { reason?: string; mark?: { line: number } };
  return mark && reason ? `line ${mark.line + 1}: ${reason}` : (error as Error).message;
}

function jsonOf(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

function judge(problems: readonly string[], { fieldValidation, warnings }: Pick<WriteContext, "fieldValidation" | "warnings">): void {
  if (problems.length === 0) return;
  const text = `error converting YAML to JSON: yaml: unmarshal errors:\n${problems.map((problem) => `  ${problem}`).join("\n")}`;
  if (fieldValidation === "Strict") throw badRequestError(`error strict decoding YAML: ${text}`);
  warnings.push(text);
}
