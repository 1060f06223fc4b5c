import { chmodSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import type { Kind } from "../../api/kind.ts";
import type { NodeAccess } from "../../api/node.ts";
import { forbiddenError, StatusError } from "../../api/status.ts";
import { kubernetesVersion } from "../../api/resources.ts";
import type { RawHandle } from "../../base/channel.ts";
import { serveHttp2 } from "../../base/http2/connection.ts";
import type { Http2Request, Http2Response } from "../../base/http2/messages.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Aggregator } from "../aggregation/aggregator.ts";
import { withForeignDocuments } from "../aggregation/openapi.ts";
import type { Api } from "../api.ts";
import type { Audit, AuditRecord } from "../audit/audit.ts";
import { authenticate } from "../authn/authenticate.ts";
import { impersonate } from "../authn/impersonate.ts";
import type { Tokens } from "../authn/tokens.ts";
import { type Attributes, type Rbac, refusalText } from "../authz/rbac.ts";
import { Discovery } from "../discovery.ts";
import { answerTooMany, type Fairness, TooManyRequests } from "../fairness/fairness.ts";
import { createOpenApi } from "../openapi/openapi.ts";
import type { Pki } from "../pki.ts";
import { type Identity, systemIdentity } from "../rest/context.ts";
import { Exchange, type Request, type Response, statusOf } from "./exchange.ts";
import { serveResource } from "./resources.ts";
import { isProxied, type RequestInfo, requestInfoOf, type ResourceInfo } from "./request-info.ts";
import { servePath } from "./paths.ts";

export interface ApiServerOptions {
  api: Api;
  pki: Pki;
  tokens: Tokens;
  rbac: Rbac;
  random: Random;
  log: Log;
  /** Logs, exec, attach and port-forward; without it they answer 503. */
  node?: NodeAccess;
  /** Keeps a flood of one from being everybody's. Without it, all are served as they come. */
  fairness?: Fairness;
  /** Records who asked for what. Without it, nobody does. */
  audit?: Audit;
  /** Which groups other API servers serve. Without it, none. */
  aggregator?: Aggregator;
  /** Shown in discovery: "127.0.0.1:6443". */
  address: string;
}

export interface ApiServer {
  /** Serves TLS on a handle that is bound, or already listening. */
  listen(handle: RawHandle): void;
  /** Binds itself; for tests. Gives the port. */
  listenOn(host: string, port: number): Promise<number>;
  /** Serves plain HTTP/1.1 on a unix socket whose folder is the credential: who reaches it is system:masters. */
  listenLocal(path: string): Promise<void>;
  close(): Promise<void>;
}

// Go clients keep idle connections for 90 s: ours must not close first, or their next request meets a reset.
const keepAliveMs = 150_000;
const headersTimeoutMs = 20_000;

/** Requests to these may last, as upstream counts: --long-running-request-regexp and its subresources. */
const mayLast: ReadonlySet<string> = new Set(["attach", "exec", "log", "portforward", "proxy"]);

/** Other offers, such as curl's to go on with h2c, are not taken up: the request is answered as it is. */
const upgrades = (request: IncomingMessage): boolean => /^(websocket|spdy\/3\.1)$/i.test(request.headers.upgrade ?? "");

export function createApiServer(options: ApiServerOptions): ApiServer {
  return new HttpApiServer(options);
}

class HttpApiServer implements ApiServer {
  readonly #options: ApiServerOptions;
  readonly #paths: Parameters<typeof servePath>[0];
  readonly #servers = new Set<Server>();
  readonly #sockets = new Set<Socket>();
  #closing = false;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    this.#paths = { api: options.api, discovery: new Discovery(options.api.registry, options.aggregator), openApi: withForeignDocuments(createOpenApi(options.api.registry), options.aggregator), address: options.address, issuer: options.tokens.issuerDocuments(options.address), version: kubernetesVersion, ...(options.fairness && { fairness: options.fairness }) };
  }

  listen(handle: RawHandle): void {
    this.#secure().listen(handle);
  }

  listenOn(host: string, port: number): Promise<number> {
    const server = this.#secure();
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, host, () => resolve((server.address() as { port: number }).port));
    });
  }

  listenLocal(path: string): Promise<void> {
    rmSync(path, { force: true }); // left over by a killed predecessor; the data directory has one owner
    const server = createServer({ keepAliveTimeout: keepAliveMs, requestTimeout: 0, headersTimeout: headersTimeoutMs, shouldUpgradeCallback: upgrades }, (request, response) => this.#serve(request, response, systemIdentity("local")));
    this.#keep(server);
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head, systemIdentity("local")));
    return new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(path, () => {
        chmodSync(path, 0o600); // plain mode lets pods pass through the folder
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    this.#closing = true;
    const closed = [...this.#servers].map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    // Watches never end by themselves, and the store is about to close.
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  /** HTTP/1.1 is Node's, HTTP/2 ours: what the client prefers of the two. */
  #secure(): Server {
    const { pki } = this.#options;
    const server = createSecureServer({
      key: pki.server.key,
      cert: pki.server.cert,
      ca: pki.ca,
      requestCert: true,
      rejectUnauthorized: false, // who has no certificate may have a token
      minVersion: "TLSv1.2",
      ALPNProtocols: ["h2", "http/1.1"],
      shouldUpgradeCallback: upgrades,
      keepAliveTimeout: keepAliveMs,
      requestTimeout: 0,
      headersTimeout: headersTimeoutMs,
    });
    server.setTimeout(0);
    server.on("request", (request, response) => this.#serve(request, response, undefined));
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => this.#upgrade(request, socket, head, undefined));
    const http1 = server.listeners("secureConnection") as ((this: unknown, socket: TLSSocket) => void)[];
    server.removeAllListeners("secureConnection");
    const http2 = { streamsMax: limits.http2Streams, streamWindow: limits.http2StreamBytes, connectionWindow: limits.http2ConnectionBytes, headerBytesMax: limits.http2HeaderBytes, prefaceMs: headersTimeoutMs, onRequest: (request: Http2Request, response: Http2Response) => this.#serve(request as unknown as Request, response as unknown as Response, undefined) };
    server.on("secureConnection", (socket: TLSSocket) => {
      if (socket.alpnProtocol === "h2") return serveHttp2(socket, http2);
      socket.setNoDelay(true);
      for (const listener of http1) listener.call(server, socket);
    });
    this.#keep(server);
    return server;
  }

  #keep(server: Server): void {
    this.#servers.add(server);
    server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  #serve(request: Request, response: Response, known: Identity | undefined): void {
    const { api, log, random } = this.#options;
    const info = requestInfoOf(api.registry, request.method ?? "GET", request.url ?? "/");
    let exchange = new Exchange(request, response, info, known ?? systemIdentity("nobody"));
    const run = async () => {
      const { user, record } = await this.#identify(request, info, known, (recording) => recording.follow(response, info.verb === "watch" || mayLast.has(info.resource?.subresource ?? "")));
      exchange = new Exchange(request, response, info, user);
      if (record) exchange.annotations = record.annotations;
      const turn = this.#options.fairness?.admit(info, user, response);
      if (turn) await turn;
      this.#authorize(info, user, record);
      const { resource } = info;
      const foreign = this.#options.aggregator?.match(info.path);
      if (foreign) return (await import("../aggregation/serve.ts")).serveForeign(this.#options.aggregator!, foreign, user, request, response);
      if (!resource) return servePath(this.#paths, exchange);
      if (!resource.kind) {
        // Outside of the groups that are built in upstream says nothing but this, which Go clients complete with what they asked for.
        const isBuiltIn = api.registry.all().some(({ group, version, custom }) => !custom && group === resource.group && version === resource.version);
        if (!isBuiltIn) return exchange.bytes(404, Buffer.from("404 page not found\n"), "text/plain; charset=utf-8");
        throw new StatusError(404, "NotFound", "the server could not find the requested resource", {});
      }
      const target = resource as ResourceInfo & { kind: Kind };
      if (isProxied(resource)) {
        await this.#admitProxied(target, user, record);
        return (await import("../streams/proxy.ts")).serveProxy({ api, random, ...(this.#options.node && { node: this.#options.node }) }, { ...info, resource: target }, request, response);
      }
      if (resource.group === "" && resource.resource === "pods") {
        if (resource.subresource === "log") return (await import("../streams/log.ts")).servePodLog({ api, log, ...(this.#options.node && { node: this.#options.node }) }, exchange, { ...info, resource: target });
        if (["exec", "attach", "portforward"].includes(resource.subresource ?? "")) {
          api.get(target.kind, target.namespace, target.name!);
          throw new StatusError(400, "BadRequest", "Upgrade request required");
        }
      }
      return serveResource(api, exchange, target, random, () => this.#authorize({ ...info, verb: "create" }, user));
    };
    run().catch((error: unknown) => {
      // An unread body would hold the connection: what is left of it is thrown away.
      request.resume();
      if (error instanceof TooManyRequests) answerTooMany(response);
      else exchange.fail(error, log);
    });
  }

  /** WebSocket and SPDY arrive as HTTP/1.1 upgrades, also on the TLS port. */
  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, known: Identity | undefined): void {
    const { api, log, node } = this.#options;
    const info = requestInfoOf(api.registry, request.method ?? "GET", request.url ?? "/");
    socket.on("error", () => socket.destroy());
    let upgrade: AuditRecord | undefined;
    const open = async () => {
      if (this.#closing) throw new StatusError(503, "ServiceUnavailable", "the server is stopping");
      const { user, record } = await this.#identify(request, info, known, (recording) => {
        upgrade = recording;
        socket.once("close", () => recording.complete(101));
      });
      const isPassedOn = info.resource !== undefined && isProxied(info.resource);
      // Opening a stream makes something, whatever the method says: upstream asks for "create" since 1.35.
      this.#authorize(info.resource?.subresource && !isPassedOn ? { ...info, verb: "create" } : info, user, record);
      const { resource } = info;
      const foreign = this.#options.aggregator?.match(info.path);
      if (foreign) return (await import("../aggregation/serve.ts")).serveForeignUpgrade(this.#options.aggregator!, foreign, user, request, socket, head);
      if (!resource?.kind) throw new StatusError(404, "NotFound", "the server could not find the requested resource");
      const target = resource as ResourceInfo & { kind: Kind };
      if (isPassedOn) {
        await this.#admitProxied(target, user, record);
        record?.started(101);
        return (await import("../streams/proxy.ts")).serveProxyUpgrade({ api, random: this.#options.random, ...(node && { node }) }, { ...info, resource: target }, request, socket, head);
      }
      if (resource.name !== undefined) await api.admitConnect(resource.kind, resource.namespace, resource.name, resource.subresource ?? "", info.query, user, record?.annotations);
      const { serveConnect } = await import("../streams/connect.ts"); // nobody pays for WebSocket before it is used
      record?.started(101);
      serveConnect({ api, log, ...(node && { node }) }, { ...info, resource: target }, request, socket, head);
    };
    open().catch((error: unknown) => {
      const status = statusOf(error, log);
      const body = JSON.stringify(status);
      upgrade?.complete(status.code, status);
      socket.end(`HTTP/1.1 ${status.code} ${status.reason ?? "Error"}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
    });
  }

  #admitProxied({ kind, namespace, name, rest }: ResourceInfo & { kind: Kind }, user: Identity, record: AuditRecord | undefined): Promise<void> {
    return this.#options.api.admitConnect(kind, namespace, name!, "proxy", new URLSearchParams({ path: rest }), user, record?.annotations);
  }

  /** Who asks, and the record of it: it begins once he has a name, and says as whom he acts. */
  async #identify(request: Request, info: RequestInfo, known: Identity | undefined, begun: (record: AuditRecord) => void): Promise<{ user: Identity; record: AuditRecord | undefined }> {
    const { audit, rbac, tokens } = this.#options;
    const begin = (user: Identity | undefined) => {
      const record = audit?.begin(request, info, user);
      if (record) begun(record);
      return record;
    };
    let who: Identity;
    try {
      who = known ?? (await authenticate(request, info.path, tokens));
    } catch (error) {
      begin(undefined);
      throw error;
    }
    const record = begin(who);
    const user = impersonate(who, request, rbac);
    if (user !== who) record?.impersonates(user);
    return { user, record };
  }

  #authorize(info: RequestInfo, user: Identity, record?: AuditRecord): void {
    const { resource } = info;
    const { rbac } = this.#options;
    const mayDo = (attributes: Attributes): boolean => {
      const { allowed, reason } = rbac.authorize(user, attributes);
      if (record) Object.assign(record.annotations, { "authorization.k8s.io/decision": allowed ? "allow" : "forbid", "authorization.k8s.io/reason": reason });
      return allowed;
    };
    if (!resource) {
      const attributes: Attributes = { verb: info.verb, path: info.path };
      if (!mayDo(attributes)) throw new StatusError(403, "Forbidden", `forbidden: ${refusalText(user, attributes)}`, {});
      return;
    }
    const { group, name, subresource } = resource;
    // A namespace is judged inside itself, so that a role in it may let its people look at it.
    const namespace = resource.kind?.scope === "Cluster" ? (group === "" && resource.resource === "namespaces" ? name : undefined) : resource.namespace;
    const attributes: Attributes = { verb: info.verb, namespace, group, resource: resource.resource, subresource, name };
    if (!mayDo(attributes)) throw forbiddenError({ group, resource: resource.resource }, name ?? "", refusalText(user, attributes));
  }
}
