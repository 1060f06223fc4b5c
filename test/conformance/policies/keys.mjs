// Keys of an issuer (JWKS), by TLS alone: who asks trusts the certificate, or does not get them.
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

createServer({ cert: readFileSync("/tls/tls.crt"), key: readFileSync("/tls/tls.key") }, (request, response) => {
  response.writeHead(request.url === "/keys" ? 200 : 404, { "content-type": "application/json" }).end(process.env.KEYS);
}).listen(8443);
