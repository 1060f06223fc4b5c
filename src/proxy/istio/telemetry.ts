import type { Node } from "../../api/cel/ast.ts";
import { parse } from "../../api/cel/parser.ts";
import type { Guard, LogRule, LogTest } from "../../api/guard.ts";
import type { Telemetry } from "../../api/istio/kinds.ts";
import { compileLogTest, loggedFields } from "../../policy/log-test.ts";
import { aimOf, placeOf } from "./guards.ts";
import type { Report } from "./report.ts";

/** Which requests to whom have a line in the access log; undefined: it says nothing of that, or of nobody. */
export function compileTelemetry(object: Telemetry, report: Report, isEnforced: boolean): Guard | undefined {
  const { spec, metadata } = object;
  if (spec.metrics?.length) report.field("metrics", "those that there are cannot be chosen among");
  if (spec.tracing?.length) report.field("tracing", "no spans are made; the fields of a trace go on as they came");
  const log = spec.accessLogging?.length ? logRule(spec.accessLogging, report) : undefined;
  if (!log) return undefined;
  const aim = aimOf(object, report);
  if (!aim) return undefined;
  if (!isEnforced) {
    report.field("accessLogging", "is not in force in plain mode, where it is not known whose pod has which address");
    return undefined;
  }
  report.place(`requests to ${placeOf(aim)}`);
  return { id: `istio:Telemetry/${metadata.namespace}/${metadata.name}`, createdAt: Math.floor(Date.parse(metadata.creationTimestamp) / 1000), ...aim, log };
}

function logRule(entries: NonNullable<Telemetry["spec"]["accessLogging"]>, report: Report): LogRule | undefined {
  const tests: LogTest[] = [];
  let isAll = false;
  let isSaid = false;
  for (const [i, { disabled, filter, match, providers }] of entries.entries()) {
    const at = `accessLogging[${i}]`;
    for (const { name } of (providers ?? []) as { name?: string }[]) if (name !== "envoy") report.field(`${at}.providers`, `${name}: lines go to the log that wherry route log shows, and nowhere else`);
    if (match?.mode === "CLIENT") {
      report.field(`${at}.match.mode`, "CLIENT: a request has one line, which is its server's");
      continue;
    }
    isSaid = true;
    if (disabled) continue;
    if (!filter?.expression) {
      isAll = true;
      continue;
    }
    try {
      const test = testOf(parse(filter.expression).root);
      compileLogTest(test);
      tests.push(test);
    } catch (error) {
      // Rather a line too many than one that is missed.
      isAll = true;
      report.field(`${at}.filter.expression`, `${(error as Error).message.split("\n")[0]}; every request has its line`);
    }
  }
  if (!isSaid) return undefined;
  if (isAll) return {};
  return tests.length === 0 ? { isDisabled: true } : { when: tests.length === 1 ? tests[0]! : { any: tests } };
}

const comparisons: Record<string, Extract<LogTest, { field: string }>["is"]> = { "_==_": "==", "_!=_": "!=", "_<_": "<", "_<=_": "<=", "_>_": ">", "_>=_": ">=" };
const turned: Partial<Record<string, Extract<LogTest, { field: string }>["is"]>> = { "<": ">", "<=": ">=", ">": "<", ">=": "<=" };
const textTests = new Set(["startsWith", "endsWith", "contains", "matches"]);

/** The part of CEL that is about one request: comparisons of its fields with what is written there, and `!`, `&&`, `||`, `in`. */
function testOf(node: Node): LogTest {
  if (node.kind === "logic") return node.or ? { any: node.terms.map(testOf) } : { all: node.terms.map(testOf) };
  if (node.kind === "select" && node.test) return { has: headerOf({ ...node, test: false }) ?? no("has() asks for headers alone") };
  if (node.kind !== "call") return no("only comparisons are looked at");
  const { name, target, args } = node;
  if (name === "!_") return { not: testOf(args[0]!) };
  if (target && textTests.has(name) && args.length === 1) return compared(fieldOf(target), name as "matches", literal(args[0]!));
  if (name === "@in") {
    const [one, list] = args as [Node, Node];
    if (list.kind === "list") return { any: list.elements.map(({ value }) => compared(fieldOf(one), "==", literal(value))) };
    if (isHeaders(list)) return { has: String(literal(one)).toLowerCase() };
  }
  const is = comparisons[name];
  if (!is) return no(`${name.replaceAll("_", "")} is not looked at`);
  const [left, right] = args as [Node, Node];
  return left.kind === "literal" ? compared(fieldOf(right), turned[is] ?? is, literal(left)) : compared(fieldOf(left), is, literal(right));
}

function compared(field: string, is: Extract<LogTest, { field: string }>["is"], value: string | number): LogTest {
  const type = loggedFields[field]?.type ?? "string";
  if (typeof value !== type || (type === "number" && textTests.has(is))) return no(`${field} is a ${type}`);
  return { field, is, value };
}

function literal(node: Node): string | number {
  const value = node.kind === "literal" ? node.value : undefined;
  if (typeof value === "bigint") return Number(value);
  return typeof value === "string" || typeof value === "number" ? value : no("fields are compared with texts and numbers that stand there");
}

function fieldOf(node: Node): string {
  const header = headerOf(node);
  if (header !== undefined) return `request.headers[${header}]`;
  const name = node.kind === "select" && node.operand.kind === "identifier" ? `${node.operand.name}.${node.field}` : undefined;
  return name !== undefined && loggedFields[name] ? name : no(`${name ?? "this"} is not known of a request; known are ${Object.keys(loggedFields).join(", ")} and request.headers`);
}
const isHeaders = (node: Node): boolean => node.kind === "select" && node.field === "headers" && node.operand.kind === "identifier" && node.operand.name === "request";
/** Of `request.headers["x"]` and `request.headers.x`. */
function headerOf(node: Node): string | undefined {
  if (node.kind === "select" && isHeaders(node.operand)) return node.field.toLowerCase();
  if (node.kind === "call" && node.name === "_[_]" && isHeaders(node.args[0]!)) return String(literal(node.args[1]!)).toLowerCase();
  return undefined;
}

function no(why: string): never {
  throw new Error(why);
}
