import "reflect-metadata";
import assert from "node:assert/strict";
import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { connect, type ConnectionOptions } from "node:tls";
import { X509Certificate as Authority, X509CrlGenerator } from "@peculiar/x509";
import type { ClientValidation, EdgeListener, ListenerTls } from "../../api/traffic.ts";
import { ListenerCertificates } from "../http/tls.ts";
import { authority, certificateFor, makeAuthority } from "../http/testing/certificates.ts";
import { Client } from "../http/testing/gateway.ts";
import { type EdgeWorld, startEdge } from "./testing/edge-world.ts";

const server = certificateFor(["a.example"]);
const terminate = (more: Partial<ListenerTls>): Partial<EdgeListener> & { tls: ListenerTls } => ({ protocol: "HTTPS", tls: { mode: "terminate", certificates: [{ certificate: server.cert, key: server.key }], ...more } });

const day = 86_400_000;
/** What an authority has revoked, good until `nextUpdate`. */
async function revokedBy({ cert, key }: { cert: string; key: string }, certificates: { cert: string }[], nextUpdate = Date.now() + day): Promise<string> {
  const signingKey = await webcrypto.subtle.importKey("pkcs8", createPrivateKey(key).export({ type: "pkcs8", format: "der" }), { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
  const list = await X509CrlGenerator.create({
    issuer: new Authority(cert).subjectName,
    thisUpdate: new Date(Math.min(nextUpdate, Date.now()) - day),
    nextUpdate: new Date(nextUpdate),
    entries: certificates.map((one) => ({ serialNumber: new X509Certificate(one.cert).serialNumber, revocationDate: new Date(Date.now() - day) })),
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    signingKey: signingKey as never,
  });
  return `-----BEGIN X509 CRL-----\n${Buffer.from(list.rawData).toString("base64")}\n-----END X509 CRL-----\n`;
}

/** A request over TLS: its status, or undefined where nobody is let in. */
async function ask(world: EdgeWorld, options: ConnectionOptions): Promise<number | undefined> {
  const socket = connect({ port: world.port, host: "127.0.0.1", servername: "a.example", ca: authority.cert, ...options });
  try {
    await once(socket, "secureConnect");
    const client = new Client(socket);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    return (await client.answer()).status;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

const ann = certificateFor(["ann.example"], { client: true });
const bob = certificateFor(["bob.example"], { client: true });
const another = makeAuthority("another");
const cat = certificateFor(["cat.example"], { client: true, authority: another });
const people = { ann, bob, cat, none: {} };

const list = (...revoked: { cert: string }[]): Promise<string> => revokedBy(authority, revoked);
const both = `${authority.cert}\n${another.cert}`;
/** Whose authorities, which lists, and who is let in: ann and bob of ours, cat of another, and one without a certificate. */
const lists: [why: string, validation: Partial<ClientValidation>, revoked: () => Promise<string[]>, letIn: string][] = [
  ["whom a list names is not let in", {}, async () => [await list(bob)], "ann"],
  ["a list that names nobody", {}, async () => [await list()], "ann bob"],
  ["one without a certificate is let in as before", { mode: "ifGiven" }, async () => [await list(bob)], "ann none"],
  ["an authority without a list: nobody knows whom it has revoked", { authorities: both }, async () => [await list(bob)], "ann"],
  ["each authority with its own", { authorities: both }, async () => [await list(bob), await revokedBy(another, [])], "ann cat"],
  ["a list that is too old says nothing any more", {}, async () => [await revokedBy(authority, [], Date.now() - 1000)], ""],
  ["a list that another has signed in its name", {}, async () => [await revokedBy({ cert: authority.cert, key: another.key }, [])], ""],
];
for (const [why, validation, revoked, letIn] of lists) {
  test(`revoked certificates: ${why}`, async () => {
    await using world = await startEdge(terminate({ clientValidation: { authorities: authority.cert, optional: false, revoked: await revoked(), ...validation } }));
    const found: string[] = [];
    for (const [name, pair] of Object.entries(people)) if ((await ask(world, pair)) === 200) found.push(name);
    assert.equal(found.join(" "), letIn);
  });
}

test("revoked certificates: what is no list is no listener", () => {
  for (const revoked of ["", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", authority.cert]) {
    assert.throws(() => new ListenerCertificates(terminate({ clientValidation: { authorities: authority.cert, optional: false, revoked: [revoked] } }).tls), /CRL/);
  }
});

/** What the listener takes, what its client wants, and whether they come together. */
const handshakes: [why: string, tls: Partial<ListenerTls>, options: ConnectionOptions, isMade: boolean][] = [
  ["a curve of both", { curves: "P-384:X25519" }, { ecdhCurve: "X25519" }, true],
  ["a curve of the client's alone", { curves: "P-384" }, { ecdhCurve: "X25519" }, false],
  ["the same in TLS 1.2", { curves: "P-384", maxVersion: "TLSv1.2" }, { ecdhCurve: "X25519" }, false],
  ["a signature of both", { signatures: "ecdsa_secp256r1_sha256" }, { sigalgs: "ecdsa_secp256r1_sha256" }, true],
  ["a signature of the client's alone", { signatures: "rsa_pss_rsae_sha256" }, { sigalgs: "ecdsa_secp256r1_sha256" }, false],
];
for (const [why, tls, options, isMade] of handshakes) {
  test(`handshakes: ${why}`, async () => {
    await using world = await startEdge(terminate(tls));
    assert.equal(await ask(world, options), isMade ? 200 : undefined);
  });
}

for (const [resumes, maxVersion, isReused] of [[undefined, "TLSv1.3", true], [undefined, "TLSv1.2", true], [false, "TLSv1.3", false], [false, "TLSv1.2", false]] as const) {
  test(`sessions: ${resumes === false ? "none is" : "one is"} taken up again, ${maxVersion}`, async () => {
    await using world = await startEdge(terminate({ maxVersion, ...(resumes === false && { resumes }) }));
    const options = { port: world.port, host: "127.0.0.1", servername: "a.example", ca: authority.cert };
    const first = connect(options);
    let session: Buffer | undefined;
    first.on("session", (one: Buffer) => (session = one));
    await once(first, "secureConnect");
    // A session of TLS 1.3 comes behind the handshake, and so before the answer.
    const client = new Client(first);
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    await client.answer();
    first.destroy();
    const second = connect({ ...options, ...(session && { session }) });
    await once(second, "secureConnect");
    assert.equal(second.isSessionReused(), isReused);
    second.destroy();
  });
}
