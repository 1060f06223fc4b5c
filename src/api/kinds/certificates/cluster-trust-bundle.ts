import { X509Certificate } from "node:crypto";
import { pemBlocks } from "../../../base/der.ts";
import { type FieldError, invalid, tooLong } from "../../field.ts";
import type { Strategy } from "../../kind.ts";
import type { KubeObject } from "../../meta.ts";
import { immutable } from "../../validation/checks.ts";
import { trustBundleNameErrors, validateSignerName } from "../../validation/signer-name.ts";
import { name, text } from "../columns.ts";

/** Source: k8s.io/kubernetes/pkg/{apis/certificates/validation/validation.go,registry/certificates/clustertrustbundle/strategy.go}. */
const bundleBytesMax = 1024 * 1024;

const signerOf = ({ spec }: KubeObject): string => spec?.signerName ?? "";

function validate(object: KubeObject, old?: KubeObject): FieldError[] {
  const { metadata, spec } = object;
  const signer = signerOf(object);
  const errors = trustBundleNameErrors(signer, metadata.name ?? "", false).map((why) => invalid("metadata.name", metadata.name, why));
  if (!old && metadata.generateName) errors.unshift(...trustBundleNameErrors(signer, metadata.generateName, true).map((why) => invalid("metadata.generateName", metadata.generateName, why)));
  if (signer !== "") errors.push(...validateSignerName("spec.signerName", signer));
  const bundle: string = spec?.trustBundle ?? "";
  if (!old || bundle !== (old.spec?.trustBundle ?? "")) errors.push(...validateTrustBundle("spec.trustBundle", bundle));
  return errors;
}

function validateTrustBundle(path: string, bundle: string): FieldError[] {
  if (Buffer.byteLength(bundle) > bundleBytesMax) return [tooLong(path, bundleBytesMax)];
  const wrong = (why: string): FieldError => invalid(path, "<value omitted>", why);
  const blocks = pemBlocks(bundle);
  const errors = blocks.flatMap(({ label, whole, bytes }, index) => {
    if (label !== "CERTIFICATE") return [wrong(`entry ${index} has bad block type: ${label}`)];
    if (whole.split("\n").some((line) => line.includes(":"))) return [wrong(`entry ${index} has PEM block headers`)];
    const isAuthority = readAuthority(bytes);
    if (isAuthority === undefined) return [wrong(`entry ${index} does not parse as X.509`)];
    return isAuthority ? [] : [wrong(`entry ${index} does not have the CA bit set`)];
  });
  if (errors.length > 0) return errors;
  if (blocks.length === 0) return [wrong("at least one trust anchor must be provided")];
  const places = Map.groupBy(blocks.keys(), (index) => blocks[index]!.bytes.toString("base64"));
  return [...places.values()].filter((indices) => indices.length > 1).map((indices) => wrong(`duplicate trust anchor (indices [${indices.join(" ")}])`));
}

/** Undefined: it is no certificate. */
function readAuthority(bytes: Buffer): boolean | undefined {
  try {
    return new X509Certificate(bytes).ca;
  } catch {
    return undefined;
  }
}

export const clusterTrustBundle: Strategy = {
  conditionalUpdate: true,
  // With what it signs for: see validate.
  validateName: () => [],
  validate,
  validateUpdate: (object, old) => immutable("spec.signerName", signerOf(object), signerOf(old)),
  columns: [name, text("SignerName", ({ spec }) => spec?.signerName, "<none>")],
  selectableFields: (object) => ({ "spec.signerName": signerOf(object) }),
};
