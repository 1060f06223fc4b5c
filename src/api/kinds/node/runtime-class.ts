import type { FieldError } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { checked, immutable } from "../../validation/checks.ts";
import { dns1123Label } from "../../validation/names.ts";
import { ageOf, name, text } from "../columns.ts";

const validate = (object: KubeObject): FieldError[] => checked("handler", object.handler ?? "", dns1123Label);

/** Source: k8s.io/kubernetes/pkg/apis/node/validation. */
export const runtimeClass: Strategy = {
  validate,
  validateUpdate: (object, old) => immutable("handler", object.handler, old.handler),
  columns: [name, text("Handler", ({ handler }) => handler), ageOf],
};
