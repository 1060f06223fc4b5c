import type { MeshAccount, MeshIdentity } from "../../api/mesh-identity.ts";
import type { MeshAuthority } from "../../api/x509/mesh-authority.ts";
import { writeSpiffeId } from "../../base/spiffe.ts";
import { trustDomain } from "./trust-domain.ts";

/** In `wherry-api`: what a Service's listeners show to clients that speak TLS. A new pair of keys each time, good for a day. */
export function issueIdentity(authority: MeshAuthority, { namespace, serviceAccount }: MeshAccount): MeshIdentity {
  const { chainPem, keyPem, notBefore, notAfter } = authority.issue({ spiffeId: writeSpiffeId({ trustDomain, namespace, serviceAccount }) });
  return { namespace, serviceAccount, certificate: chainPem, key: keyPem!, roots: authority.rootsPem, notBefore: notBefore.getTime(), notAfter: notAfter.getTime() };
}
