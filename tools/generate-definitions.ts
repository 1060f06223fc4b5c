/**
 * Distils the CustomResourceDefinitions that are there from the start (src/api/definitions/NAME.json) from the projects' own:
 * names, types, formats, defaults, enums, list types, rules, columns; no descriptions. Deterministic, so that a test can
 * prove them up to date.
 *
 *   node tools/generate-definitions.ts <folder with conformance/ and data/>
 *
 * Origin: kubernetes-sigs/gateway-api v1.6.1, cert-manager/cert-manager v1.21 istio/api b8f8791 and envoyproxy/gateway d32f282, all Apache-2.0.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";

interface Source {
  name: string;
  folder: string;
  /** Of the definition's name. */
  only: RegExp;
}
const sources: Source[] = [
  // The experimental channel is the standard one with more fields.
  { name: "gateway-api", folder: "conformance/gateway-api/crds/experimental", only: /\.gateway\.networking\.k8s\.io$/ },
  { name: "cert-manager", folder: "data/crds/cert-manager", only: /\.cert-manager\.io$/ },
  // The mesh's; not those for which a proxy beside each pod, or a gateway of another design, would be needed.
  { name: "istio", folder: "data/crds/istio", only: /^(virtualservices|destinationrules|serviceentries|sidecars)\.networking\.istio\.io$|\.security\.istio\.io$|\.telemetry\.istio\.io$/ },
  // What a gateway does beyond routing; not how Envoy itself is run.
  { name: "envoy-gateway", folder: "data/crds/envoy-gateway", only: /^(securitypolicies|backendtrafficpolicies|clienttrafficpolicies|httproutefilters)\.gateway\.envoyproxy\.io$/ },
];

type Json = null | boolean | number | string | Json[] | { [field: string]: Json };

/** Without prose; a property that is called description stays. */
function withoutProse(value: Json, named = false): Json {
  if (Array.isArray(value)) return value.map((item) => withoutProse(item));
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([field]) => named || field !== "description");
  return Object.fromEntries(kept.map(([field, inner]) => [field, withoutProse(inner, !named && field === "properties")]));
}

export function generateDefinitions(shared: string): Record<string, string> {
  const files: Record<string, string> = {};
  const names: Record<string, string[]> = {};
  for (const { name, folder, only } of sources) {
    const definitions: Json[] = [];
    for (const file of readdirSync(join(shared, folder)).sort()) {
      if (!file.endsWith(".yaml") || file === "kustomization.yaml") continue;
      for (const document of loadAll(readFileSync(join(shared, folder, file), "utf8")) as { kind?: string; metadata: { name: string; annotations?: Record<string, string> }; spec: Json }[]) {
        if (document?.kind !== "CustomResourceDefinition" || !only.test(document.metadata.name)) continue;
        const annotations = Object.fromEntries(Object.entries(document.metadata.annotations ?? {}).filter(([key]) => !/^(controller-gen|helm\.sh)/.test(key)));
        definitions.push({ apiVersion: "apiextensions.k8s.io/v1", kind: "CustomResourceDefinition", metadata: { name: document.metadata.name, annotations }, spec: withoutProse(document.spec) });
      }
    }
    if (definitions.length === 0) throw new Error(`${folder} has none of ${only.source}`);
    names[name] = definitions.map((definition) => (definition as { metadata: { name: string } }).metadata.name);
    files[`${name}.json`] = `[\n${definitions.map((definition) => JSON.stringify(definition)).join(",\n")}\n]\n`;
  }
  // What a start reads, to see whether anything of the others is missing.
  files["names.json"] = `${JSON.stringify(names, null, 1)}\n`;
  return files;
}

if (import.meta.main) {
  const target = join(import.meta.dirname, "../src/api/definitions");
  mkdirSync(target, { recursive: true });
  for (const [file, text] of Object.entries(generateDefinitions(process.argv[2] ?? join(import.meta.dirname, "../../shared")))) writeFileSync(join(target, file), text);
}
