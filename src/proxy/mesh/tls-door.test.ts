import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ConnectionOptions } from "node:tls";
import { generalNames, nameOf, type Pair } from "../../api/x509/certificate.ts";
import { TestAuthority } from "./testing/authority.ts";
import { askHttp2, say } from "./testing/client.ts";
import { MeshWorld, number } from "./testing/world.ts";

/** The cases of mutual-tls.txt, with Node's TLS as the client. */
const world = await MeshWorld.start();
after(() => world[Symbol.asyncDispose]());
const { authority } = world;
const hourMs = 3_600_000;
const foreign = new TestAuthority("another mesh");

const uri = (account: string, domain = "cluster.local") => `spiffe://${domain}/ns/${account.replace("/", "/sa/")}`;
const wrong: Record<string, (account: string) => Pair> = {
  "foreign-root": (account) => foreign.of(account),
  expired: (account) => authority.of(account, { notBefore: new Date(Date.now() - 2 * hourMs), notAfter: new Date(Date.now() - hourMs) }),
  early: (account) => authority.of(account, { notBefore: new Date(Date.now() + hourMs), notAfter: new Date(Date.now() + 2 * hourMs) }),
  "other-domain": (account) => authority.certificate([uri(account, "other.example")]),
  "no-uri": (account) => authority.of(account, { alternativeNames: generalNames({ dnsNames: ["front.shop"] }) }),
  "no-names": (account) => authority.of(account, { subject: nameOf([["CN", uri(account)]]), alternativeNames: undefined }),
  "two-uris": (account) => authority.certificate([uri(account), uri("shop/other")]),
  authority: (account) => authority.of(account, { isCA: true, usages: ["digital signature", "cert sign", "client auth"] }),
  "no-client": (account) => authority.of(account, { usages: ["digital signature", "server auth"] }),
  "no-usage": (account) => authority.of(account, { usages: ["client auth"] }),
  "signs-certificates": (account) => authority.of(account, { usages: ["digital signature", "cert sign", "client auth"] }),
  "not-spiffe": () => authority.certificate(["https://front.shop"]),
  "by-a-leaf": (account) => {
    const leaf = authority.of(account);
    const { cert, key } = authority.certificate([uri(account)], {}, leaf);
    return { cert: cert + leaf.cert, key };
  },
};
function certificateOf(text: string): Pair {
  const [, how, account] = /^(?:([\w-]+):)?(\S+)$/.exec(text)!;
  return how === undefined ? authority.of(account!) : (wrong[how] ?? assert.fail(`no certificate is wrong like ${how}`))(account!);
}

const versions: Record<string, ConnectionOptions> = { TLS: {}, "TLS1.2": { maxVersion: "TLSv1.2" } };

/** What became of it; with "?" where a line in the log has a flag. */
async function call(line: string): Promise<string> {
  const [, subject, service, path = "/", from, shown, offered] = /^(\S+) (\w+)(\/\S*)? from (\S+)(?: with (\S+))?(?: offering (\S+))?$/.exec(line) ?? assert.fail(`not understood: ${line}`);
  const pair = shown === undefined ? undefined : certificateOf(shown);
  const protocols = offered?.split(",");
  const tls = subject === "plain" ? undefined : { ...versions[subject!], servername: "door.example", ...pair, ...(protocols && { ALPNProtocols: protocols }) };
  const at = { host: world.services[service as "web"], port: number, localAddress: world.addressOf(from!) };
  await world.settled();
  const { unread } = world;
  const isRaw = service === "db";
  const http2 = service === "grpc" && tls ? await askHttp2({ ...at, path, tls }) : undefined;
  const outcome = http2 ?? (await say({ ...at, tls, text: isRaw ? "hello" : `GET ${path} HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n\r\n`, isAll: (got) => (isRaw ? got === "hello" : false) }));
  const [, status = http2?.status] = /^HTTP\/1\.1 (\d+)/.exec(outcome.got) ?? [];
  if (outcome.uri === "https://own.example") return "own";
  if (world.unread > unread) return "unread";
  if (tls && (status !== undefined || outcome.got !== "")) assert.equal(outcome.uri, uri(`shop/${service}`), line);
  if (isRaw && outcome.got === "hello") return "open";
  if (status === undefined) return "refused ?";
  return Number(status) < 400 ? String(status) : `${status} ?`;
}

for (const block of readFileSync(join(import.meta.dirname, "mutual-tls.txt"), "utf8").split(/^== /m).slice(1)) {
  const [title, ...lines] = block.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  test(title!, { timeout: 120_000 }, async () => {
    await world.guard(...lines.filter((line) => !line.includes(" -> ")));
    const calls = lines.filter((line) => line.includes(" -> ")).map((line) => line.split(" -> ") as [string, string]);
    const became: string[] = [];
    for (const [asked] of calls) became.push(await call(asked));
    // They come a few times a second.
    for (const [index, text] of became.entries()) if (text.includes("?")) became[index] = text.replace("?", (await world.logged().catch(() => ({ flag: "and no line in the log" }))).flag ?? "");
    assert.deepEqual(calls.map(([asked], index) => `${asked} -> ${became[index]}`), calls.map((both) => both.join(" -> ")));
  });
}
