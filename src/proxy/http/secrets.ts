import { decoded } from "../../policy/path-names.ts";

const names = ["access_token", "id_token", "refresh_token", "auth_token", "token", "jwt", "authorization", "auth", "(?:x-)?(?:api[-_]?)?key", "client_secret", "secret", "password", "passwd", "pwd", "client_assertion", "assertion", "code_verifier", "sig", "signature", "x-amz-signature", "x-amz-credential", "x-amz-security-token", "x-goog-signature", "x-goog-credential", "session(?:id|_id)?", "sid"];
const secret = new RegExp(`((?:^|[?&;])(?:${names.join("|")})=)[^&;#\\s]+`, "gi");
/** Most queries have none, and looking is all that it costs them. */
const mayHave = new RegExp(secret.source, "i");

/**
 * A query, or a text with addresses in it, for the log: what its parameters' names call a token, key, password or signature is left
 * out. Whoever reads a log could use it (RFC 6750 §5.3, RFC 9110 §17.9).
 */
export const withoutSecrets = (text: string): string => (mayHave.test(text) ? text.replaceAll(secret, "$1***") : text);

/** Escapes in a name, which is the same name for whoever reads it. */
const escapedName = /(?:^|[&;])[^=&;%+]*[%+][^=&;]*=/;
/** Of a query also the values of these parameters, however their names are written. */
export function queryWithoutSecrets(query: string, names: readonly string[]): string {
  if (names.length === 0 && !escapedName.test(query)) return withoutSecrets(query);
  const pairs = query.split("&").map((pair) => {
    const [name = ""] = pair.split("=", 1);
    if (name.length === pair.length) return pair;
    const plain = decoded(name.replaceAll("+", " "));
    return names.includes(plain) || withoutSecrets(`${plain}=x`) !== `${plain}=x` ? `${name}=***` : withoutSecrets(pair);
  });
  return pairs.join("&");
}
