/**
 * Reads the allowed values that kube-apiserver publishes of the fields of its kinds: they follow from markers of its
 * Go sources, and the documents that Kubernetes keeps beside its sources leave them out. Needs the server that
 * tools/build-oracle.mjs builds, which it starts on loopback and ends.
 *
 *   node tools/read-enums.ts
 *
 * Writes tools/enums.json: definition → field → values; of a list or a map, those of its elements. It is an input of
 * tools/generate-kinds.ts and changes only with the Kubernetes version.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startOracle } from "../test/conformance/differential/oracle.ts";

interface Property {
  enum?: unknown[];
  items?: Property;
  additionalProperties?: Property;
}
await using oracle = await startOracle({ args: ["--runtime-config", "admissionregistration.k8s.io/v1beta1=true,certificates.k8s.io/v1beta1=true", "--feature-gates", "ClusterTrustBundle=true,PodCertificateRequest=true"] });
const read = async (path: string): Promise<unknown> => JSON.parse((await oracle.client.raw("GET", path, undefined, { accept: "application/json" })).text);
const found = new Map<string, Record<string, unknown[]>>();
const { paths } = (await read("/openapi/v3")) as { paths: Record<string, unknown> };
for (const path of Object.keys(paths).filter((path) => /^apis?\/(.+\/)?v\d\w*$/.test(path))) {
  const { components } = (await read(`/openapi/v3/${path}`)) as { components?: { schemas?: Record<string, { properties?: Record<string, Property> }> } };
  for (const [name, { properties = {} }] of Object.entries(components?.schemas ?? {})) {
    const fields = Object.entries(properties).flatMap(([field, property]): [string, unknown[]][] => {
      const values = property.enum ?? property.items?.enum ?? property.additionalProperties?.enum;
      return values ? [[field, values]] : [];
    });
    if (fields.length > 0) found.set(name, Object.fromEntries(fields.sort(([a], [b]) => (a < b ? -1 : 1))));
  }
}
const lines = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, fields]) => `${JSON.stringify(name)}: ${JSON.stringify(fields)}`);
writeFileSync(join(import.meta.dirname, "enums.json"), `{\n${lines.join(",\n")}\n}\n`);
