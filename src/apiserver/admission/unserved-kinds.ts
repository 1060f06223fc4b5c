import { unserved, unservedText } from "../../api/unserved.ts";
import type { AdmissionStep } from "../rest/context.ts";

const texts = new Map(unserved.map((entry) => [`${entry.resource}.${entry.group}`, unservedText(entry)]));

/** Warns whoever creates an object of a kind that nothing acts on. */
export function unservedKinds(): AdmissionStep {
  return {
    name: "UnservedKinds",
    validate({ operation, kind, subresource, warnings }) {
      const text = operation === "CREATE" && subresource === undefined ? texts.get(`${kind.resource}.${kind.group}`) : undefined;
      if (text) warnings.push(text);
    },
  };
}
