// A certified OpenID provider (npm's oidc-provider) in a pod: over HTTP for browsers, and over TLS for who asks behind their backs.
// `/log` says what it was asked; `/interaction` forms are the library's own.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecure } from "node:https";

const { ISSUER: issuer, REDIRECTS: redirects, LIBRARY: library, TOKEN_SECONDS: seconds } = process.env;
const { default: Provider } = await import(library);
const client = (id) => ({ client_id: id, client_secret: `a-secret-of-32-characters-or-more-of-${id}`, redirect_uris: redirects.split(" "), post_logout_redirect_uris: redirects.split(" ").map((url) => new URL("/", url).href), grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] });
const handler = new Provider(issuer, {
  clients: ["shop", "other"].map(client),
  pkce: { required: () => true },
  issueRefreshToken: () => Promise.resolve(true),
  rotateRefreshToken: true,
  findAccount: (_, id) => ({ accountId: id, claims: () => Promise.resolve({ sub: id, email: `${id}@example.com` }) }),
  cookies: { keys: ["of-this-test"] },
  ttl: { AccessToken: Number(seconds), IdToken: 3_600, RefreshToken: 86_400, Session: 86_400, Grant: 86_400, Interaction: 600 },
  features: { devInteractions: { enabled: true } },
}).callback();
const log = [];
const answer = (request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/log") return void response.setHeader("content-type", "application/json").end(JSON.stringify(log));
  log.push(`${request.socket.encrypted ? "tls " : ""}${request.method} ${path}`);
  handler(request, response);
};
createServer(answer).listen(8080);
createSecure({ cert: readFileSync("/tls/tls.crt"), key: readFileSync("/tls/tls.key") }, answer).listen(8443);
