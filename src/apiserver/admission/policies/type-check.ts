import type { CelType } from "../../../api/cel/program.ts";
import type { Kind } from "../../../api/kind.ts";
import type { KindRegistry } from "../../../api/registry.ts";
import type { ApiOptions } from "../../api.ts";
import type { AdmissionStep } from "../../rest/context.ts";
import type { ValidatingPolicy } from "./definitions.ts";
import { lazyModule } from "../../../base/lazy.ts";

const compositions = lazyModule<typeof import("../../../api/cel/composition.ts")>(import.meta.url, "../../../api/cel/composition.ts");

/**
 * What the schemas of the kinds that a policy is about say of its expressions: warnings in its status, written with
 * the policy itself, so that nobody waits for a controller to come by.
 * Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/typechecking.go.
 */
const kindsMax = 10;

export function policyStatus({ registry }: Pick<ApiOptions, "registry">): AdmissionStep {
  return {
    name: "PolicyTypeChecking",
    validate({ kind, operation, object, old, subresource }) {
      if (kind.group !== "admissionregistration.k8s.io" || kind.resource !== "validatingadmissionpolicies" || subresource !== undefined || !object) return;
      if (operation === "UPDATE" && object.metadata.generation === old?.metadata.generation) return;
      const expressionWarnings = check(object as ValidatingPolicy, registry);
      object["status"] = { ...object["status"], observedGeneration: object.metadata.generation, typeChecking: expressionWarnings.length > 0 ? { expressionWarnings } : {} };
    },
  };
}

function check({ spec }: ValidatingPolicy, registry: KindRegistry): { fieldRef: string; warning: string }[] {
  const kinds = kindsOf(spec.matchConstraints?.resourceRules ?? [], registry);
  const params = spec.paramKind && registry.byKind(...splitVersion(spec.paramKind.apiVersion), spec.paramKind.kind);
  const expressions = (spec.validations ?? []).flatMap(({ expression, messageExpression }, index) => [
    { fieldRef: `spec.validations[${index}].expression`, expression },
    ...(messageExpression ? [{ fieldRef: `spec.validations[${index}].messageExpression`, expression: messageExpression }] : []),
  ]);
  return expressions.flatMap(({ fieldRef, expression }) => {
    const said = kinds.flatMap((kind) => {
      const types: { object: CelType; params?: CelType } = { object: kind.schema, ...(params && { params: params.schema }) };
      const program = compositions().compose(spec.variables, params !== undefined, undefined, types).compile(expression, { result: "any" });
      return program instanceof Error ? [`${kind.group}/${kind.version}, Kind=${kind.kind}: ${program.message}\n`] : [];
    });
    return said.length > 0 ? [{ fieldRef, warning: said.join("\n") }] : [];
  });
}

const splitVersion = (apiVersion: string): [group: string, version: string] => {
  const [version, group = ""] = apiVersion.split("/").toReversed() as [string, string?];
  return [group, version];
};

/** A rule with a wildcard is about anything: nothing is known of that. */
function kindsOf(rules: NonNullable<NonNullable<ValidatingPolicy["spec"]["matchConstraints"]>["resourceRules"]>, registry: KindRegistry): Kind[] {
  const found = new Set<Kind>();
  for (const { apiGroups, apiVersions, resources } of rules) {
    if ([...apiGroups, ...apiVersions].some((word) => word.includes("*"))) continue;
    for (const group of apiGroups.toSorted()) for (const version of apiVersions.toSorted()) for (const resource of resources.filter((word) => !/[*/]/.test(word)).toSorted()) {
      const kind = registry.byResource(group, version, resource);
      if (kind) found.add(kind);
    }
  }
  const key = (kind: Kind): string => `${kind.group}/${kind.version}/${kind.kind}`;
  return [...found].sort((a, b) => (key(a) < key(b) ? -1 : 1)).slice(0, kindsMax);
}
