/** What the sandbox tells a Node program of a pod, by environment. All absent: the preload does nothing. */
export interface Settings {
  /** The pod's loopback address: 127.97.x.y, or of another network that no other stack on this machine has. */
  podIP: string;
  /** Where names are resolved: an address and a port. */
  dns: { address: string; port: number };
  searches: readonly string[];
  ndots: number;
  /** "127.96.": how every ClusterIP begins. */
  serviceNetwork: string;
  /** Service ports below this one lie `privilegedPortOffset` higher, because Wherry may not bind them. 0: all are as written. */
  privilegedPortsBelow: number;
  privilegedPortOffset: number;
  /** Extra names, from hostAliases: name → address. */
  hosts: Readonly<Record<string, string>>;
  /** The variables that a child process must have again. */
  environment: Readonly<Record<string, string>>;
}

export const settingsVariable = "WHERRY_POD";

/** Reads the settings; undefined outside a pod or when they make no sense. */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings | undefined {
  const text = environment[settingsVariable];
  if (!text) return undefined;
  try {
    const settings = JSON.parse(text) as Omit<Settings, "environment">;
    // With the marks by which the sandbox knows the pod's processes.
    const own = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined && (entry[0] === "NODE_OPTIONS" || entry[0].startsWith("WHERRY_")));
    return { ...settings, environment: Object.fromEntries(own) };
  } catch {
    return undefined;
  }
}
