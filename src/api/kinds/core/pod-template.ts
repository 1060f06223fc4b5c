import type { Strategy } from "../../kind.ts";
import { containers, labelsText, name, text } from "../columns.ts";
import { defaultPodTemplate } from "./pod/defaults.ts";
import { podWarnings } from "./pod/warnings.ts";
import { validatePodTemplate } from "./pod/spec.ts";

/** Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go. */
export const podTemplate: Strategy = {
  defaults: (object) => defaultPodTemplate((object.template ??= {})),
  warnings: (object, old) => (old && old.metadata.generation === object.metadata.generation ? [] : podWarnings("template", object.template)),
  validate: (object) => validatePodTemplate("template", object.template),
  columns: [name, ...containers((object) => object.template?.spec).map((column) => ({ ...column, priority: 0 as const })), text("Pod Labels", (object) => labelsText(object.template?.metadata?.labels))],
};
