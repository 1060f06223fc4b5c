import { request as httpRequest } from "node:http";
import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import { connect, type TLSSocket } from "node:tls";
import { serviceUnavailableError } from "../../api/status.ts";
import type { Request, Response } from "../http/exchange.ts";
import { forwardedHeaders, hostOf, passOn, passUpgradeOn } from "../http/pass-on.ts";
import type { Identity } from "../rest/context.ts";
import { type DialDependencies, dialService, type ServiceReference } from "../webhooks/service-target.ts";
import { checkName, connectionText, trustOf } from "../webhooks/tls-trust.ts";

/** Where a foreign API server is, and whom it may believe. */
export interface ForeignServer {
  service: ServiceReference;
  caBundle?: string;
  insecureSkipTLSVerify?: boolean;
}
/** Proves to it that we are the front proxy: signed by the authority of extension-apiserver-authentication. */
export interface FrontProxy {
  cert: string;
  key: string;
}

/** What the foreign server is told of who asks. Source: k8s.io/client-go/transport/round_trippers.go, NewAuthProxyRoundTripper. */
export function identityHeaders({ name, uid, groups, extra }: Identity): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { "x-remote-user": name, ...(uid !== undefined && { "x-remote-uid": uid }), ...(groups.length > 0 && { "x-remote-group": [...groups] }) };
  for (const [key, values] of Object.entries(extra ?? {})) headers[`x-remote-extra-${encodeURIComponent(key.toLowerCase())}`] = [...values];
  return headers;
}

/** A TLS connection to an endpoint of the server's Service; its certificate must be for `<service>.<namespace>.svc`. */
export async function connectTo(dependencies: DialDependencies, { service, caBundle, insecureSkipTLSVerify }: ForeignServer, proxy: FrontProxy): Promise<TLSSocket> {
  const socket = await dialService(dependencies, service);
  const servername = `${service.name}.${service.namespace}.svc`;
  const verify = insecureSkipTLSVerify ? { rejectUnauthorized: false } : { ...trustOf(caBundle), checkServerIdentity: (_: string, certificate: Parameters<typeof checkName>[1]) => checkName(servername, certificate) };
  return new Promise((resolve, reject) => {
    const secured = connect({ socket, servername, ALPNProtocols: ["http/1.1"], ...proxy, ...verify }, () => {
      secured.removeListener("error", failed);
      resolve(secured);
    });
    const failed = (error: Error) => {
      socket.destroy();
      reject(new Error(connectionText(error)));
    };
    secured.once("error", failed);
  });
}

/** One request of our own, for discovery and metrics: the whole answer, of at most `bytesMax`. */
export async function ask(dependencies: DialDependencies, server: ForeignServer, proxy: FrontProxy, path: string, user: Identity, options: { accept?: string; timeoutMs: number; bytesMax: number }): Promise<{ code: number; body: Buffer; headers: IncomingMessage["headers"] }> {
  const socket = await connectTo(dependencies, server, proxy);
  return new Promise((resolve, reject) => {
    const { accept = "application/json", timeoutMs, bytesMax } = options;
    const outgoing = httpRequest({ createConnection: () => socket, method: "GET", path, headers: { host: `${server.service.name}.${server.service.namespace}.svc`, accept, ...identityHeaders(user) } });
    const timer = setTimeout(() => outgoing.destroy(new Error("context deadline exceeded")), timeoutMs);
    outgoing.once("error", (error) => (clearTimeout(timer), socket.destroy(), reject(error)));
    outgoing.once("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if ((size += chunk.length) > bytesMax) outgoing.destroy(new Error(`the answer is larger than ${bytesMax} bytes`));
      });
      response.once("error", (error) => (clearTimeout(timer), reject(error)));
      response.once("end", () => {
        clearTimeout(timer);
        socket.destroy();
        resolve({ code: response.statusCode ?? 0, body: Buffer.concat(chunks), headers: response.headers });
      });
    });
    outgoing.end();
  });
}

/** Passes a request on and its answer back. */
export async function forward(dependencies: DialDependencies, server: ForeignServer, proxy: FrontProxy, user: Identity, request: Request, response: Response): Promise<void> {
  const socket = await reach(dependencies, server, proxy);
  const headers = { ...headersTo(server, user, request), "x-forwarded-uri": request.url ?? "/", "x-forwarded-host": hostOf(request), "x-forwarded-proto": "https" };
  return passOn(socket, request, response, { path: request.url ?? "/", headers });
}

/** exec and its like. */
export async function forwardUpgrade(dependencies: DialDependencies, server: ForeignServer, proxy: FrontProxy, user: Identity, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  const socket = await reach(dependencies, server, proxy);
  passUpgradeOn(socket, request, client, head, { path: request.url ?? "/", headers: headersTo(server, user, request) });
}

async function reach(dependencies: DialDependencies, server: ForeignServer, proxy: FrontProxy): Promise<TLSSocket> {
  try {
    return await connectTo(dependencies, server, proxy);
  } catch (error) {
    throw serviceUnavailableError(`error trying to reach service: ${(error as Error).message}`);
  }
}

const headersTo = ({ service }: ForeignServer, user: Identity, request: Request): OutgoingHttpHeaders => ({ ...forwardedHeaders(request), ...identityHeaders(user), host: `${service.name}.${service.namespace}.svc` });
