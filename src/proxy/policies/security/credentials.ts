import { createHash } from "node:crypto";
import type { HttpFilter } from "../../../api/traffic.ts";
import type { Refusal } from "../effect.ts";
import type { References } from "../references.ts";

interface SecretReference {
  group?: string;
  kind?: string;
  namespace?: string;
  name: string;
}

export interface ApiKeySpec {
  credentialRefs: SecretReference[];
  extractFrom: { headers?: string[]; params?: string[]; cookies?: string[] }[];
  forwardClientIDHeader?: string;
  sanitize?: boolean;
}

/** Each key of a Secret is a client's name, and its value the client's API key; of a client that is named twice the first counts. */
export function apiKeyFilter({ credentialRefs, extractFrom, forwardClientIDHeader, sanitize }: ApiKeySpec, references: References, refused: Refusal[]): HttpFilter[] {
  const keys = new Map<string, string>();
  const clients = new Map<string, string>();
  for (const [i, reference] of credentialRefs.entries()) {
    const refuse = (why: string): void => void refused.push({ field: `apiKeyAuth.credentialRefs[${i}]`, why });
    const secret = references.secret(reference, refuse);
    for (const [client, encoded] of Object.entries(secret?.data ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))) {
      const key = Buffer.from(encoded, "base64");
      // A line break at its end, above all.
      if (key.length === 0 || key.some((byte) => byte <= 0x20 || byte === 0x7f)) refuse(`names Secret ${reference.name}, where the key of ${client} is empty or has blanks or line breaks, which no request can show`);
      if (keys.has(client)) continue;
      const sha256 = createHash("sha256").update(key).digest("hex");
      const other = clients.get(sha256);
      if (other !== undefined) refuse(`names Secret ${reference.name}, where ${client} has the same key as ${other}`);
      clients.set(sha256, client);
      keys.set(client, sha256);
    }
  }
  const from = extractFrom.flatMap(({ headers = [], params = [], cookies = [] }) => [
    ...headers.map((name) => ({ in: "header" as const, name })),
    ...params.map((name) => ({ in: "query" as const, name })),
    ...cookies.map((name) => ({ in: "cookie" as const, name })),
  ]);
  if (from.length === 0) refused.push({ field: "apiKeyAuth.extractFrom", why: "says nowhere to look for a key" });
  return [{ type: "apiKey", keys: [...keys].map(([client, sha256]) => ({ client, sha256 })), from, ...(forwardClientIDHeader !== undefined && { clientHeader: forwardClientIDHeader }), ...(sanitize && { sanitise: true }) }];
}

export interface BasicSpec {
  users: SecretReference;
  forwardUsernameHeader?: string;
}

const file = ".htpasswd";

/** Lines of `htpasswd -s`: "NAME:{SHA}…". Other hashes are refused, as Envoy Gateway does. */
export function basicFilter({ users: reference, forwardUsernameHeader }: BasicSpec, references: References, refused: Refusal[]): HttpFilter[] {
  const refuse = (why: string): void => void refused.push({ field: "basicAuth.users", why });
  const text = references.secretText(reference, file, refuse);
  const users: { name: string; sha1: string }[] = [];
  for (const [i, line] of (text ?? "").split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const [, name, sha1] = /^([^:]+):\{SHA\}([A-Za-z0-9+/]{27}=)$/.exec(line.trim()) ?? [];
    // The line itself is nobody's to read.
    if (name === undefined) refuse(`names Secret ${reference.name}, where line ${i + 1} of ${file} is not NAME:{SHA}…, as htpasswd -s writes it`);
    else users.push({ name, sha1: sha1! });
  }
  if (text !== undefined && users.length === 0) refuse(`names Secret ${reference.name}, where ${file} has no users`);
  return [{ type: "basic", users, ...(forwardUsernameHeader !== undefined && { userHeader: forwardUsernameHeader }) }];
}
