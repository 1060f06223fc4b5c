import { labelValue, nameIsDns1035Label, nameIsDnsLabel, nameIsDnsSubdomain, qualifiedName } from "../../validation/names.ts";
import { CelEvaluationError } from "../errors.ts";
import { parseTimestamp } from "../time.ts";
import { Opaque, Optional } from "../values.ts";
import { type Declaration, declare } from "./declare.ts";
import { uriProblems } from "./urls.ts";

/** Source: k8s.io/apiserver/pkg/cel/library/format.go. */
class Format extends Opaque {
  readonly typeName = "kubernetes.NamedFormat";
  readonly name: string;
  readonly validate: (text: string) => string[];
  /** What checking it costs a character: the length of the pattern that says it. */
  readonly patternSize: number;
  constructor(name: string, validate: (text: string) => string[]) {
    super();
    [this.name, this.validate, this.patternSize] = [name, validate, patternSizes[name] ?? 72];
  }
  override equals(other: unknown): boolean {
    return other instanceof Format && other.name === this.name;
  }
}

const when = (valid: boolean, text: string): string[] => (valid ? [] : [text]);
const isMoment = (text: string): boolean => {
  try {
    parseTimestamp(text);
    return true;
  } catch (error) {
    if (error instanceof CelEvaluationError) return false;
    throw error;
  }
};
const patternSizes: Record<string, number> = { dns1123Label: 30, dns1123Subdomain: 60, dns1035Label: 30, qualifiedName: 60, dns1123LabelPrefix: 30, dns1123SubdomainPrefix: 60, dns1035LabelPrefix: 30, labelValue: 40, uri: 1104, uuid: 72, byte: 84, date: 72, datetime: 72 };
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const formats: Record<string, (text: string) => string[]> = {
  dns1123Label: (text) => nameIsDnsLabel(text, false),
  dns1123Subdomain: (text) => nameIsDnsSubdomain(text, false),
  dns1035Label: (text) => nameIsDns1035Label(text, false),
  qualifiedName,
  dns1123LabelPrefix: (text) => nameIsDnsLabel(text, true),
  dns1123SubdomainPrefix: (text) => nameIsDnsSubdomain(text, true),
  dns1035LabelPrefix: (text) => nameIsDns1035Label(text, true),
  labelValue,
  uri: uriProblems,
  uuid: (text) => when(/^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(text), "does not match the UUID format"),
  byte: (text) => when(base64.test(text), "invalid base64"),
  date: (text) => when(/^\d{4}-\d\d-\d\d$/.test(text) && isMoment(`${text}T00:00:00Z`), "invalid date"),
  datetime: (text) => when(isMoment(text.replace(" ", "T")), "invalid datetime"),
};
const named = new Map(Object.entries(formats).map(([name, validate]) => [name, new Format(name, validate)]));

export const formatFunctions = declare([
  ["format.named", "(string): optional<kubernetes.NamedFormat>", ([name]) => (named.has(name) ? new Optional(named.get(name)) : Optional.none)],
  ...[...named].map(([name, format]): Declaration => [`format.${name}`, "(): kubernetes.NamedFormat", () => format]),
  ["validate", "kubernetes.NamedFormat.(string): optional<list<string>>", ([format, text]) => {
    const problems = format.validate(text);
    return problems.length === 0 ? Optional.none : new Optional(problems);
  }],
]);
