import { duplicate, type FieldError } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, each, immutable } from "../../validation/checks.ts";
import { validateLabels } from "../../validation/metadata.ts";
import { dns1123Label } from "../../validation/names.ts";
import { ageOf, name, text } from "../columns.ts";
import { validateResources } from "../core/pod/resources.ts";
import { deprecatedNodeLabels } from "../core/pod/warnings.ts";
import { validateTolerations } from "../core/pod/scheduling.ts";

const validate = ({ handler, overhead, scheduling }: KubeObject): FieldError[] => [
  ...checked("handler", handler ?? "", dns1123Label),
  ...(overhead ? validateResources("overhead", { limits: overhead.podFixed }) : []),
  ...(scheduling?.nodeSelector ? validateLabels(scheduling.nodeSelector, "scheduling.nodeSelector") : []),
  ...validateTolerations("scheduling.tolerations", scheduling?.tolerations),
  ...each("scheduling.tolerations", scheduling?.tolerations, (toleration, at, index) => (scheduling.tolerations.slice(0, index).some((other: any) => ["key", "operator", "value", "effect"].every((field) => (other[field] ?? "") === (toleration[field] ?? ""))) ? [duplicate(at, toleration)] : [])),
];

/** Source: k8s.io/kubernetes/pkg/apis/node/validation. */
export const runtimeClass: Strategy = {
  createOnUpdate: true,
  conditionalUpdate: true,
  validate,
  validateUpdate: (object, old) => immutable("handler", object.handler, old.handler),
  warnings: ({ scheduling }) => Object.keys(scheduling?.nodeSelector ?? {}).filter((key) => Object.hasOwn(deprecatedNodeLabels, key)).map((key) => `scheduling.nodeSelector: ${deprecatedNodeLabels[key]}`),
  columns: [name, text("Handler", ({ handler }) => handler), ageOf],
};
