/** A service account, as which programs of the mesh know each other. */
export interface MeshAccount {
  namespace: string;
  serviceAccount: string;
}

/** With what the listeners of a Service show that they speak for its pods: plain JSON, which crosses process borders, and is never on a disk. */
export interface MeshIdentity extends MeshAccount {
  /** PEM: the certificate, then those that lead to a root. */
  certificate: string;
  /** PEM. */
  key: string;
  /** PEM of the roots that callers' certificates must lead to. */
  roots: string;
  /** Milliseconds since the epoch. */
  notBefore: number;
  notAfter: number;
}

/** "NAMESPACE/SERVICE-ACCOUNT". */
export const accountKey = ({ namespace, serviceAccount }: MeshAccount): string => `${namespace}/${serviceAccount}`;
