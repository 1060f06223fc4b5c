import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { WherryError } from "../../base/errors.ts";
import { authorityFile, readAuthority } from "./authority.ts";

const now = Date.now();
const day = 86_400_000;

/** An authority in a data directory of its own, and what is done to it before it is read. */
const refused: [what: string, spoil: (dataDir: string) => Promise<void> | void, message: RegExp, code?: string][] = [
  ["there is none yet", (dataDir) => rmSync(authorityFile(dataDir)), /makes its authority when the first certificate is asked for/, "NOT_RUNNING"],
  ["others may write the file", (dataDir) => chmodSync(authorityFile(dataDir), 0o664), /ca\.crt can be written by others/],
  ["others may write its folder", (dataDir) => chmodSync(join(dataDir, "trust"), 0o777), /trust can be written by others/],
  ["it has expired", (dataDir) => write(dataDir, { days: -1 }), /has expired/],
  ["it is not an authority's", (dataDir) => write(dataDir, { isAuthority: false }), /not an authority's/],
  ["it is another's child", (dataDir) => write(dataDir, { isOwnIssuer: false }), /not its own issuer/],
  ["two in one file", async (dataDir) => writeFileSync(authorityFile(dataDir), `${await made({})}${await made({})}`), /exactly one certificate/],
  ["no certificate", (dataDir) => writeFileSync(authorityFile(dataDir), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), /no certificate in PEM/],
];
for (const [what, spoil, message, code = "MACHINE_UNCHANGED"] of refused) {
  test(`an authority that a machine must not trust: ${what}`, async () => {
    const dataDir = mkdtempSync(join(tmpdir(), "wherry-trust-"));
    try {
      mkdirSync(join(dataDir, "trust"), { mode: 0o700 });
      await write(dataDir, {});
      assert.match(readAuthority(dataDir, now).id, /^[0-9a-f]{8}$/);
      await spoil(dataDir);
      assert.throws(
        () => readAuthority(dataDir, now),
        (error) => error instanceof WherryError && error.code === code && message.test(error.message),
      );
    } finally {
      rmSync(dataDir, { recursive: true, force: true });
    }
  });
}

interface Wish {
  days?: number;
  isAuthority?: boolean;
  isOwnIssuer?: boolean;
}

const write = async (dataDir: string, wish: Wish): Promise<void> => writeFileSync(authorityFile(dataDir), await made(wish), { mode: 0o600 });

async function made({ days = 1, isAuthority = true, isOwnIssuer = true }: Wish): Promise<string> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const pair = async () => (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as { privateKey: CryptoKey; publicKey: CryptoKey };
  const [keys, other] = [await pair(), await pair()];
  const certificate = await x509.X509CertificateGenerator.create({
    subject: "CN=authority",
    issuer: isOwnIssuer ? "CN=authority" : "CN=other",
    publicKey: keys.publicKey,
    signingKey: isOwnIssuer ? keys.privateKey : other.privateKey,
    signingAlgorithm: algorithm,
    notBefore: new Date(now - 2 * day),
    notAfter: new Date(now + days * day),
    extensions: [new x509.BasicConstraintsExtension(isAuthority, undefined, true)],
  });
  return `${certificate.toString("pem")}\n`;
}
