import { type FieldError, invalid, required } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import { controllerOf, type KubeObject } from "../../meta.ts";
import { immutableText, notNegative } from "../../validation/checks.ts";
import { ageOf, countText, name, text } from "../columns.ts";

const validateData = (data: unknown): FieldError[] => (data === undefined || data === null ? [required("data", "data is mandatory")] : typeof data !== "object" || Array.isArray(data) ? [required("data", "data must be a valid JSON object")] : []);
const validate = (object: KubeObject): FieldError[] => [...notNegative("revision", object.revision), ...(object.metadata.resourceVersion ? [] : validateData(object.data))];

/** "StatefulSet.apps/web" as "statefulset.apps/web". */
function controllerName(object: KubeObject): string {
  const owner = controllerOf(object);
  if (!owner) return "<none>";
  const [group, version] = owner.apiVersion.split("/");
  return `${owner.kind.toLowerCase()}${version === undefined ? "" : `.${group}`}/${owner.name}`;
}

/** Source: k8s.io/kubernetes/pkg/apis/apps/validation/validation.go. */
export const controllerRevision: Strategy = {
  validate,
  // As upstream compares the bytes: a null in it makes another one.
  validateUpdate: (object, old) => (JSON.stringify(object.data) === JSON.stringify(old.data) ? [] : [invalid("data", object.data, immutableText)]),
  columns: [name, text("Controller", controllerName), countText("Revision", (object) => object.revision), ageOf],
};
