import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { ageOf, name } from "../columns.ts";

/** Of the secrets only the names are kept. */
function namesOnly(object: KubeObject): void {
  if (object["secrets"]) object["secrets"] = (object["secrets"] as { name?: string }[]).map(({ name: secret }) => (secret ? { name: secret } : {}));
}

export const serviceAccount: Strategy = {
  prepareForCreate: namesOnly,
  prepareForUpdate: namesOnly,
  columns: [name, ageOf],
};
