import { StatusError } from "../../api/status.ts";

/** How an answer shall look, from the Accept header: the first clause that can be served wins. */
export interface Form {
  media: "json" | "yaml";
  /** "Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList": what the object is turned into. */
  as?: string;
  /** "v1" or "v1beta1" of meta.k8s.io; "v2" or "v2beta1" of discovery. */
  version?: string;
}

const servedMedia = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

export function formOf(accept: string | undefined): Form {
  if (accept === undefined || accept.trim() === "") return { media: "json" };
  for (const { type, parameters } of clausesOf(accept)) {
    const media = type === "application/json" || type === "*/*" || type === "application/*" ? "json" : type === "application/yaml" ? "yaml" : undefined;
    if (!media) continue;
    const { as, v, g, profile } = parameters;
    if (as === undefined) return { media };
    // An unknown profile is a newer wish: the next clause says what else would do.
    if (profile !== undefined) continue;
    if (["Table", "PartialObjectMetadata", "PartialObjectMetadataList"].includes(as) && g === "meta.k8s.io" && (v === "v1" || v === "v1beta1")) return { media, as, version: v };
    if (as === "APIGroupDiscoveryList" && g === "apidiscovery.k8s.io" && (v === "v2" || v === "v2beta1")) return { media, as, version: v };
  }
  throw new StatusError(406, "NotAcceptable", `only the following media types are accepted: ${servedMedia}`);
}

export function clausesOf(header: string): { type: string; parameters: Record<string, string> }[] {
  return header.split(",").map((clause) => {
    const [type, ...rest] = clause.split(";").map((part) => part.trim());
    return { type: type!.toLowerCase(), parameters: Object.fromEntries(rest.map((part) => part.split("=", 2).map((word) => word.trim()) as [string, string])) };
  });
}
