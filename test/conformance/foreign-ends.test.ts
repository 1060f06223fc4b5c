import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";
import { makeCertificate } from "../../src/apiserver/certificate.ts";
import type { Upstream } from "../../src/api/traffic.ts";
import { type EdgeWorld, startEdge } from "../../src/proxy/edge/testing/edge-world.ts";

/**
 * Ends of connections that others have written: HAProxy and nginx read the PROXY headers that we write, HAProxy writes those that we
 * read, and OpenSSL shows certificates that its own authority has revoked.
 */
const unpacked = join(import.meta.dirname, "../../.cache/gateway-peers");
const find = (name: string): string | undefined => [join(unpacked, "usr/sbin"), "/usr/sbin", "/usr/bin"].map((folder) => join(folder, name)).find((path) => existsSync(path));
const needs = (...names: string[]): string | false => {
  if (!process.env["WHERRY_CONFORMANCE"]) return "set WHERRY_CONFORMANCE=1 to run it";
  const missing = names.filter((name) => !find(name));
  return missing.length > 0 && `${missing.join(" and ")}: run tools/gateway-peers.sh`;
};
const folder = mkdtempSync(join(tmpdir(), "wherry-foreign-"));
const running: ChildProcess[] = [];
after(async () => {
  for (const child of running) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill("SIGKILL");
    await once(child, "exit");
  }
  rmSync(folder, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
/** Until somebody accepts connections there. */
async function listening(port: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  for (;;) {
    const socket = connect(port, "127.0.0.1");
    const isThere = await new Promise<boolean>((resolve) => socket.on("connect", () => resolve(true)).on("error", () => resolve(false)));
    socket.destroy();
    if (isThere) return;
    if (performance.now() > deadline) throw new Error(`nobody listens at ${port}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
async function start(name: string, args: string[], port: number): Promise<void> {
  const child = spawn(find(name)!, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, LD_LIBRARY_PATH: [join(unpacked, "usr/lib/x86_64-linux-gnu"), join(unpacked, "usr/lib/aarch64-linux-gnu")].join(delimiter) } });
  running.push(child);
  await listening(port);
}
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const haproxy = (frontend: string): string => `global\n  maxconn 100\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n${frontend}\n`;
const put = (world: EdgeWorld, port: number, more: Partial<Upstream>): void => world.edge.apply({ revision: 2, put: { upstreams: [{ id: "default/web/80", namespace: "default", service: "web", port: 80, protocol: "http1", endpoints: [{ ip: "127.0.0.1", port }], ...more }] }, remove: {} });

/** From an address of this machine's own, and what is answered. */
async function ask(port: number, localAddress: string): Promise<{ body: string; localPort: number }> {
  const asked = request({ host: "127.0.0.1", port, localAddress, agent: false, headers: { host: "a.example" } }).end();
  const [answer] = (await once(asked, "response")) as [import("node:http").IncomingMessage];
  const { localPort } = asked.socket!;
  let body = "";
  for await (const piece of answer) body += String(piece);
  return { body, localPort: localPort! };
}

/** Programs that say whose a connection is, by its header. */
const readers: [name: string, configure: (port: number) => string[]][] = [
  ["haproxy", (port) => ["-db", "-f", file(`reader-${port}.cfg`, haproxy(`frontend f\n  bind 127.0.0.1:${port} accept-proxy\n  http-request return status 200 content-type text/plain lf-string "%[src] %[src_port]"`))]],
  ["nginx", (port) => ["-g", "daemon off;", "-p", folder, "-e", "stderr", "-c", file(`reader-${port}.conf`, `pid ${join(folder, `nginx-${port}.pid`)};\nevents {}\nhttp { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p; fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s; server { listen 127.0.0.1:${port} proxy_protocol; return 200 "$proxy_protocol_addr $proxy_protocol_port"; } }`)]],
];
for (const [name, configure] of readers) {
  test(`${name} reads whose a connection is`, { skip: needs(name) }, async () => {
    const port = await freePort();
    await start(name, configure(port), port);
    for (const proxyProtocol of ["v1", "v2"] as const) {
      await using world = await startEdge({ proxyProtocol: "optional" });
      put(world, port, { proxyProtocol });
      for (const address of ["127.0.0.1", "127.0.0.77"]) {
        const { body, localPort } = await ask(world.port, address);
        assert.equal(body, `${address} ${localPort}`, proxyProtocol);
      }
      const client = await world.open();
      client.send("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
      assert.match((await client.answer()).body, /^2001:db8::7 /);
    }
  });
}

for (const [version, word] of [["1", "send-proxy"], ["2", "send-proxy-v2"]] as const) {
  test(`HAProxy says whose a connection is, version ${version}`, { skip: needs("haproxy") }, async () => {
    await using world = await startEdge({ proxyProtocol: "required" });
    const port = await freePort();
    await start("haproxy", ["-db", "-f", file(`writer-${port}.cfg`, haproxy(`listen l\n  bind 127.0.0.1:${port}\n  server gateway 127.0.0.1:${world.port} ${word}`))], port);
    for (const address of ["127.0.0.1", "127.0.0.77"]) {
      const { headers } = JSON.parse((await ask(port, address)).body) as { headers: Record<string, string> };
      assert.equal(headers["x-forwarded-for"], address);
    }
  });
}

test("OpenSSL: certificates that its authority has revoked, lists that are too old, curves of the client's alone", { skip: needs("openssl") }, async () => {
  const openssl = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync(find("openssl")!, args, { cwd: folder, encoding: "utf8" });
    assert.equal(status, 0, `openssl ${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  file("ca.cnf", `[ca]\ndefault_ca=own\n[own]\ndatabase=${folder}/index.txt\nserial=${folder}/serial\ncrlnumber=${folder}/crlnumber\nnew_certs_dir=${folder}\ndefault_md=sha256\ndefault_days=2\ndefault_crl_days=2\npolicy=any\n[any]\ncommonName=supplied\n`);
  file("index.txt", "");
  file("serial", "01\n");
  file("crlnumber", "01\n");
  openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=clients", "-days", "2");
  for (const name of ["ann", "bob"]) {
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    openssl("ca", "-batch", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-in", `${name}.csr`, "-out", `${name}.crt`, "-notext");
  }
  openssl("ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-revoke", "bob.crt");
  const list = openssl("ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-gencrl");
  const old = openssl("ca", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.crt", "-gencrl", "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", "20200102000000Z");
  const server = makeCertificate({ subject: [["CN", "a.example"]], notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000), authority: undefined, names: ["a.example"] });
  const { readFileSync } = await import("node:fs");
  const authorities = readFileSync(join(folder, "ca.crt"), "utf8");
  const shown = async (revoked: string[], name: string, ...more: string[]): Promise<boolean> => {
    await using world = await startEdge({ protocol: "HTTPS", tls: { mode: "terminate", certificates: [{ certificate: server.cert, key: server.key }], curves: "P-384", clientValidation: { authorities, optional: false, revoked } } });
    const child = spawn(find("openssl")!, ["s_client", "-connect", `127.0.0.1:${world.port}`, "-servername", "a.example", "-quiet", "-ign_eof", "-cert", `${name}.crt`, "-key", `${name}.key`, ...more], { cwd: folder, stdio: ["pipe", "pipe", "ignore"] });
    running.push(child);
    child.stdin!.on("error", () => {}).end("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let heard = "";
    child.stdout!.setEncoding("utf8").on("data", (piece: string) => (heard += piece));
    await once(child, "close");
    return heard.startsWith("HTTP/1.1 200");
  };
  const found = { ann: await shown([list], "ann"), bob: await shown([list], "bob"), "bob without a list": await shown([old], "bob"), "ann of an old list": await shown([old], "ann"), "another curve": await shown([list], "ann", "-groups", "X25519"), "the same curve": await shown([list], "ann", "-groups", "P-384") };
  assert.deepEqual(found, { ann: true, bob: false, "bob without a list": false, "ann of an old list": false, "another curve": false, "the same curve": true });
});
