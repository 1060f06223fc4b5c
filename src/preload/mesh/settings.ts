import { readFileSync } from "node:fs";

/** What a Node program of a meshed pod is told by environment, as JSON. */
export interface MeshSettings {
  /** Where the data plane tells ways: "10.96.0.10:15053". */
  feed: string;
  /** "10.96.": how every ClusterIP begins. */
  services: string;
  /** The pod's own address, where programs cannot be told apart by it. */
  ip: string;
}

export const meshVariable = "WHERRY_MESH";

export function readMeshSettings(environment: Readonly<Record<string, string | undefined>>): MeshSettings | undefined {
  try {
    const { feed, services, ip = "" } = JSON.parse(environment[meshVariable] ?? "") as MeshSettings;
    return typeof feed === "string" && typeof services === "string" ? { feed, services, ip } : undefined;
  } catch {
    return undefined;
  }
}

/** How names are completed, where the cluster's own server is asked for them. */
export interface NameRules {
  searches: readonly string[];
  ndots: number;
  /** Names that are known without asking. */
  known(name: string): boolean;
}

/** Of the files of a pod, read at the first need. Undefined: somebody else is asked for names. */
export function nameRulesOfFiles(server: string): NameRules | undefined {
  try {
    const lines = readFileSync("/etc/resolv.conf", "utf8").split("\n").map((line) => line.trim().split(/\s+/));
    if (lines.find(([word]) => word === "nameserver")?.[1] !== server) return undefined;
    const hosts = new Set(readFileSync("/etc/hosts", "utf8").split("\n").flatMap((line) => line.replace(/#.*/, "").trim().split(/\s+/).slice(1)).map((name) => name.toLowerCase()));
    const ndots = lines.flatMap(([word, ...rest]) => (word === "options" ? rest : [])).find((option) => option.startsWith("ndots:"));
    return { searches: lines.find(([word]) => word === "search")?.slice(1) ?? [], ndots: Number(ndots?.slice("ndots:".length) ?? 1), known: (name) => hosts.has(name) };
  } catch {
    return undefined;
  }
}
