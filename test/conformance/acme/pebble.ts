import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer } from "node:net";
import { join } from "node:path";
import { generateKeyPairSync } from "node:crypto";
import { generalNames, makeCertificate, nameOf, publicKeyOf } from "../../../src/api/x509/certificate.ts";
import { find } from "../../needs.ts";

const folder = join(import.meta.dirname, "..", "..", "..", ".cache", "acme");
const version = "v2.10.1";

/** Let's Encrypt's own ACME server for tests, as an ordinary Go module, once, into `.cache/acme`. Throws with what is missing. */
export function build(): string {
  const program = join(folder, "pebble");
  if (existsSync(program)) return program;
  const go = find("go");
  if (!go) throw new Error("pebble is a Go module: install Go 1.24 or newer");
  mkdirSync(folder, { recursive: true });
  const { status } = spawnSync(go, ["install", `github.com/letsencrypt/pebble/v2/cmd/pebble@${version}`], { env: { ...process.env, GOBIN: folder, CGO_ENABLED: "0" }, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Error("go install of pebble failed");
  return program;
}

export interface Pebble extends AsyncDisposable {
  directory: string;
  /** PEM of who vouches for the server itself. */
  ca: string;
  /** PEM of the root of what it signs. */
  root(chain?: number): Promise<string>;
  log(): string;
}

/** On loopback, with names of its own that all lead to 127.0.0.1; it looks for answers at `httpPort`. Rejects nonces and forgets authorizations as the real one might. */
export async function startPebble(work: string, { httpPort, binding }: { httpPort: number; binding?: { id: string; key: string } }): Promise<Pebble> {
  const program = build();
  const names = await startNames();
  const [port, managementPort] = [await freePort(), await freePort()];
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const own = { publicKey: publicKeyOf(privateKey), notBefore: new Date(Date.now() - 3_600_000), notAfter: new Date(Date.now() + 86_400_000), usages: ["digital signature", "cert sign", "server auth"] };
  const ca = makeCertificate({ ...own, subject: nameOf([["CN", "pebble's own"]]), alternativeNames: generalNames({ addresses: ["127.0.0.1"] }), isCA: true }, privateKey);
  writeFileSync(join(work, "pebble.crt"), ca);
  writeFileSync(join(work, "pebble.key"), privateKey.export({ type: "pkcs8", format: "pem" }));
  const config = {
    pebble: {
      listenAddress: `127.0.0.1:${port}`,
      managementListenAddress: `127.0.0.1:${managementPort}`,
      certificate: join(work, "pebble.crt"),
      privateKey: join(work, "pebble.key"),
      httpPort,
      tlsPort: 1,
      externalAccountBindingRequired: binding !== undefined,
      ...(binding && { externalAccountMACKeys: { [binding.id]: binding.key } }),
      domainBlocklist: ["blocked.example.com"],
      retryAfter: { authz: 1, order: 1 },
      profiles: { default: { description: "usual", validityPeriod: 7_776_000 }, shortlived: { description: "days", validityPeriod: 518_400 } },
    },
  };
  writeFileSync(join(work, "pebble.json"), JSON.stringify(config));
  const child: ChildProcess = spawn(program, ["-config", join(work, "pebble.json"), "-dnsserver", `127.0.0.1:${names.port}`], { stdio: ["ignore", "pipe", "pipe"], env: { PATH: process.env["PATH"], PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "20", PEBBLE_ALTERNATE_ROOTS: "1" } });
  let log = "";
  const listening = new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on("data", (chunk: Buffer) => {
        log += chunk.toString();
        if (log.includes("ACME directory available")) resolve();
      });
    }
    child.once("exit", () => reject(new Error(`pebble ended:\n${log}`)));
  });
  await listening;
  return {
    directory: `https://127.0.0.1:${port}/dir`,
    ca,
    root: (chain = 0) => fetchText(`https://127.0.0.1:${managementPort}/roots/${chain}`, ca),
    log: () => log,
    async [Symbol.asyncDispose]() {
      names.close();
      if (child.exitCode === null && child.signalCode === null) {
        child.kill();
        await once(child, "exit");
      }
    },
  };
}

function fetchText(url: string, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request(url, { ca }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.on("end", () => resolve(text));
    })
      .on("error", reject)
      .end();
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** A name server over TCP that knows one answer: 127.0.0.1 to every question for an A record, and nothing to others. */
async function startNames(): Promise<{ port: number; close(): void }> {
  const server = createServer((socket) => {
    let held = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      for (; held.length >= 2 && held.length >= 2 + held.readUInt16BE(0); held = held.subarray(2 + held.readUInt16BE(0))) {
        const answer = answerTo(held.subarray(2, 2 + held.readUInt16BE(0)));
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([length, answer]));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { port: (server.address() as { port: number }).port, close: () => server.close() };
}

function answerTo(question: Buffer): Buffer {
  const end = question.indexOf(0, 12) + 5;
  const isA = question.readUInt16BE(end - 4) === 1;
  const head = Buffer.from(question.subarray(0, 12));
  head.writeUInt16BE(0x8580, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(isA ? 1 : 0, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, question.subarray(12, end), ...(isA ? [Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1])] : [])]);
}
