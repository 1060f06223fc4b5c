import type { ApiStage } from "../../api/product/kinds.ts";
import type { HttpFilter } from "../../api/traffic.ts";
import { anyMethod, type Json, operationIdOf } from "./json.ts";

type CacheFilter = Extract<HttpFilter, { type: "cache" }>;

/**
 * What an operation that changes something needs of its stage's cache: when it succeeds, nothing that was kept of its path is true any
 * more, whatever else its key has. Source: RFC 9111 §4.4. Only where answers of the path are kept.
 */
export function forgetting(item: Record<string, Json>, verb: string, path: string, { cache, operations = [] }: ApiStage, { share, epoch }: { share: string; epoch: string }): CacheFilter[] {
  if (["GET", "HEAD", "OPTIONS", "TRACE", "ANY"].includes(verb)) return [];
  const isKept = ["get", "head", anyMethod].some((method) => {
    const given = item[method];
    if (given === undefined) return false;
    const id = operationIdOf(given, method, path);
    const caching = operations.find(({ operation }) => operation === id)?.cache ?? cache;
    return caching !== undefined && caching.enabled !== false;
  });
  return isKept ? [{ type: "cache", key: { query: [] }, ...(cache?.maxBytes !== undefined && { bytesMax: cache.maxBytes }), share: `api/${share}`, epoch }] : [];
}
