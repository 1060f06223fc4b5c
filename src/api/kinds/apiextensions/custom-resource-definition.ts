import { asDefinition, cleanupFinalizer } from "../../crd/definition.ts";
import type { JSONSchemaProps } from "../../crd/json-schema.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { withCondition } from "../../meta.ts";
import { createdAt, name } from "../columns.ts";
import { lazyModule } from "../../../base/lazy.ts";

const formats = lazyModule<typeof import("../../crd/formats.ts")>(import.meta.url, "../../crd/formats.ts");
const structural = lazyModule<typeof import("../../crd/structural.ts")>(import.meta.url, "../../crd/structural.ts");
const checks = lazyModule<typeof import("./validate.ts")>(import.meta.url, "./validate.ts");

/** Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1/defaults.go, pkg/registry/customresourcedefinition. */
export const customResourceDefinition: Strategy = {
  hasStatus: true,
  defaults(object) {
    const spec = (object.spec ??= {});
    const names = (spec.names ??= {});
    names.singular ||= (names.kind ?? "").toLowerCase();
    names.listKind ||= names.kind ? `${names.kind}List` : "";
    spec.versions ??= [];
    const conversion = (spec.conversion ??= { strategy: "None" });
    if (conversion.webhook?.clientConfig?.service) conversion.webhook.clientConfig.service.port ??= 443;
  },
  prepareForCreate(object) {
    object.status = { conditions: null, acceptedNames: { plural: "", kind: "" }, storedVersions: storageVersions(object) };
  },
  prepareForUpdate(object) {
    // A version that was ever stored stays listed until a migration takes it out.
    const stored: string[] = object.status?.storedVersions ?? [];
    const added = storageVersions(object).filter((version) => !stored.includes(version));
    if (added.length > 0) object.status = { ...object.status, storedVersions: [...stored, ...added] };
  },
  /** The first wish to delete a definition takes its objects first. */
  prepareForDelete(object, nowMs) {
    if (object.metadata.deletionTimestamp) return;
    const { finalizers = [] } = object.metadata;
    if (!finalizers.includes(cleanupFinalizer)) object.metadata.finalizers = [...finalizers, cleanupFinalizer];
    const conditions = withCondition(object.status?.conditions, { type: "Terminating", status: "True", reason: "InstanceDeletionPending", message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon" }, nowMs);
    object.status = { ...object.status, conditions };
  },
  validate: (object) => (object.metadata.resourceVersion ? [] : checks().validateDefinition(object)),
  validateUpdate: (object, old) => checks().validateDefinitionUpdate(object, old),
  validateStatusUpdate: (object) => checks().validateDefinitionStatus(object),
  warnings(object, old) {
    const known = new Set(old ? unknownFormats(old) : []);
    return [...unknownFormats(object)].filter((format) => !known.has(format)).map((format) => `unrecognized format ${JSON.stringify(format)}`);
  },
  columns: [name, createdAt],
};

const storageVersions = (object: KubeObject): string[] => asDefinition(object).spec.versions.filter(({ storage }) => storage).map(({ name: version }) => version);

/** Formats that nobody checks, each once. */
function unknownFormats(object: KubeObject): Set<string> {
  const unknown = new Set<string>();
  const look = (node: JSONSchemaProps) => {
    if (node.type === "string" && node.format && !formats().isKnownFormat(node.format)) unknown.add(node.format);
    structural().childrenOf(node).forEach(look);
  };
  for (const { schema } of asDefinition(object).spec.versions) if (schema?.openAPIV3Schema) look(schema.openAPIV3Schema);
  return unknown;
}
