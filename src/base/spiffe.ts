/**
 * Who a program of the mesh is, as its certificate says it: "spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT".
 * Sources: SPIFFE-ID §2, Istio's form of the path.
 */
export interface SpiffeId {
  trustDomain: string;
  namespace: string;
  serviceAccount: string;
}

export const writeSpiffeId = ({ trustDomain, namespace, serviceAccount }: SpiffeId): string => `spiffe://${trustDomain}/ns/${namespace}/sa/${serviceAccount}`;

/** Undefined unless it is of the form that {@link writeSpiffeId} writes, of whatever trust domain. */
export function parseSpiffeId(id: string): SpiffeId | undefined {
  const found = /^spiffe:\/\/([a-z0-9._-]{1,255})\/ns\/([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)\/sa\/([a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?)$/.exec(id);
  return found ? { trustDomain: found[1]!, namespace: found[2]!, serviceAccount: found[3]! } : undefined;
}
