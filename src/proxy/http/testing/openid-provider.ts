import { createHash, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";

export const client = { id: "shop", secret: "a secret: with / odd + signs" };

/** What one test wants otherwise. */
export interface Lies {
  /** Changes an ID token's claims, and the header of it, before it is signed. */
  claims?(claims: Record<string, unknown>, header: Record<string, unknown>): void;
  /** Instead of the signed token. */
  idToken?(token: string): string | undefined;
  document?(document: Record<string, unknown>): void;
  tokens?(answer: Record<string, unknown>): void;
  tokenStatus?: number;
  /** Nobody answers there. */
  hangs?: string;
}

interface Grant {
  nonce?: string;
  challenge: string;
  redirect: string;
  user: string;
}

/**
 * An OpenID provider in few lines that does what the specifications want of one, and looks at what a client must do: codes once, PKCE,
 * redirect addresses, the client's secret, and refresh tokens that are good once (who shows an old one ends the session). Whoever comes is "ann".
 */
export async function startProvider(): Promise<OpenidProvider> {
  const provider = new OpenidProvider();
  await provider.listen();
  return provider;
}

export class OpenidProvider {
  readonly #keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
  readonly #kid = "one";
  readonly #server = createServer((request, response) => void this.#serve(request, response));
  readonly #sockets = new Set<Socket>();
  readonly #codes = new Map<string, Grant>();
  readonly #refreshes = new Map<string, { family: string; user: string; isUsed: boolean }>();
  readonly #ended = new Set<string>();
  lies: Lies = {};
  user = "ann";
  /** Seconds since the epoch. */
  now = (): number => Date.now() / 1000;
  expiresIn: number | undefined = 300;
  /** Method and path of each request. */
  asked: string[] = [];
  /** Bodies and Authorization of what came to the token endpoint. */
  forms: { form: URLSearchParams; authorization: string | undefined }[] = [];
  issuer = "";
  port = 0;

  async listen(): Promise<void> {
    this.#server.on("connection", (socket: Socket) => this.#sockets.add(socket)).listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.port = (this.#server.address() as { port: number }).port;
    this.issuer = `http://127.0.0.1:${this.port}`;
  }
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** What a browser does with an address of the authorization endpoint: where it is sent then. */
  login(location: string): string {
    const { searchParams } = new URL(location);
    const param = (name: string): string => searchParams.get(name) ?? "";
    if (param("client_id") !== client.id || param("response_type") !== "code" || param("code_challenge_method") !== "S256" || !param("scope").split(" ").includes("openid")) throw new Error(`not a request for a login: ${location}`);
    const code = randomBytes(16).toString("base64url");
    this.#codes.set(code, { ...(searchParams.has("nonce") && { nonce: param("nonce") }), challenge: param("code_challenge"), redirect: param("redirect_uri"), user: this.user });
    return `${param("redirect_uri")}?${new URLSearchParams({ code, state: param("state"), iss: this.issuer }).toString()}`;
  }
  /** Any token, signed by this provider. */
  sign(claims: Record<string, unknown>, header: Record<string, unknown> = {}): string {
    const parts = [{ alg: "ES256", kid: this.#kid, typ: "JWT", ...header }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
    return `${parts.join(".")}.${sign("sha256", Buffer.from(parts.join(".")), { key: this.#keys.privateKey, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url!, this.issuer);
    this.asked.push(`${request.method} ${pathname}`);
    if (this.lies.hangs === pathname) return;
    const json = (body: unknown, status = 200): void => void response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    if (pathname === "/.well-known/openid-configuration") {
      const document: Record<string, unknown> = { issuer: this.issuer, authorization_endpoint: `${this.issuer}/authorize?prompt=login`, token_endpoint: `${this.issuer}/token`, jwks_uri: `${this.issuer}/keys`, end_session_endpoint: `${this.issuer}/end`, authorization_response_iss_parameter_supported: true, token_endpoint_auth_methods_supported: ["client_secret_basic"] };
      this.lies.document?.(document);
      return json(document);
    }
    if (pathname === "/keys") return json({ keys: [{ ...this.#keys.publicKey.export({ format: "jwk" }), kid: this.#kid, use: "sig", alg: "ES256" }] });
    if (pathname !== "/token") return json({}, 404);
    const form = new URLSearchParams(await text(request));
    this.forms.push({ form, authorization: request.headers.authorization });
    if (this.lies.tokenStatus !== undefined) return json({ error: "temporarily_unavailable" }, this.lies.tokenStatus);
    const [id, secret] = Buffer.from((request.headers.authorization ?? "").replace(/^Basic /, ""), "base64").toString("utf8").split(":").map((part) => decodeURIComponent(part.replaceAll("+", " ")));
    if (id !== client.id || secret !== client.secret) return json({ error: "invalid_client" }, 401);
    const answer = form.get("grant_type") === "refresh_token" ? this.#refreshed(form.get("refresh_token") ?? "") : this.#redeemed(form);
    if (!answer) return json({ error: "invalid_grant" }, 400);
    this.lies.tokens?.(answer);
    json(answer);
  }
  #redeemed(form: URLSearchParams): Record<string, unknown> | undefined {
    const code = form.get("code") ?? "";
    const grant = this.#codes.get(code);
    this.#codes.delete(code);
    const challenge = createHash("sha256").update(form.get("code_verifier") ?? "").digest("base64url");
    if (!grant || grant.redirect !== form.get("redirect_uri") || grant.challenge !== challenge) return undefined;
    return this.#tokens(grant.user, randomBytes(8).toString("hex"), grant.nonce);
  }
  #refreshed(token: string): Record<string, unknown> | undefined {
    const found = this.#refreshes.get(token);
    if (found?.isUsed) this.#ended.add(found.family);
    if (!found || found.isUsed || this.#ended.has(found.family)) return undefined;
    found.isUsed = true;
    return this.#tokens(found.user, found.family, undefined);
  }
  #tokens(user: string, family: string, nonce: string | undefined): Record<string, unknown> {
    const now = Math.floor(this.now());
    const access = `access-${randomBytes(8).toString("hex")}`;
    const refresh = randomBytes(16).toString("base64url");
    this.#refreshes.set(refresh, { family, user, isUsed: false });
    const header: Record<string, unknown> = {};
    const claims: Record<string, unknown> = { iss: this.issuer, sub: user, aud: client.id, iat: now, exp: now + 3_600, ...(nonce !== undefined && { nonce }), at_hash: createHash("sha256").update(access).digest().subarray(0, 16).toString("base64url") };
    this.lies.claims?.(claims, header);
    const signed = this.sign(claims, header);
    const idToken = this.lies.idToken ? this.lies.idToken(signed) : signed;
    return { token_type: "Bearer", access_token: access, refresh_token: refresh, ...(idToken !== undefined && { id_token: idToken }), ...(this.expiresIn !== undefined && { expires_in: this.expiresIn }) };
  }
  /** Ends what refresh tokens of this user are good for. */
  endSessions(): void {
    for (const { family } of this.#refreshes.values()) this.#ended.add(family);
  }
}
