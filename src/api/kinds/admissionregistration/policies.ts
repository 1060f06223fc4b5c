import type { Compiled, Composition } from "../../cel/composition.ts";
import { duplicate, type FieldError, forbidden, invalid, notSupported, required, tooMany } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each } from "../../validation/checks.ts";
import { dns1035Label, dns1123Subdomain, nameIsPathSegment, qualifiedName } from "../../validation/names.ts";
import { validateLabelSelector } from "../../validation/selector.ts";
import { ageOf, integer, name, text } from "../columns.ts";
import { validateRules } from "./webhooks.ts";
import { lazyModule } from "../../../base/lazy.ts";

const celTypes = lazyModule<typeof import("../../cel/types.ts")>(import.meta.url, "../../cel/types.ts");
const compositions = lazyModule<typeof import("../../cel/composition.ts")>(import.meta.url, "../../cel/composition.ts");

/** Policies that judge and change writes by expressions. Source: k8s.io/kubernetes/pkg/apis/admissionregistration/{v1/defaults.go,validation}. */
type Draft = any;

const pathSegmentName = (value: string): string[] => nameIsPathSegment(value, false);

const reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const actions = ["Audit", "Deny", "Warn"];
const conditionsMax = 64;
const annotationsMax = 20;
const annotationExpressionMax = 5 * 1024;
const identifier = /^[_a-zA-Z][_a-zA-Z0-9]*$/;
const reserved = new Set(["true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"]);

export function defaultMatch(match: Draft): void {
  if (!match) return;
  match.matchPolicy ??= "Equivalent";
  match.namespaceSelector ??= {};
  match.objectSelector ??= {};
  for (const list of ["resourceRules", "excludeResourceRules"]) for (const rule of match[list] ?? []) rule.scope ??= "*";
}

export function validateMatchResources(path: string, match: Draft): FieldError[] {
  const errors: FieldError[] = [];
  if (!["Equivalent", "Exact"].includes(match.matchPolicy)) errors.push(notSupported(`${path}.matchPolicy`, match.matchPolicy, ["Equivalent", "Exact"]));
  for (const field of ["namespaceSelector", "objectSelector"]) errors.push(...validateLabelSelector(match[field], `${path}.${field}`));
  for (const list of ["resourceRules", "excludeResourceRules"]) {
    errors.push(
      ...each(`${path}.${list}`, match[list], (rule: Draft, at) => {
        const names = new Set<string>();
        return each(`${at}.resourceNames`, rule.resourceNames, (each: string, nameAt) => {
          const found = checked(nameAt, each, pathSegmentName);
          if (names.has(each)) found.push(duplicate(nameAt, each));
          names.add(each);
          return found;
        });
      }),
      ...validateRules(`${path}.${list}`, match[list]),
    );
  }
  return errors;
}

export const blank = (value: string | undefined): boolean => (value ?? "").trim() === "";

/** What the compiler says of an expression, as a field error. `wanted` is the result it must have. */
export function expressionErrors(path: string, expression: string, program: Compiled, wanted?: readonly string[]): FieldError[] {
  if (program instanceof Error) return [invalid(path, expression, program.message.startsWith("ERROR: ") ? `compilation failed: ${program.message}` : program.message)];
  if (!wanted || wanted.includes(celTypes().formatType(program.type))) return [];
  return [invalid(path, expression, wanted.length === 1 ? `must evaluate to ${wanted[0]}` : `must evaluate to one of [${wanted.join(" ").replace(/\bnull\b/, "null_type")}]`)];
}

function validateParamKind(path: string, { apiVersion, kind }: Draft): FieldError[] {
  const errors: FieldError[] = [];
  if (!apiVersion) errors.push(required(`${path}.apiVersion`));
  else if (apiVersion.split("/").length > 2) errors.push(invalid(`${path}.apiVersion`, apiVersion, `unexpected GroupVersion string: ${apiVersion}`));
  else {
    const [version, group] = apiVersion.split("/").toReversed();
    if (group) errors.push(...checked(`${path}.apiVersion`, group, dns1123Subdomain));
    if (!version) errors.push(invalid(`${path}.apiVersion`, apiVersion, "version must be specified"));
    else errors.push(...checked(`${path}.apiVersion`, version, dns1035Label));
  }
  if (!kind) errors.push(required(`${path}.kind`));
  else if (dns1035Label(kind.toLowerCase()).length > 0) errors.push(invalid(`${path}.kind`, kind, `may have mixed case, but should otherwise match: ${dns1035Label(kind.toLowerCase()).join(",")}`));
  return errors;
}

export function validateConditions(path: string, conditions: Draft[] | undefined, { compile }: Composition): FieldError[] {
  const names = new Set<string>();
  return [
    ...((conditions ?? []).length > conditionsMax ? [tooMany(path, conditions!.length, conditionsMax)] : []),
    ...each(path, conditions, (condition, at) => {
      const expression = (condition.expression ?? "").trim();
      const errors = expression === "" ? [required(`${at}.expression`)] : expressionErrors(`${at}.expression`, expression, compile(expression, { result: "bool", without: "variables" }));
      if (!condition.name) return [...errors, required(`${at}.name`)];
      errors.push(...checked(`${at}.name`, condition.name, qualifiedName));
      if (names.has(condition.name)) errors.push(duplicate(`${at}.name`, condition.name));
      names.add(condition.name);
      return errors;
    }),
  ];
}

/** What policies of both kinds have in common. */
export function validatePolicySpec(spec: Draft, composition: Composition): FieldError[] {
  const errors: FieldError[] = [];
  if (!["Fail", "Ignore"].includes(spec.failurePolicy)) errors.push(notSupported("spec.failurePolicy", spec.failurePolicy ?? "", ["Fail", "Ignore"]));
  if (spec.paramKind) errors.push(...validateParamKind("spec.paramKind", spec.paramKind));
  if (!spec.matchConstraints) errors.push(required("spec.matchConstraints"));
  else {
    errors.push(...validateMatchResources("spec.matchConstraints", spec.matchConstraints));
    if ((spec.matchConstraints.resourceRules ?? []).length === 0) errors.push(required("spec.matchConstraints.resourceRules"));
  }
  errors.push(...validateConditions("spec.matchConditions", spec.matchConditions, composition));
  const names = new Set<string>();
  errors.push(
    ...each("spec.variables", spec.variables, (variable: Draft, at) => {
      const found: FieldError[] = [];
      if (blank(variable.name)) found.push(required(`${at}.name`, "name is not specified"));
      else if (!identifier.test(variable.name) || reserved.has(variable.name)) found.push(invalid(`${at}.name`, variable.name, "name is not a valid CEL identifier"));
      if (blank(variable.expression)) found.push(required(`${at}.expression`, "expression is not specified"));
      else found.push(...expressionErrors(`${at}.expression`, variable.expression, composition.variables.get(variable.name)!));
      if (names.has(variable.name)) found.push(duplicate(`${at}.name`, variable.name));
      names.add(variable.name);
      return found;
    }),
  );
  return errors;
}

function validatePolicy({ metadata, spec }: KubeObject): FieldError[] {
  const composition = compositions().compose(spec.variables, spec.paramKind !== undefined);
  const { compile } = composition;
  const errors = validatePolicySpec(spec, composition);
  if ((spec.validations ?? []).length === 0 && (spec.auditAnnotations ?? []).length === 0) errors.push(...["validations", "auditAnnotations"].map((field) => required(`spec.${field}`, "validations or auditAnnotations must contain at least one item")));
  errors.push(
    ...each("spec.validations", spec.validations, (validation: Draft, at) => {
      const { expression, message, messageExpression, reason } = validation;
      const found = blank(expression) ? [required(`${at}.expression`, "expression is not specified")] : expressionErrors(`${at}.expression`, expression, compile(expression, { result: "bool" }));
      if (messageExpression && blank(messageExpression)) found.push(invalid(`${at}.messageExpression`, messageExpression, "must be non-empty if specified"));
      else if (messageExpression) found.push(...expressionErrors(`${at}.messageExpression`, messageExpression, compile(messageExpression, { result: "string", without: "authorizer" })));
      if (message && blank(message)) found.push(invalid(`${at}.message`, message, "message must be non-empty if specified"));
      else if (message && /[\n\r]/.test(message.trim())) found.push(invalid(`${at}.message`, message, "message must not contain line breaks"));
      if (reason !== undefined && !reasons.includes(reason)) found.push(notSupported(`${at}.reason`, reason, reasons));
      return found;
    }),
  );
  const keys = new Set<string>();
  if ((spec.auditAnnotations ?? []).length > annotationsMax) errors.push(invalid("spec.auditAnnotations", spec.auditAnnotations, `must not have more than ${annotationsMax} auditAnnotations`));
  errors.push(
    ...each("spec.auditAnnotations", spec.auditAnnotations, ({ key, valueExpression }: Draft, at) => {
      const found = checked(`${at}.key`, `${metadata.name}/${key}`, qualifiedName);
      if (blank(valueExpression)) found.push(required(`${at}.valueExpression`, "valueExpression is not specified"));
      else if (Buffer.byteLength(valueExpression.trim()) > annotationExpressionMax) found.push(required(`${at}.valueExpression`, `must not exceed ${annotationExpressionMax} bytes in length`));
      else found.push(...expressionErrors(`${at}.valueExpression`, valueExpression, compile(valueExpression.trim(), { result: "any" }), ["string", "null"]));
      if (keys.has(key)) found.push(duplicate(`${at}.key`, key));
      keys.add(key);
      return found;
    }),
  );
  return errors;
}

const paramKindColumn = text("ParamKind", ({ spec }) => (spec?.paramKind ? `${spec.paramKind.apiVersion}/${spec.paramKind.kind}` : ""), "<unset>");

export const validatingAdmissionPolicy: Strategy = {
  conditionalUpdate: true,
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    spec.failurePolicy ??= "Fail";
    defaultMatch(spec.matchConstraints);
  },
  prepareForCreate(object) {
    object.status = {};
  },
  validate: validatePolicy,
  columns: [name, integer("Validations", ({ spec }) => (spec?.validations ?? []).length), paramKindColumn, ageOf],
};

/** What bindings of both kinds have in common. */
export function validateBindingSpec(spec: Draft): FieldError[] {
  const errors: FieldError[] = spec?.policyName ? checked("spec.policyName", spec.policyName, dns1123Subdomain) : [required("spec.policyName")];
  const reference = spec?.paramRef;
  if (reference) {
    const path = "spec.paramRef";
    if (reference.name) errors.push(...checked(`${path}.name`, reference.name, pathSegmentName));
    if (reference.name && reference.selector) errors.push(...["name", "selector"].map((field) => forbidden(`${path}.${field}`, "name and selector are mutually exclusive")));
    if (reference.selector) errors.push(...validateLabelSelector(reference.selector, `${path}.selector`));
    if (!reference.name && !reference.selector) errors.push(required(path, "one of name or selector must be specified"));
    const action = reference.parameterNotFoundAction;
    if (!action) errors.push(required(`${path}.parameterNotFoundAction`));
    else if (!["Allow", "Deny"].includes(action)) errors.push(notSupported(`${path}.parameterNotFoundAction`, action, ["Deny", "Allow"]));
  }
  if (spec?.matchResources) errors.push(...validateMatchResources("spec.matchResources", spec.matchResources));
  return errors;
}

function validateBinding({ spec }: KubeObject): FieldError[] {
  const given: string[] = spec?.validationActions ?? [];
  const errors = validateBindingSpec(spec);
  errors.push(...each("spec.validationActions", given, (action: string, at) => [...(actions.includes(action) ? [] : [notSupported(at, action, actions)]), ...(given.indexOf(action) < Number(/\[(\d+)\]$/.exec(at)![1]) ? [duplicate(at, action)] : [])]));
  if (given.includes("Deny") && given.includes("Warn")) errors.push(invalid("spec.validationActions", given, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"));
  if (given.length === 0) errors.push(required("spec.validationActions", "at least one validation action is required"));
  return errors;
}

export const bindingColumns = [
  name,
  text("PolicyName", ({ spec }) => spec?.policyName),
  text("ParamRef", ({ spec }) => {
    const reference = spec?.paramRef;
    if (!reference) return "";
    return reference.name ? (reference.namespace ? `${reference.namespace}/${reference.name}` : `*/${reference.name}`) : reference.namespace ? `${reference.namespace}/*` : "";
  }, "<unset>"),
  ageOf,
];

export const validatingAdmissionPolicyBinding: Strategy = {
  conditionalUpdate: true,
  defaults(object) {
    defaultMatch((object.spec ??= {}).matchResources);
  },
  validate: validateBinding,
  columns: bindingColumns,
};
