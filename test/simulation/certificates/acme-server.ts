import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, verify } from "node:crypto";
import { once } from "node:events";
import { get } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { parseRequest } from "../../../src/api/kinds/certificates/pkcs10.ts";
import { generalNames, makeCertificate, nameOf, publicKeyOf } from "../../../src/api/x509/certificate.ts";
import { pem } from "../../../src/base/der.ts";

/**
 * As much of an ACME server (RFC 8555) as shows what a client does when things go wrong: every signature, nonce and URL is
 * checked, answers are looked for over HTTP, and each kind of trouble happens as often as it is told to. Time stands still for it.
 */
export class AcmeTestServer implements AsyncDisposable {
  /** What goes wrong, and how often from now on. */
  readonly trouble = { badNonce: 0, rateLimited: 0, serverError: 0, processing: 0, pendingAuthorization: 0, invalidOrder: 0 };
  readonly requests: string[] = [];
  /** By the account's URL. */
  readonly contacts = new Map<string, unknown>();
  readonly authority: string;
  readonly ca: string;
  /** Where names lead to. */
  httpPort = 0;
  /** Asks to be asked again at once, whatever it is. */
  isHasty = false;
  readonly #server: Server;
  readonly #key: KeyObject;
  readonly #nowMs: () => number;
  readonly #nonces = new Set<string>();
  readonly #accounts = new Map<string, KeyObject>();
  readonly #orders: { names: string[]; authorized: boolean[]; status: string; certificate?: string; token: string; thumbprint: string }[] = [];

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
    const template = { publicKey: publicKeyOf(this.#key), notBefore: new Date(Date.UTC(2020, 0)), notAfter: new Date(Date.UTC(2040, 0)), usages: ["digital signature", "cert sign", "server auth"], isCA: true };
    this.ca = makeCertificate({ ...template, subject: nameOf([["CN", "server"]]), alternativeNames: generalNames({ addresses: ["127.0.0.1"] }) }, this.#key);
    this.authority = makeCertificate({ ...template, subject: nameOf([["CN", "a public authority"]]) }, this.#key);
    this.#server = createServer({ cert: this.ca, key: this.#key.export({ type: "pkcs8", format: "pem" }) }, (request, response) => {
      let text = "";
      request.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      request.on("end", () => {
        this.requests.push(`${request.method} ${request.url}`);
        const nonce = randomBytes(9).toString("base64url");
        this.#nonces.add(nonce);
        response.setHeader("replay-nonce", nonce);
        void this.#answer(request.url!, text).then(
          ({ status = 200, body, headers = {} }) => response.writeHead(status, { ...headers, ...(this.isHasty && { "retry-after": "0" }) }).end(typeof body === "string" ? body : JSON.stringify(body ?? {})),
          (error: unknown) => {
            const { status = 500, type = "serverInternal", message, retryAfter } = error as Refusal;
            response.writeHead(status, { "content-type": "application/problem+json", ...(retryAfter && { "retry-after": this.isHasty ? "0" : retryAfter }) }).end(JSON.stringify({ type: `urn:ietf:params:acme:error:${type}`, detail: message }));
          },
        );
      });
    });
  }

  static async start(nowMs: () => number): Promise<AcmeTestServer> {
    const server = new AcmeTestServer(nowMs);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }
  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  get directory(): string {
    return `${this.url}/directory`;
  }

  async #answer(path: string, text: string): Promise<{ status?: number; body?: unknown; headers?: Record<string, string> }> {
    if (path === "/directory") return { body: { newNonce: `${this.url}/nonce`, newAccount: `${this.url}/account`, newOrder: `${this.url}/orders`, revokeCert: `${this.url}/revoke` } };
    if (path === "/nonce") return {};
    const { payload, key, kid } = this.#opened(path, text);
    if (path === "/account") {
      const url = `${this.url}/account/${thumbprint(key)}`;
      const isNew = !this.#accounts.has(url);
      this.#accounts.set(url, key);
      if (isNew) this.contacts.set(url, payload["contact"]);
      return { status: isNew ? 201 : 200, body: { status: "valid", contact: this.contacts.get(url) }, headers: { location: url } };
    }
    if (kid === undefined) throw new Refusal(401, "accountDoesNotExist", "who asks?");
    if (this.#happens("serverError")) throw new Refusal(503, "serverInternal", "come back later");
    if (path === "/orders") {
      if (this.#happens("rateLimited")) throw new Refusal(429, "rateLimited", "too many certificates already issued", "120");
      const names = (payload["identifiers"] as { value: string }[]).map(({ value }) => value);
      this.#orders.push({ names, authorized: names.map(() => false), status: "pending", token: randomBytes(9).toString("base64url"), thumbprint: thumbprint(key) });
      return { status: 201, body: this.#orderBody(this.#orders.length - 1), headers: { location: `${this.url}/orders/${this.#orders.length - 1}` } };
    }
    const [, kind, number = "", index = "0"] = path.split("/");
    if (kind === "account" && kid === this.url + path) {
      this.contacts.set(kid, payload["contact"]);
      return { body: { status: "valid", contact: payload["contact"] } };
    }
    const order = this.#orders[Number(number)];
    if (!order) throw new Refusal(404, "malformed", "no such order");
    switch (kind) {
      case "orders":
        if (order.status === "processing" && !this.#happens("processing")) order.status = this.#happens("invalidOrder") ? "invalid" : "valid";
        return { body: this.#orderBody(Number(number)), headers: { "retry-after": "3" } };
      case "authorizations": {
        const isValid = order.authorized[Number(index)]! && !this.#happens("pendingAuthorization");
        if (isValid && order.authorized.every(Boolean) && order.status === "pending") order.status = "ready";
        return { body: { status: isValid ? "valid" : "pending", identifier: { type: "dns", value: order.names[Number(index)] }, challenges: [{ type: "dns-01", url: "x", token: "y", status: "pending" }, { type: "http-01", url: `${this.url}/challenges/${number}/${index}`, token: order.token + index, status: "pending" }] }, headers: { "retry-after": "2" } };
      }
      case "challenges":
        if ((await this.#look(order.names[Number(index)]!, order.token + index)) !== `${order.token}${index}.${order.thumbprint}`) throw new Refusal(403, "unauthorized", "the answer is wrong");
        order.authorized[Number(index)] = true;
        return { body: { type: "http-01", status: "processing" } };
      case "finalize": {
        const request = parseRequest(pem("CERTIFICATE REQUEST", Buffer.from(payload["csr"] as string, "base64url")));
        if (order.status !== "ready") throw new Refusal(403, "orderNotReady", "not all names are authorized");
        if (request.signatureError() || request.dnsNames.join() !== order.names.join()) throw new Refusal(400, "badCSR", "other names than were ordered");
        const template = { subject: nameOf([]), publicKey: request.publicKey, alternativeNames: generalNames({ dnsNames: request.dnsNames }), notBefore: new Date(this.#nowMs()), notAfter: new Date(this.#nowMs() + 90 * 86_400_000), isCA: false, usages: ["digital signature", "server auth"] };
        order.certificate = makeCertificate(template, this.#key, { cert: this.authority });
        order.status = "processing";
        return { body: this.#orderBody(Number(number)), headers: { "retry-after": "1" } };
      }
      case "certificates":
        return { body: `${order.certificate}${this.authority}`, headers: { "content-type": "application/pem-certificate-chain" } };
    }
    throw new Refusal(404, "malformed", path);
  }

  #orderBody(number: number): object {
    const { status, names } = this.#orders[number]!;
    return { status, identifiers: names.map((value) => ({ type: "dns", value })), authorizations: names.map((_, index) => `${this.url}/authorizations/${number}/${index}`), finalize: `${this.url}/finalize/${number}`, ...(status === "valid" && { certificate: `${this.url}/certificates/${number}` }), ...(status === "invalid" && { error: { type: "urn:ietf:params:acme:error:caa", detail: "CAA record forbids it" } }) };
  }

  /** JWS as RFC 8555 §6 wants it. */
  #opened(path: string, text: string): { payload: Record<string, unknown>; key: KeyObject; kid: string | undefined } {
    const { protected: head, payload, signature } = JSON.parse(text) as Record<string, string>;
    const { alg, jwk, kid, nonce, url } = JSON.parse(Buffer.from(head!, "base64url").toString()) as { alg: string; jwk?: object; kid?: string; nonce: string; url: string };
    if (url !== this.url + path) throw new Refusal(400, "unauthorized", "signed for another URL");
    if (!this.#nonces.delete(nonce) || this.#happens("badNonce")) throw new Refusal(400, "badNonce", "that nonce is used up");
    const key = jwk ? createPublicKey({ key: jwk as never, format: "jwk" }) : this.#accounts.get(kid ?? "");
    if (!key || (jwk !== undefined) !== (path === "/account")) throw new Refusal(401, "accountDoesNotExist", "by key only for accounts, by account for the rest");
    const isSigned = verify("sha256", Buffer.from(`${head}.${payload}`), alg === "ES256" ? { key, dsaEncoding: "ieee-p1363" } : key, Buffer.from(signature!, "base64url"));
    if (!isSigned) throw new Refusal(400, "malformed", "the signature is wrong");
    return { payload: payload ? (JSON.parse(Buffer.from(payload, "base64url").toString()) as Record<string, unknown>) : {}, key, kid };
  }

  #happens(what: keyof AcmeTestServer["trouble"]): boolean {
    if (this.trouble[what] <= 0) return false;
    this.trouble[what]--;
    return true;
  }

  #look(host: string, token: string): Promise<string> {
    return new Promise((resolve, reject) => {
      get({ host: "127.0.0.1", port: this.httpPort, path: `/.well-known/acme-challenge/${token}`, headers: { host }, agent: false }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        answer.on("end", () => resolve(text));
      }).on("error", reject);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }
}

class Refusal extends Error {
  readonly status: number;
  readonly type: string;
  readonly retryAfter: string | undefined;
  constructor(status: number, type: string, message: string, retryAfter?: string) {
    super(message);
    this.status = status;
    this.type = type;
    this.retryAfter = retryAfter;
  }
}

/** RFC 7638, of the keys that come here. */
function thumbprint(key: KeyObject): string {
  const { crv, kty, x, y, n, e } = key.export({ format: "jwk" });
  return createHash("sha256").update(JSON.stringify(kty === "EC" ? { crv, kty, x, y } : { e, kty, n })).digest("base64url");
}
