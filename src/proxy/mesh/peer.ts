import { elements, inside, tag, objectId } from "../../base/der.ts";
import { parseSpiffeId, type SpiffeId } from "../../base/spiffe.ts";

/** Who has shown a certificate, or why it proves nothing. */
export type Peer = { caller: SpiffeId; reason?: undefined } | { caller?: undefined; reason: string };

const alternativeNames = "2.5.29.17";
const basicConstraints = "2.5.29.19";
const keyUsage = "2.5.29.15";
const uniformResource = 0x86;
const digitalSignature = 0x80;
const certificateOrListSign = 0x06;
/** A certificate of the mesh has some 500 bytes; this much is read of one. */
const bytesMax = 16 * 1024;

/**
 * Who a certificate is for, whose chain and times have been checked already: it must be that of a program, not of an authority, and
 * name it once. `certificate`: DER. Sources: SPIFFE X.509-SVID §2 and §5.2, RFC 5280 §4.2.1.
 */
export function readPeer(certificate: Buffer, trustDomain: string): Peer {
  if (certificate.length > bytesMax) return { reason: "the certificate is too long" };
  try {
    return read(certificate, trustDomain);
  } catch {
    return { reason: "the certificate's structure is wrong" };
  }
}

function read(certificate: Buffer, trustDomain: string): Peer {
  const constraints = extensionOf(certificate, basicConstraints);
  if (constraints && inside(elements(constraints)[0], tag.sequence)[0]?.tag === tag.boolean) return { reason: "the certificate is an authority's, not a program's" };
  const usage = extensionOf(certificate, keyUsage);
  if (!usage) return { reason: "the certificate does not say what its key is for" };
  // The first byte says how many bits are not used.
  const bits = elements(usage)[0]!.content[1] ?? 0;
  if ((bits & certificateOrListSign) !== 0) return { reason: "the certificate is an authority's, not a program's" };
  if ((bits & digitalSignature) === 0) return { reason: "the certificate's key is not for signatures" };
  const names = extensionOf(certificate, alternativeNames);
  const uris = names ? inside(elements(names)[0], tag.sequence).filter((name) => name.tag === uniformResource) : [];
  if (uris.length !== 1) return { reason: uris.length === 0 ? "the certificate has no URI among its names" : `the certificate has ${uris.length} URIs among its names` };
  const uri = uris[0]!.content.toString("latin1");
  const caller = parseSpiffeId(uri);
  if (!caller) return { reason: `${JSON.stringify(uri.slice(0, 300))} is nobody's name in the mesh` };
  return caller.trustDomain === trustDomain ? { caller } : { reason: `${uri} is of another trust domain than ${trustDomain}` };
}

function extensionOf(certificate: Buffer, id: string): Buffer | undefined {
  const [body] = inside(elements(certificate)[0], tag.sequence);
  const list = inside(body, tag.sequence).find((field) => field.tag === 0xa3);
  const wanted = objectId(id);
  const found = (list ? inside(elements(list.content)[0], tag.sequence) : []).map((one) => inside(one, tag.sequence)).filter(([name]) => name!.whole.equals(wanted));
  // Of two, everybody may read the other one.
  if (found.length > 1) throw new Error(`${id} twice`);
  return found[0]?.at(-1)!.content;
}
