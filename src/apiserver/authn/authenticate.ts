import type { TLSSocket } from "node:tls";
import { unauthorizedError } from "../../api/status.ts";
import type { Request } from "../http/exchange.ts";
import type { Identity } from "../rest/context.ts";
import { groupsOf } from "./groups.ts";
import type { StructuredAuthentication } from "./oidc/authenticator.ts";
import type { Tokens } from "./tokens.ts";

export const anonymous: Identity = { name: "system:anonymous", groups: ["system:unauthenticated"] };

// The only paths that are answered without a name.
const open = /^\/(healthz|livez|readyz)(\/|$)|^\/version\/?$/;

/** A client certificate of our CA (CN is the name, each O a group), or a bearer token. Throws 401, or rejects with it when somebody else has to be asked. */
export function authenticate(request: Request, path: string, tokens: Tokens): Identity | Promise<Identity> {
  const certificate = certificateIdentity(request);
  if (certificate) return certificate;
  const header = request.headers.authorization ?? bearerOfProtocol(request.headers["sec-websocket-protocol"]);
  // What is no bearer token proves nothing, for or against.
  const token = /^\s*Bearer +([^ ]+)/i.exec(header ?? "")?.[1];
  if (token !== undefined) {
    const identity = tokens.authenticate(token);
    if (identity) return identity;
    if (!tokens.structured) throw unauthorizedError();
    return foreign(tokens.structured, token);
  }
  if (tokens.structured?.mayBeAnonymous?.(path) ?? open.test(path)) return anonymous;
  throw unauthorizedError();
}

async function foreign(structured: StructuredAuthentication, token: string): Promise<Identity> {
  const identity = await structured.authenticate(token);
  if (!identity) throw unauthorizedError();
  return identity;
}

function certificateIdentity(request: Request): Identity | undefined {
  const socket = request.socket as TLSSocket | undefined;
  if (!socket?.encrypted) return undefined;
  let identity = known.get(socket);
  if (identity === undefined) known.set(socket, (identity = identityOf(socket)));
  return identity ?? undefined;
}

/** A connection's certificate is looked at once: that costs as much as answering a request. */
const known = new WeakMap<TLSSocket, Identity | null>();

function identityOf(socket: TLSSocket): Identity | null {
  if (!socket.authorized) return null;
  const { subject, fingerprint256 } = socket.getPeerCertificate() ?? {};
  return subject ? subjectIdentity(subject as unknown as Subject, fingerprint256) : null;
}

/** The names that a certificate's owner goes by; what it holds several times is a list. */
type Subject = Readonly<Record<string, string | string[] | undefined>>;
const uidAttribute = "1.3.6.1.4.1.57683.2";
const listed = (value: string | string[] | undefined): string[] => (value === undefined ? [] : [value].flat());

/** Null: it names nobody, or says more than one uid. Source: k8s.io/apiserver/pkg/authentication/request/x509/x509.go. */
export function subjectIdentity(subject: Subject, fingerprint: string): Identity | null {
  const name = listed(subject["CN"]).at(-1);
  const uids = listed(subject[uidAttribute]);
  if (!name || uids.length > 1 || uids[0] === "") return null;
  const id = `X509SHA256=${fingerprint.replaceAll(":", "").toLowerCase()}`;
  return { name, ...(uids[0] !== undefined && { uid: uids[0] }), groups: groupsOf(name, listed(subject["O"])), extra: { "authentication.kubernetes.io/credential-id": [id] } };
}

/** Browsers cannot set headers on a WebSocket: the token travels as a sub-protocol. */
function bearerOfProtocol(protocols: string | undefined): string | undefined {
  const found = /base64url\.bearer\.authorization\.k8s\.io\.([\w-]+)/.exec(protocols ?? "")?.[1];
  return found && `Bearer ${Buffer.from(found, "base64url").toString()}`;
}
