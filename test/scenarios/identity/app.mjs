// Two programs. The issuer: /jwks, /token?claims={…} gives one, /rotate makes another key. The shop: says who asked.
import { generateKeyPairSync, sign } from "node:crypto";
import { createServer } from "node:http";

let turn = 0;
let key = next();
function next() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const kid = `key-${++turn}`;
  return { kid, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid } };
}
const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
function issuer(request, response) {
  const [path, query = ""] = request.url.split("?");
  if (path === "/jwks") return response.end(JSON.stringify({ keys: [key.jwk] }));
  if (path === "/rotate") return response.end(`${(key = next()).kid}\n`);
  if (path !== "/token") return response.end("ready\n");
  const claims = { iss: "http://issuer", exp: Math.floor(Date.now() / 1000) + 600, ...JSON.parse(new URLSearchParams(query).get("claims")) };
  const signed = `${encoded({ alg: "ES256", kid: key.kid })}.${encoded(claims)}`;
  response.end(`${signed}.${sign("sha256", Buffer.from(signed), { key: key.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}\n`);
}
function shop(request, response) {
  const { "x-user": user = "nobody", "x-client": client = "none" } = request.headers;
  response.end(`${request.method} ${request.url} user=${user} client=${client}\n`);
}
createServer(process.env.ROLE === "issuer" ? issuer : shop).listen(8080);
