import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { needs } from "../../../test/needs.ts";
import { eventually } from "../testing/network.ts";
import { TestAuthority } from "./testing/authority.ts";
import { uriOf } from "./testing/client.ts";
import { MeshWorld, number, patienceMs } from "./testing/world.ts";

/** What is not one call: connections that last, certificates that end, clients that mean harm, and those that others have written. */
const world = await MeshWorld.start();
const folder = mkdtempSync(join(tmpdir(), "wherry-tls-"));
after(async () => {
  await world[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});
const { authority, services } = world;
const good = authority.of("shop/front");
const strict = "PeerAuthentication default {mtls: {mode: STRICT}}";
const hourMs = 3_600_000;

const nothing = { cert: "", key: "" };

function open(service: keyof typeof services, options: ConnectionOptions = {}): TLSSocket {
  const { cert = good.cert, key = good.key } = options;
  const from: object = { localAddress: world.addressOf("host") };
  const socket = connectTls({ host: services[service], port: number, ...from, rejectUnauthorized: false, ...options, ...(cert === "" ? { cert: undefined, key: undefined } : { cert, key }) } as ConnectionOptions);
  socket.on("error", () => {});
  return socket;
}
/** However it ends. */
const closed = (socket: TLSSocket): Promise<void> => new Promise((resolve) => void socket.once("close", () => resolve()));
/** What comes as the answer to a piece. */
async function echo(socket: TLSSocket, text: string): Promise<string> {
  let got = "";
  const hear = (bytes: Buffer) => void (got += bytes.toString());
  socket.on("data", hear).write(text);
  await eventually(() => got.length >= text.length || socket.destroyed, patienceMs);
  socket.off("data", hear);
  return got;
}
const serial = (socket: TLSSocket): string => socket.getPeerCertificate().serialNumber;
async function serialNow(): Promise<string> {
  const socket = open("db");
  await once(socket, "secureConnect");
  const found = serial(socket);
  socket.destroy();
  return found;
}

test("a door's certificate is renewed before its end, asked for once, and no connection hears of it", async () => {
  await world.guard(strict);
  const issued: string[] = [];
  let isReady: (() => void) | undefined;
  // More than half of its time is over when it comes.
  world.issue = async (account) => {
    issued.push(account.serviceAccount);
    if (issued.length > 1) await new Promise<void>((resolve) => (isReady = resolve));
    return authority.identity(account, { notBefore: new Date(Date.now() - 2 * hourMs), notAfter: new Date(Date.now() + (issued.length > 1 ? 10 : 1) * hourMs) });
  };
  const lasting = open("db");
  await once(lasting, "secureConnect");
  const first = serial(lasting);
  // Whoever comes while it is renewed is served with the old one.
  assert.equal(await serialNow(), first);
  await eventually(() => isReady, patienceMs);
  assert.equal(await serialNow(), first);
  isReady!();
  await eventually(async () => (await serialNow()) !== first, patienceMs);
  assert.equal(await echo(lasting, "still here"), "still here");
  assert.deepEqual(issued, ["db", "db"]);
  lasting.destroy();
});

test("a worker's successor shows the certificates that it had, though nobody can sign", async () => {
  await world.guard(strict);
  const before = await serialNow();
  world.issue = () => Promise.reject(new Error("nobody is there"));
  const [pid] = world.net.pids();
  process.kill(pid!, "SIGKILL");
  await eventually(() => world.net.pids()[0] !== pid && world.net.pids()[0] !== undefined, patienceMs);
  assert.equal(await eventually(serialNow, patienceMs), before);
});

test("without a certificate of its own a door takes no TLS, and the next client finds one", async () => {
  await world.guard(strict);
  world.issue = () => Promise.reject(new Error("nobody is there"));
  const socket = open("auto");
  await closed(socket);
  world.issue = async (account) => authority.identity(account);
  const next = open("auto");
  await once(next, "secureConnect");
  assert.equal(uriOf(next), "spiffe://cluster.local/ns/shop/sa/auto");
  next.destroy();
});

test("other roots hold from the moment that they are told", async (t) => {
  t.after(async () => {
    world.issue = async (account) => authority.identity(account);
    world.net.trust(authority.root.cert);
    await world.settled();
  });
  await world.guard(strict);
  const other = new TestAuthority("the next mesh");
  world.issue = async (account) => authority.identity(account);
  const lasting = open("db");
  await once(lasting, "secureConnect");
  world.issue = async (account) => other.identity(account);
  world.net.trust(other.root.cert);
  await world.settled();
  const late = open("db");
  await closed(late);
  const fitting = other.of("shop/front");
  const next = open("db", { cert: fitting.cert, key: fitting.key, ca: other.root.cert, rejectUnauthorized: true, checkServerIdentity: () => undefined });
  await once(next, "secureConnect");
  assert.equal(await echo(next, "with another root"), "with another root");
  assert.equal(await echo(lasting, "let in before"), "let in before");
  next.destroy();
  lasting.destroy();
});

test("a policy that comes later ends what it would not let in", async () => {
  await world.guard(strict);
  const [front, clerk] = [authority.of("shop/front"), authority.of("bank/clerk")].map((pair) => open("db", pair));
  await Promise.all([once(front!, "secureConnect"), once(clerk!, "secureConnect")]);
  assert.equal(await echo(front!, "one"), "one");
  assert.equal(await echo(clerk!, "two"), "two");
  await world.guard(strict, "AuthorizationPolicy front {rules: [{from: [{source: {namespaces: [shop]}}]}]}");
  await eventually(() => clerk!.destroyed, patienceMs);
  assert.equal(await echo(front!, "still"), "still");
  front!.destroy();
});

for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
  test(`no session is resumed, whose certificates nobody would look at again: ${maxVersion}`, async () => {
    await world.guard(strict);
    const first = open("web", { maxVersion });
    let session: Buffer | undefined;
    first.on("session", (given: Buffer) => (session = given));
    await once(first, "secureConnect");
    first.write("GET / HTTP/1.1\r\nHost: web.shop\r\n\r\n");
    await once(first, "data");
    session ??= first.getSession();
    first.destroy();
    const second = open("web", { maxVersion, ...(session && { session }) });
    await once(second, "secureConnect");
    assert.equal(second.isSessionReused(), false);
    second.destroy();
    // Nor one whose certificate has been left out.
    const bare = open("web", { ...nothing, maxVersion, ...(session && { session }) });
    await once(bare, "secureConnect");
    bare.write("GET / HTTP/1.1\r\nHost: web.shop\r\n\r\n");
    assert.match(String((await once(bare, "data"))[0]), /^HTTP\/1\.1 403/);
    bare.destroy();
  });
}

test("half a ClientHello, and silence: nobody else waits for it; and it is no HTTP", async () => {
  await world.guard(strict);
  const silent = connect({ host: services.web, port: number, localAddress: world.addressOf("host") });
  silent.on("error", () => {}).write(Buffer.from("16030100c8010000c40303", "hex"));
  const socket = open("web");
  await once(socket, "secureConnect");
  socket.destroy();
  assert.equal(silent.destroyed, false);
  silent.destroy();
});

test("a chain of certificates as long as OpenSSL takes, and longer", async () => {
  await world.guard(strict);
  // Each signed by the one before, none by the mesh's root.
  const foreign = new TestAuthority("many");
  const chain = Array.from({ length: 60 }, () => foreign.certificate(["spiffe://x"], { isCA: true, usages: ["cert sign"] }).cert);
  for (const length of [60, 600]) {
    const leaf = foreign.of("shop/front");
    const socket = open("web", { cert: leaf.cert + Array.from({ length }, (_, index) => chain[index % chain.length]).join(""), key: leaf.key });
    await closed(socket);
  }
  // Good ones among others are good.
  const socket = open("web", { cert: good.cert + chain.slice(0, 5).join("") });
  await once(socket, "secureConnect");
  socket.write("GET / HTTP/1.1\r\nHost: web.shop\r\n\r\n");
  assert.match(String((await once(socket, "data"))[0]), /^HTTP\/1\.1 200/);
  socket.destroy();
});

test("a client cannot have the handshake's work done again and again on one connection", async () => {
  await world.guard(strict);
  const socket = open("db", { maxVersion: "TLSv1.2" });
  await once(socket, "secureConnect");
  socket.renegotiate({ rejectUnauthorized: false }, () => {});
  await eventually(() => socket.destroyed, patienceMs);
});

const pem = (name: string, text: string): string => {
  const file = join(folder, name);
  writeFileSync(file, text);
  return file;
};
const files = { cert: pem("front.crt", good.cert), key: pem("front.key", good.key), roots: pem("roots.pem", authority.root.cert) };
async function run(command: string, args: string[], input = ""): Promise<{ code: number | null; out: string }> {
  const child: ChildProcess = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
  let out = "";
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", (bytes: Buffer) => (out += bytes.toString()));
  child.stdin!.on("error", () => {}).end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out };
}

test("curl --cert is let in, and without it told why not", async (t) => {
  if (!needs(t, "curl")) return;
  await world.guard(strict);
  const url = `https://web.shop.svc:${number}/`;
  const usual = ["-sS", "--max-time", "60", "--interface", world.addressOf("host"), "--resolve", `web.shop.svc:${number}:${services.web}`, "-k", url];
  const told = await run("curl", ["--cert", files.cert, "--key", files.key, ...usual]);
  assert.equal(JSON.parse(told.out).host, `web.shop.svc:${number}`);
  assert.equal((await run("curl", usual)).out, "mTLS is STRICT here, and the caller has no identity\n");
  const foreign = new TestAuthority().of("shop/front");
  const refused = await run("curl", ["--cert", pem("x.crt", foreign.cert), "--key", pem("x.key", foreign.key), ...usual]);
  assert.notEqual(refused.code, 0);
});

test("Python's ssl, which verifies the door by the mesh's root", async (t) => {
  if (!needs(t, "python3")) return;
  await world.guard(strict);
  const program = `
import socket, ssl, sys
context = ssl.create_default_context(cafile=${JSON.stringify(files.roots)})
context.check_hostname = False
if sys.argv[1] == "shown": context.load_cert_chain(${JSON.stringify(files.cert)}, ${JSON.stringify(files.key)})
raw = socket.create_connection((${JSON.stringify(services.db)}, ${number}), 60, (${JSON.stringify(world.addressOf("host"))}, 0))
try:
    connection = context.wrap_socket(raw, server_hostname="db.shop")
    connection.sendall(b"hello")
    heard = connection.recv(5).decode()
    print(heard + " " + dict(connection.getpeercert()["subjectAltName"])["URI"] if heard else "refused")
except (ConnectionError, ssl.SSLError) as error:
    print("refused")
`;
  assert.equal((await run("python3", ["-c", program, "shown"])).out, "hello spiffe://cluster.local/ns/shop/sa/db\n");
  assert.equal((await run("python3", ["-c", program, "none"])).out, "refused\n");
});

test("openssl s_client: the chain verifies", async (t) => {
  if (!needs(t, "openssl")) return;
  await world.guard(strict);
  const usual = ["s_client", "-connect", `${services.web}:${number}`, "-bind", world.addressOf("host"), "-CAfile", files.roots, "-cert", files.cert, "-key", files.key, "-brief"];
  const told = await run("openssl", [...usual, "-alpn", "istio-http/1.1,istio", "-verify_return_error", "-ign_eof"], "GET / HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n");
  assert.match(told.out, /Verification: OK/);
  assert.match(told.out, /HTTP\/1\.1 200/);
});

test("the log says who has proved to be whom", async () => {
  await world.guard(strict, "AuthorizationPolicy nobody {selector: {matchLabels: {app: web}}}");
  for (const [path, options] of [["/front", {}], ["/none", nothing]] as const) {
    const socket = open("web", options);
    await once(socket, "secureConnect");
    socket.write(`GET ${path} HTTP/1.1\r\nHost: web.shop\r\n\r\n`);
    assert.match(String((await once(socket, "data"))[0]), /^HTTP\/1\.1 403/);
    socket.destroy();
  }
  const [front, none] = [await world.loggedOf("/front"), await world.loggedOf("/none")];
  assert.deepEqual([front.flag, front.peer, none.flag, none.peer], ["PD", "spiffe://cluster.local/ns/shop/sa/front", "NI", undefined]);
});

test("TLS 1.1 is refused", async () => {
  await world.guard(strict);
  const socket = open("web", { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
  const refused = new Promise<string | undefined>((resolve) => void socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code)));
  assert.equal(await refused, "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION");
});
