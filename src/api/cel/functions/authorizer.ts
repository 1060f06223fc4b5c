import { dns1123Label, dns1123Subdomain } from "../../validation/names.ts";
import { CelEvaluationError } from "../errors.ts";
import { Opaque } from "../values.ts";
import { declare } from "./declare.ts";

/** What an expression asks: a path, or a resource. */
export interface AccessQuestion {
  /** Somebody else than who sent the request. */
  serviceAccount?: { namespace: string; name: string };
  verb: string;
  path?: string;
  group?: string;
  resource?: string;
  subresource?: string;
  namespace?: string;
  name?: string;
  fieldSelector?: string;
  labelSelector?: string;
}
export interface AccessAnswer {
  allowed: boolean;
  reason: string;
  error?: string;
}

/** Who answers. Source: k8s.io/apiserver/pkg/cel/library/authz.go. */
export class Authorizer extends Opaque {
  readonly typeName: string = "kubernetes.authorization.Authorizer";
  readonly ask: (question: AccessQuestion) => AccessAnswer;
  readonly question: Partial<AccessQuestion>;
  constructor(ask: (question: AccessQuestion) => AccessAnswer, question: Partial<AccessQuestion> = {}) {
    super();
    [this.ask, this.question] = [ask, question];
  }
}
class GroupCheck extends Authorizer {
  override readonly typeName = "kubernetes.authorization.GroupCheck";
}
class PathCheck extends Authorizer {
  override readonly typeName = "kubernetes.authorization.PathCheck";
}
/** Also the variable `authorizer.requestResource`. */
export class ResourceCheck extends Authorizer {
  override readonly typeName = "kubernetes.authorization.ResourceCheck";
}
class Decision extends Opaque {
  readonly typeName = "kubernetes.authorization.Decision";
  readonly answer: AccessAnswer;
  constructor(answer: AccessAnswer) {
    super();
    this.answer = answer;
  }
}

const required = (text: string, what: string): string => {
  if (text.trim() === "") throw new CelEvaluationError(`${what} must not be empty`);
  return text;
};
const refined = (check: Authorizer, more: Partial<AccessQuestion>): ResourceCheck => new ResourceCheck(check.ask, { ...check.question, ...more });
const A = "kubernetes.authorization";

export const authorization = declare([
  ["path", `${A}.Authorizer.(string): ${A}.PathCheck`, ([authorizer, path]) => new PathCheck(authorizer.ask, { ...authorizer.question, path: required(path, "path") })],
  ["group", `${A}.Authorizer.(string): ${A}.GroupCheck`, ([authorizer, group]) => new GroupCheck(authorizer.ask, { ...authorizer.question, group })],
  ["serviceAccount", `${A}.Authorizer.(string, string): ${A}.Authorizer`, ([authorizer, namespace, name]) => {
    if (dns1123Subdomain(name).length > 0) throw new CelEvaluationError(`Invalid service account name`);
    if (dns1123Label(namespace).length > 0) throw new CelEvaluationError(`Invalid service account namespace`);
    return new Authorizer(authorizer.ask, { ...authorizer.question, serviceAccount: { namespace, name } });
  }],
  ["resource", `${A}.GroupCheck.(string): ${A}.ResourceCheck`, ([group, resource]) => refined(group, { resource: required(resource, "resource") })],
  ["subresource", `${A}.ResourceCheck.(string): ${A}.ResourceCheck`, ([check, subresource]) => refined(check, { subresource })],
  ["namespace", `${A}.ResourceCheck.(string): ${A}.ResourceCheck`, ([check, namespace]) => refined(check, { namespace })],
  ["name", `${A}.ResourceCheck.(string): ${A}.ResourceCheck`, ([check, name]) => refined(check, { name })],
  ["fieldSelector", `${A}.ResourceCheck.(string): ${A}.ResourceCheck`, ([check, fieldSelector]) => refined(check, { fieldSelector })],
  ["labelSelector", `${A}.ResourceCheck.(string): ${A}.ResourceCheck`, ([check, labelSelector]) => refined(check, { labelSelector })],
  ["check", `${A}.PathCheck.(string): ${A}.Decision`, ([check, verb]) => new Decision(check.ask({ ...check.question, verb }))],
  ["check", `${A}.ResourceCheck.(string): ${A}.Decision`, ([check, verb]) => new Decision(check.ask({ ...check.question, verb }))],
  ["allowed", `${A}.Decision.(): bool`, ([decision]) => decision.answer.allowed],
  ["reason", `${A}.Decision.(): string`, ([decision]) => decision.answer.reason],
  ["errored", `${A}.Decision.(): bool`, ([decision]) => decision.answer.error !== undefined],
  ["error", `${A}.Decision.(): string`, ([decision]) => decision.answer.error ?? ""],
]);
