import { type CertificateRequest, parseRequest } from "../../api/kinds/certificates/pkcs10.ts";
import type { Client } from "../../api/client.ts";
import { timestamp } from "../../api/meta.ts";
import { resources } from "../../api/resources.ts";
import { StatusError } from "../../api/status.ts";
import { identitySecondsMost, type MeshAuthority, parseSpiffeId, type SpiffeId, trustDomain } from "../../api/x509/mesh-authority.ts";
import type { SigningRequest } from "../certificates/signer.ts";
import { type Controller, controller } from "../runner.ts";
import { meshSigner } from "./names.ts";

const allowed: ReadonlySet<string> = new Set(["digital signature", "key encipherment", "client auth", "server auth"]);

/** Who a request for the mesh's signer asks to be, or why it is not signed. */
export function identityIn(request: CertificateRequest, usages: readonly string[]): SpiffeId | string {
  const odd = usages.find((usage) => !allowed.has(usage));
  if (odd !== undefined) return `usage ${JSON.stringify(odd)} is not allowed`;
  if (!usages.includes("digital signature")) return 'missing required usage: "digital signature"';
  if (!usages.includes("client auth") && !usages.includes("server auth")) return 'missing required usage: "client auth" or "server auth"';
  for (const [names, what] of [[request.dnsNames, "DNS"], [request.addresses, "IP"], [request.emails, "Email"]] as const) if (names.length > 0) return `${what} subjectAltNames are not allowed`;
  const [uri, ...more] = request.uris;
  if (uri === undefined || more.length > 0) return "exactly one URI subjectAltName is required: the SPIFFE id";
  const id = parseSpiffeId(uri);
  return id?.trustDomain === trustDomain ? id : `${JSON.stringify(uri)} is no SPIFFE id of this mesh: spiffe://${trustDomain}/ns/NAMESPACE/sa/SERVICE-ACCOUNT`;
}

const isTrue = ({ status }: SigningRequest, type: string): boolean => (status?.conditions ?? []).some((entry) => entry.type === type && entry.status === "True");

/**
 * Signs CertificateSigningRequests for the mesh's signer, once somebody who may has approved them: programs that are no pods
 * become somebody by that. The service account must exist: an identity is never that of nobody.
 */
export function meshRequestSigner(authority: () => MeshAuthority, client: Client): Controller {
  const write = (object: SigningRequest, status: object) => client.update(resources.certificateSigningRequests, undefined, object.metadata.name, { ...object, status: { ...object.status, ...status } }, { subresource: "status", fieldManager: "kube-controller-manager" });
  return controller<SigningRequest>({
    name: "mesh-csr-signer",
    for: resources.certificateSigningRequests,
    plan({ object, nowMs }) {
      const { spec, status, metadata } = object;
      if (spec.signerName !== meshSigner || metadata.deletionTimestamp || status?.certificate || !isTrue(object, "Approved") || isTrue(object, "Denied") || isTrue(object, "Failed")) return { actions: [] };
      const fail = (message: string) => write(object, { conditions: [...(status?.conditions ?? []), { type: "Failed", status: "True", reason: "SignerValidationFailure", message, lastUpdateTime: timestamp(nowMs) }] });
      const run = async (): Promise<void> => {
        const request = parseRequest(Buffer.from(spec.request, "base64").toString("latin1"));
        const usages = spec.usages ?? [];
        const id = identityIn(request, usages);
        if (typeof id === "string") return void (await fail(id));
        const account = await client.get(resources.serviceAccounts, id.namespace, id.serviceAccount).catch((error: unknown) => {
          if (error instanceof StatusError && error.code === 404) return undefined;
          throw error;
        });
        if (!account) return void (await fail(`there is no service account ${id.serviceAccount} in namespace ${id.namespace}`));
        const { chainPem } = authority().issue({ spiffeId: request.uris[0]!, publicKey: request.publicKey, usages, lifetimeSeconds: Math.min(spec.expirationSeconds ?? identitySecondsMost, identitySecondsMost) });
        await write(object, { certificate: Buffer.from(chainPem).toString("base64") });
      };
      return { actions: [{ do: "call", run }] };
    },
  });
}
