import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { strategies } from "../../../src/api/kinds/index.ts";
import { createBuiltinRegistry } from "../../../src/api/registry.ts";
import { resources } from "../../../src/api/resources.ts";
import { Aggregator } from "../../../src/apiserver/aggregation/aggregator.ts";
import { createApi } from "../../../src/apiserver/api.ts";
import { Tokens } from "../../../src/apiserver/authn/tokens.ts";
import { bootstrapRbac } from "../../../src/apiserver/authz/bootstrap-roles.ts";
import { Rbac } from "../../../src/apiserver/authz/rbac.ts";
import { registerReviews } from "../../../src/apiserver/authz/reviews.ts";
import { createApiServer } from "../../../src/apiserver/http/server.ts";
import { publishOwnAddress } from "../../../src/apiserver/own-address.ts";
import { openFrontProxy, openPki } from "../../../src/apiserver/pki.ts";
import { systemIdentity } from "../../../src/apiserver/rest/context.ts";
import { systemClock } from "../../../src/base/clock.ts";
import { createLog } from "../../../src/base/log.ts";
import { systemRandom } from "../../../src/base/random.ts";
import { createMemoryStore } from "../../../src/store/memory-store.ts";
import { endWithParent } from "./parent.ts";

/**
 * Wherry's API server under the name and flags with which envtest starts kube-apiserver: alone, without controllers
 * and nodes, as there. A flag that is not in this table is refused.
 */
const flags = {
  "bind-address": "honoured",
  "secure-port": "honoured",
  "cert-dir": "honoured: apiserver.crt and apiserver.key in it",
  "client-ca-file": "honoured",
  "disable-admission-plugins": "honoured",
  "enable-admission-plugins": "all that there are, are on",
  "authorization-mode": "RBAC and nothing else",
  "etcd-servers": "this server holds its objects itself",
  "service-account-issuer": "tokens are our own",
  "service-account-key-file": "tokens are our own",
  "service-account-signing-key-file": "tokens are our own",
  "service-cluster-ip-range": "10.96.0.0/16",
  "allow-privileged": "honoured: true takes the refusals away that keep pods from the machine, since none runs here",
  "feature-gates": "discovery is offered in both forms, and clients choose",
} as const;

const { values } = parseArgs({ options: { help: { type: "boolean" }, ...Object.fromEntries(Object.keys(flags).map((name) => [name, { type: "string", multiple: true }] as const)) } }) as { values: Partial<Record<keyof typeof flags, string[]>> & { help?: boolean } };
if (values.help) {
  for (const [name, text] of Object.entries(flags)) process.stdout.write(`  --${name} string   ${text}\n`);
  process.exit(0);
}
const one = (name: keyof typeof flags): string => values[name]?.at(-1) ?? "";
const folder = one("cert-dir");
const modes = one("authorization-mode");
if (modes !== "RBAC") throw new Error(`--authorization-mode ${modes}: only RBAC`);

const store = createMemoryStore();
const own = await openPki(folder);
const pki = { ...own, ca: one("client-ca-file") === "" ? own.ca : readFileSync(one("client-ca-file"), "utf8"), server: { cert: readFileSync(join(folder, "apiserver.crt"), "utf8"), key: readFileSync(join(folder, "apiserver.key"), "utf8") } };
const tokens = new Tokens({ store, clock: systemClock, key: pki.serviceAccountKey });
const rbac = new Rbac(store);
rbac.start();
const log = createLog("kube-apiserver");
const withoutAdmission = [...(values["disable-admission-plugins"] ?? []).flatMap((list) => list.split(",")), ...(one("allow-privileged") === "true" ? ["PodRefusals"] : [])];
const api = createApi({ store, registry: createBuiltinRegistry(strategies), clock: systemClock, random: systemRandom, log, issueToken: (account, request) => tokens.issue(account, request), withoutAdmission });
registerReviews(api, rbac, tokens);
const client = api.client(systemIdentity("kube-apiserver"));
for (const name of ["default", "kube-system", "kube-public", "kube-node-lease"]) await client.create(resources.namespaces, undefined, { metadata: { name } });
await bootstrapRbac(client);
const aggregator = new Aggregator({ api, client, clock: systemClock, random: systemRandom, log, frontProxy: () => openFrontProxy(folder), clientCa: pki.ca });
await aggregator.start();
const port = Number(one("secure-port"));
// The endpoint of `kubernetes` may be no loopback address: it is that of the pod network, which is not there.
await publishOwnAddress(client, { gatewayIP: "10.96.0.1", port, serviceNetwork: "10.96." });
// Of a name server, kube-apiserver knows nothing.
await client.delete(resources.services, "kube-system", "kube-dns");
const server = createApiServer({ api, pki, tokens, rbac, aggregator, random: systemRandom, log, address: `${one("bind-address")}:${port}` });
process.once("SIGTERM", () => void server.close().then(() => process.exit(0)));
endWithParent();
await server.listenOn(one("bind-address"), port);
