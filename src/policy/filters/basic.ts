import type { HttpFilter } from "../../api/traffic.ts";
import { lazyModule } from "../../base/lazy.ts";
import type { Filter } from "../exchange.ts";
import { compileEdits } from "../header-edits.ts";
import { localAnswer } from "../local-answer.ts";
import { at, PolicyError } from "../policy-error.ts";
import { editHeaders } from "../request-edits.ts";

const crypto = lazyModule<typeof import("node:crypto")>(import.meta.url, "node:crypto");
const credentialsCharsMax = 4_096;
const digestBytes = 20;

/**
 * Name and password, by RFC 7617. Passwords are known by their SHA-1, which is what Envoy Gateway takes and what everybody can try out
 * quickly who gets hold of it: they have to be long and random. Whether a name is known cannot be told from how long the answer takes.
 */
export const basic: Filter<Extract<HttpFilter, { type: "basic" }>> = ({ users, userHeader }) => {
  const digests = new Map<string, Buffer>();
  for (const [i, { name, sha1 }] of users.entries()) {
    const digest = Buffer.from(sha1, "base64");
    if (name === "" || /[:\r\n]/.test(name)) throw new PolicyError(`users[${i}].name`, name, "must not be empty, and hold no ':'");
    if (digest.length !== digestBytes) throw new PolicyError(`users[${i}].sha1`, "…", "must be a SHA-1 in base64");
    // As in the files of htpasswd, the first of a name counts.
    if (!digests.has(name)) digests.set(name, digest);
  }
  const header = userHeader === undefined ? undefined : at("userHeader", () => compileEdits({ remove: [userHeader] })).remove[0]!;
  const nobody = Buffer.alloc(digestBytes);

  const userOf = (authorization: string | undefined): string | undefined => {
    const encoded = /^basic +([A-Za-z0-9+/]+={0,2})$/i.exec(authorization ?? "")?.[1];
    if (encoded === undefined || encoded.length > credentialsCharsMax) return undefined;
    const credentials = Buffer.from(encoded, "base64").toString("utf8");
    const colon = credentials.indexOf(":");
    if (colon < 0) return undefined;
    const name = credentials.slice(0, colon);
    const digest = crypto().createHash("sha1").update(credentials.slice(colon + 1)).digest();
    const wanted = digests.get(name);
    return crypto().timingSafeEqual(digest, wanted ?? nobody) && wanted ? name : undefined;
  };

  return (next) => (exchange, outcome) => {
    const { request } = exchange;
    const user = userOf(request.header("authorization"));
    if (user === undefined) {
      const realm = request.host.replaceAll(/[^\w.:[\]-]/g, "");
      return outcome.answer(exchange, localAnswer(request, "NA", "User authentication failed. Missing username and password, or invalid ones.", { headers: [["www-authenticate", `Basic realm="${realm}"`]] }));
    }
    exchange.caller = { ...exchange.caller, basic: user };
    if (header !== undefined) editHeaders(exchange, { set: [[header, user]] });
    next(exchange, outcome);
  };
};
