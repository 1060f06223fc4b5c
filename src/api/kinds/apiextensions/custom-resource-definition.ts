import { type FieldError, invalid, notSupported, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each, immutable } from "../../validation/checks.ts";
import { dns1035Label, dns1123Subdomain } from "../../validation/names.ts";
import { createdAt, name } from "../columns.ts";
import { validateClientConfig } from "../admissionregistration/webhooks.ts";

function validate({ metadata, spec }: KubeObject): FieldError[] {
  const errors: FieldError[] = [];
  const { group = "", names = {}, versions = [], scope } = spec ?? {};
  const expected = `${names.plural ?? ""}.${group}`;
  if (metadata.name !== expected) errors.push(invalid("metadata.name", metadata.name, `must be spec.names.plural+"."+spec.group`));
  if (group === "") errors.push(required("spec.group"));
  else if (checked("", group, dns1123Subdomain).length > 0) errors.push(...checked("spec.group", group, dns1123Subdomain));
  else if (!group.includes(".")) errors.push(invalid("spec.group", group, "should be a domain with at least one dot"));
  if (!scope) errors.push(required("spec.scope"));
  else if (scope !== "Cluster" && scope !== "Namespaced") errors.push(notSupported("spec.scope", scope, ["Cluster", "Namespaced"]));
  const seen = new Set<string>();
  errors.push(
    ...each<any>("spec.versions", versions, (version, at) => {
      const found = checked(`${at}.name`, version.name ?? "", dns1035Label);
      if (seen.has(version.name)) found.push(invalid(`${at}`, version.name, "must contain unique version names"));
      seen.add(version.name);
      if (!version.schema?.openAPIV3Schema) found.push(required(`${at}.schema.openAPIV3Schema`, "schemas are required"));
      else if (version.schema.openAPIV3Schema.type !== "object") found.push(invalid(`${at}.schema.openAPIV3Schema.type`, version.schema.openAPIV3Schema.type ?? "", "must be object at the root"));
      return found;
    }),
  );
  const stored = versions.filter((version: any) => version.storage === true).length;
  if (stored !== 1) errors.push(invalid("spec.versions", versions.map((version: any) => version.name), "must have exactly one version marked as storage version"));
  for (const [field, value] of Object.entries({ plural: names.plural, singular: names.singular, kind: names.kind?.toLowerCase(), listKind: names.listKind?.toLowerCase() })) {
    if (!value) errors.push(required(`spec.names.${field}`));
    else errors.push(...checked(`spec.names.${field}`, value as string, dns1035Label));
  }
  for (const list of ["shortNames", "categories"]) errors.push(...each<string>(`spec.names.${list}`, names[list], (value, at) => checked(at, value, dns1035Label)));
  if (names.kind && names.kind === names.listKind) errors.push(invalid("spec.names.listKind", names.listKind, "kind and listKind may not be the same"));
  const conversion = spec?.conversion;
  if (!["None", "Webhook"].includes(conversion?.strategy)) errors.push(notSupported("spec.conversion.strategy", conversion?.strategy ?? "", ["None", "Webhook"]));
  else if (conversion.strategy === "Webhook") {
    if (!conversion.webhook?.clientConfig) errors.push(required("spec.conversion.webhook.clientConfig", "required when strategy is set to Webhook"));
    else errors.push(...validateClientConfig("spec.conversion.webhook.clientConfig", conversion.webhook.clientConfig));
  }
  return errors;
}

/** Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults.go,validation}. */
export const customResourceDefinition: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    const names = (spec.names ??= {});
    names.singular ||= (names.kind ?? "").toLowerCase();
    names.listKind ||= names.kind ? `${names.kind}List` : "";
    const conversion = (spec.conversion ??= { strategy: "None" });
    if (conversion.webhook?.clientConfig?.service) conversion.webhook.clientConfig.service.port ??= 443;
  },
  prepareForCreate(object) {
    const stored = (object.spec.versions ?? []).filter((version: any) => version.storage === true).map((version: any) => version.name);
    object.status = { storedVersions: stored };
  },
  prepareForUpdate(object) {
    // A version that was ever stored stays listed until a migration takes it out.
    const stored = (object.spec.versions ?? []).find((version: any) => version.storage === true)?.name;
    if (stored !== undefined && !object.status?.storedVersions?.includes(stored)) object.status = { ...object.status, storedVersions: [...(object.status?.storedVersions ?? []), stored] };
  },
  validate,
  validateUpdate(object, old) {
    const errors: FieldError[] = [];
    const established = (old.status?.conditions ?? []).some((condition: any) => condition.type === "Established" && condition.status === "True");
    errors.push(...immutable("spec.group", object.spec.group, old.spec.group), ...immutable("spec.names.plural", object.spec.names.plural, old.spec.names.plural));
    if (established) errors.push(...immutable("spec.scope", object.spec.scope, old.spec.scope), ...immutable("spec.names.kind", object.spec.names.kind, old.spec.names.kind));
    for (const version of (old.status?.storedVersions ?? []) as string[]) {
      if (!(object.spec.versions ?? []).some((entry: any) => entry.name === version)) errors.push(invalid("status.storedVersions[0]", version, "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions".replaceAll("v1", version)));
    }
    return errors;
  },
  columns: [name, createdAt],
};
