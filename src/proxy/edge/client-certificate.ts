import { createHash, X509Certificate } from "node:crypto";
import type { ClientValidation } from "../../api/traffic.ts";
import { compileTextMatch } from "../../policy/text-match.ts";
import { altNamesOf } from "../http/forwarded-certificate.ts";
import type { Secured } from "../http/tls.ts";

const compiled = new WeakMap<ClientValidation, ((certificate: X509Certificate) => boolean) | "any">();

/** Whether a client with this certificate, or without one, is let in; within the handshake's callback. */
export function isLetIn(validation: ClientValidation, { authorized, peerCertificate }: Pick<Secured, "authorized" | "peerCertificate">): boolean {
  const { optional, mode } = validation;
  if (optional) return true;
  let fits = compiled.get(validation);
  if (!fits) compiled.set(validation, (fits = compile(validation)));
  if (authorized && mode !== "any" && fits === "any") return true;
  const shown = peerCertificate();
  if (!shown) return mode === "ifGiven";
  return (authorized || mode === "any") && (fits === "any" || fits(new X509Certificate(shown)));
}

function compile({ names = [], certificateHashes = [], keyHashes = [] }: ClientValidation): ((certificate: X509Certificate) => boolean) | "any" {
  const matchers = names.map(({ of, ...match }, i) => ({ of, fits: compileTextMatch(match, `names[${i}]`) }));
  const hasHashes = certificateHashes.length + keyHashes.length > 0;
  if (matchers.length === 0 && !hasHashes) return "any";
  return (certificate) => {
    if (matchers.length > 0) {
      const own = altNamesOf(certificate);
      if (!matchers.some(({ of, fits }) => own.some(({ type, value }) => type === of && fits(value)))) return false;
    }
    return !hasHashes || certificateHashes.includes(sha256(certificate.raw).toString("hex")) || keyHashes.includes(sha256(certificate.publicKey.export({ type: "spki", format: "der" })).toString("base64"));
  };
}
const sha256 = (bytes: Buffer): Buffer => createHash("sha256").update(bytes).digest();
