import { lazyModule } from "../../base/lazy.ts";

const crypto = lazyModule<typeof import("node:crypto")>(import.meta.url, "node:crypto");
const ivBytes = 12;
const tagBytes = 16;

/**
 * Encrypts what a browser keeps for us, so that it can neither be read nor made up: AES-256-GCM, by a key that HKDF (RFC 5869) makes of
 * secrets that all workers have. `context` says whose it is: what one policy has sealed is nothing to another.
 */
export class Seal {
  readonly #key: Buffer;

  constructor(secrets: readonly string[], context: string) {
    this.#key = Buffer.from(crypto().hkdfSync("sha256", secrets.join("\0"), "wherry/oidc", context, 32));
  }

  /** In base64url. `role`: what it is for; it opens as nothing else. */
  close(role: string, value: unknown): string {
    const iv = crypto().randomBytes(ivBytes);
    const cipher = crypto().createCipheriv("aes-256-gcm", this.#key, iv).setAAD(Buffer.from(role));
    return Buffer.concat([iv, cipher.update(JSON.stringify(value), "utf8"), cipher.final(), cipher.getAuthTag()]).toString("base64url");
  }
  /** Undefined: it is not of ours, or was changed. */
  open(role: string, text: string): unknown {
    const bytes = Buffer.from(text, "base64url");
    if (bytes.length < ivBytes + tagBytes || bytes.toString("base64url") !== text) return undefined;
    try {
      const decipher = crypto().createDecipheriv("aes-256-gcm", this.#key, bytes.subarray(0, ivBytes), { authTagLength: tagBytes }).setAAD(Buffer.from(role)).setAuthTag(bytes.subarray(-tagBytes));
      return JSON.parse(Buffer.concat([decipher.update(bytes.subarray(ivBytes, -tagBytes)), decipher.final()]).toString("utf8")) as unknown;
    } catch {
      return undefined;
    }
  }
}

/** 256 bits of chance, in base64url. */
export const secretText = (): string => crypto().randomBytes(32).toString("base64url");
export const sha256 = (text: string): string => crypto().createHash("sha256").update(text).digest("base64url");
/** Whether they are the same, in a time that does not say where they differ. */
export function isSame(a: string, b: string): boolean {
  return crypto().timingSafeEqual(Buffer.from(sha256(a)), Buffer.from(sha256(b)));
}
