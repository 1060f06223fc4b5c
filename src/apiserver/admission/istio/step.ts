import { StatusError } from "../../../api/status.ts";
import type { AdmissionRequest } from "../../rest/context.ts";
import { problemsOf } from "./check.ts";

/** What istiod does by a webhook of this name: refuse what cannot be meant, before it is stored. */
const webhook = "validation.istio.io";

export function refuseWrongIstio({ operation, kind, subresource, object }: AdmissionRequest): void {
  if ((operation !== "CREATE" && operation !== "UPDATE") || subresource !== undefined || !object) return;
  const problems = problemsOf(kind.kind, object);
  if (problems.length === 0) return;
  const text = problems.length === 1 ? problems[0] : `${problems.length} errors occurred:\n\t* ${problems.join("\n\t* ")}\n\n`;
  throw new StatusError(400, "", `admission webhook ${JSON.stringify(webhook)} denied the request: configuration is invalid: ${text}`);
}
