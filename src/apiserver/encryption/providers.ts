import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js";
import { encryptedPrefix } from "../../store/transform.ts";
import type { ProviderConfig } from "./config.ts";

/** One key of one provider: an entry in the list of what can read. */
export interface Provider {
  /** What its values begin with: "k8s:enc:aesgcm:v1:NAME:"; "" for values as they are. */
  readonly prefix: string;
  /** The prefix, and which key: one of the same name may be another. "" for values as they are. */
  readonly id: string;
  /** With the prefix. `key` is authenticated with it where the provider can: no value passes for another's. */
  encrypt(key: string, bytes: Buffer): Buffer;
  /** Without the prefix. Throws an Error in upstream's words. */
  decrypt(key: string, bytes: Buffer): Buffer;
}

export const identity: Provider = { prefix: "", id: "", encrypt: (_, bytes) => bytes, decrypt: (_, bytes) => bytes };

interface Cipher {
  encrypt(secret: Buffer, key: string, bytes: Buffer): Buffer[];
  decrypt(secret: Buffer, key: string, bytes: Buffer): Buffer;
}

const tooShort = "the stored data was shorter than the required size";
const blockBytes = 16;
const gcmNonceBytes = 12;
const tagBytes = 16;
const secretboxNonceBytes = 24;

/** Formats are upstream's. Source: k8s.io/apiserver/pkg/storage/value/encrypt/{aes,secretbox}. */
const ciphers: Record<"aesgcm" | "aescbc" | "secretbox", Cipher> = {
  aesgcm: {
    encrypt(secret, key, bytes) {
      const nonce = randomBytes(gcmNonceBytes);
      const cipher = createCipheriv(`aes-${(secret.length * 8) as 256}-gcm`, secret, nonce);
      cipher.setAAD(Buffer.from(key));
      return [nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()];
    },
    decrypt(secret, key, bytes) {
      if (bytes.length < gcmNonceBytes + tagBytes) throw new Error(tooShort);
      const decipher = createDecipheriv(`aes-${(secret.length * 8) as 256}-gcm`, secret, bytes.subarray(0, gcmNonceBytes), { authTagLength: tagBytes });
      decipher.setAAD(Buffer.from(key));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(gcmNonceBytes, -tagBytes)), decipher.final()]);
      } catch {
        throw new Error("cipher: message authentication failed");
      }
    },
  },
  aescbc: {
    encrypt(secret, _, bytes) {
      const start = randomBytes(blockBytes);
      const cipher = createCipheriv(`aes-${secret.length * 8}-cbc`, secret, start);
      return [start, cipher.update(bytes), cipher.final()];
    },
    decrypt(secret, _, bytes) {
      if (bytes.length < blockBytes * 2) throw new Error(tooShort);
      if (bytes.length % blockBytes !== 0) throw new Error("the stored data is not a multiple of the block size");
      const decipher = createDecipheriv(`aes-${secret.length * 8}-cbc`, secret, bytes.subarray(0, blockBytes));
      try {
        return Buffer.concat([decipher.update(bytes.subarray(blockBytes)), decipher.final()]);
      } catch {
        throw new Error("invalid padding on input");
      }
    },
  },
  secretbox: {
    encrypt(secret, _, bytes) {
      const nonce = randomBytes(secretboxNonceBytes);
      return [nonce, Buffer.from(xsalsa20poly1305(secret, nonce).encrypt(bytes))];
    },
    decrypt(secret, _, bytes) {
      if (bytes.length < secretboxNonceBytes + tagBytes) throw new Error(tooShort);
      try {
        return Buffer.from(xsalsa20poly1305(secret, bytes.subarray(0, secretboxNonceBytes)).decrypt(bytes.subarray(secretboxNonceBytes)));
      } catch {
        throw new Error("secretbox: message authentication failed");
      }
    },
  },
};

/** A provider for each key, in the order of the file. The configuration is one that was found valid. */
export function providersOf(config: ProviderConfig): Provider[] {
  for (const [name, cipher] of Object.entries(ciphers)) {
    const given = config[name as keyof typeof ciphers];
    if (!given) continue;
    return given.keys!.map((key) => {
      const secret = Buffer.from(key.secret, "base64");
      const prefix = `${encryptedPrefix}${name}:v1:${key.name}:`;
      const head = Buffer.from(prefix);
      return {
        prefix,
        id: `${prefix}${createHash("sha256").update(secret).digest("hex").slice(0, 16)}`,
        encrypt: (path, bytes) => Buffer.concat([head, ...cipher.encrypt(secret, path, bytes)]),
        decrypt: (path, bytes) => cipher.decrypt(secret, path, bytes),
      };
    });
  }
  return [identity];
}
