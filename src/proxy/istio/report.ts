/** What Istio's own analysis would say, by its codes. Source: istio.io/latest/docs/reference/config/analysis. */
export const analyses = {
  IST0101: { name: "ReferencedResourceNotFound", level: "ERROR" },
  IST0106: { name: "SchemaValidationError", level: "ERROR" },
  IST0109: { name: "ConflictingMeshGatewayVirtualServiceHosts", level: "ERROR" },
  IST0112: { name: "VirtualServiceDestinationPortSelectorRequired", level: "ERROR" },
  IST0130: { name: "VirtualServiceUnreachableRule", level: "WARNING" },
} as const;
export type AnalysisCode = keyof typeof analyses;

/** What is to be said to one object; each once, in the order in which it was found. */
export class Report {
  readonly found = new Map<string, AnalysisCode>();
  readonly fields = new Set<string>();
  /** Where it is in force: "port 80 of Service shop/web". */
  readonly places = new Set<string>();

  analysis(code: AnalysisCode, message: string): void {
    this.found.set(message, code);
  }
  /** A field that is not honoured: what is done instead, or that nothing is. */
  field(path: string, why: string): void {
    this.fields.add(`${path}: ${why}`);
  }
  place(text: string): void {
    this.places.add(text);
  }
}
