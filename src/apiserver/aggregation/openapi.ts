import { createHash } from "node:crypto";
import type { OpenApi, OpenApiDocument } from "../openapi/openapi.ts";
import type { Aggregator } from "./aggregator.ts";

/** The index names the documents of foreign servers too; they themselves are asked of them. Version 2 has only our own. */
export function withForeignDocuments(own: OpenApi, aggregator: Aggregator | undefined): OpenApi {
  if (!aggregator) return own;
  let kept: { of: OpenApiDocument; generation: number; document: OpenApiDocument } | undefined;
  return {
    ...own,
    index: () => {
      const of = own.index();
      const foreign = aggregator.list().filter(({ available }) => available);
      if (foreign.length === 0) return of;
      const { generation } = aggregator;
      if (kept?.of !== of || kept.generation !== generation) {
        const { paths } = JSON.parse(of.body.toString()) as { paths: object };
        const body = Buffer.from(JSON.stringify({ paths: { ...paths, ...Object.fromEntries(foreign.map(({ group, version }) => [`apis/${group}/${version}`, { serverRelativeURL: `/openapi/v3/apis/${group}/${version}` }])) } }));
        const hash = createHash("sha256").update(body).digest("hex").toUpperCase();
        kept = { of, generation, document: { contentType: of.contentType, body, hash, etag: `"${hash}"` } };
      }
      return kept.document;
    },
  };
}
