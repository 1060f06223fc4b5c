/**
 * Kinds that are stored and listed, and that nothing acts on yet. Whoever writes one is warned, and an Event on the
 * object says so: an ignored NetworkPolicy is a hole, an ignored Job a puzzle. A line goes when its part comes.
 */
export interface Unserved {
  group: string;
  resource: string;
  kind: string;
  /** What does not happen, as the second half of a sentence. */
  lack: string;
}

export const unserved: readonly Unserved[] = [
  { group: "networking.k8s.io", resource: "networkpolicies", kind: "NetworkPolicy", lack: "NO traffic is blocked by it" },
];

export const unservedText = ({ kind, lack }: Unserved): string => `Wherry stores this ${kind} but does not act on it yet: ${lack}`;
