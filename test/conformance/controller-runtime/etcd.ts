import { createServer } from "node:http";
import { endWithParent } from "./parent.ts";

/**
 * What envtest starts as etcd: nobody keeps anything in it, because Wherry's API server has its own store, and all that
 * is asked of it is whether it is well.
 */
if (process.argv.includes("--help")) {
  for (const name of ["data-dir", "listen-client-urls", "listen-peer-urls", "advertise-client-urls", "unsafe-no-fsync"]) process.stdout.write(`  --${name}\n`);
  process.exit(0);
}
const { hostname, port } = new URL(process.argv.find((argument) => argument.startsWith("--listen-client-urls="))!.split("=")[1]!);
createServer((request, response) => response.writeHead(request.url === "/health" ? 200 : 501).end(request.url === "/health" ? '{"health":"true","reason":""}' : "this is no etcd")).listen(Number(port), hostname);
process.once("SIGTERM", () => process.exit(0));
endWithParent();
