import type { HttpFilter, HttpRule } from "../api/traffic.ts";
import { placesOf } from "./tokens/places.ts";

/** Parameters of the query that let their owner in, as a rule's filters are told where to look: the access log leaves their values out. */
export function secretParameters({ filters, backends }: Pick<HttpRule, "filters" | "backends">): string[] {
  return [...new Set([...filters, ...backends.flatMap((backend) => backend.filters ?? [])].flatMap(namesIn))];
}

function namesIn(filter: HttpFilter): string[] {
  switch (filter.type) {
    case "anyOf":
      return filter.of.flat().flatMap(namesIn);
    case "apiKey":
      return filter.from.flatMap(({ in: where, name }) => (where === "query" ? [name] : []));
    case "authorizer":
      return filter.identity.flatMap(({ in: where, name }) => (where === "query" ? [name] : []));
    case "jwt":
      return filter.providers.flatMap(placesOf).flatMap(({ param }) => param ?? []);
    case "oidc":
      return ["code", "state"];
    default:
      return [];
  }
}
