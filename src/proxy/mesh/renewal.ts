import type { MeshIdentity } from "../../api/mesh-identity.ts";

/** When half of its time is over. */
export const renewAt = ({ notBefore, notAfter }: Pick<MeshIdentity, "notBefore" | "notAfter">): number => (notBefore + notAfter) / 2;
