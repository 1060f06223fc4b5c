/** Signs identities of the mesh, for PodCertificateRequests and CertificateSigningRequests. */
export const meshSigner = "wherry.dev/mesh";
/** The ClusterTrustBundle with the mesh's roots. */
export const meshTrustBundle = `${meshSigner.replace("/", ":")}:roots`;

