import type { IncomingMessage, OutgoingHttpHeaders } from "node:http";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { createDeflateRaw, createGunzip, createGzip, createInflateRaw } from "node:zlib";
import type { NodeAccess, PodKey } from "../../api/node.ts";
import { badRequestError, notFoundError, serviceUnavailableError } from "../../api/status.ts";
import type { EndpointSlice, Pod, Service } from "../../api/types.ts";
import { randomInt, type Random } from "../../base/random.ts";
import type { Api } from "../api.ts";
import type { Request, Response } from "../http/exchange.ts";
import { forwardedHeaders, hostOf, passOn, passUpgradeOn } from "../http/pass-on.ts";
import type { RequestInfo, ResourceInfo } from "../http/request-info.ts";
import { objectOf } from "../rest/keys.ts";
import { LinkRewriter, rewriteLink, type Rewriting } from "./html-links.ts";

export interface ProxyOptions {
  api: Api;
  random: Random;
  node?: NodeAccess;
}
interface Backend {
  /** "10.244.0.7:8080". */
  host: string;
  connect(): Promise<Duplex>;
}

/**
 * Passes an HTTP request on to a port of a pod or Service, and the answer back, with redirects and the links of HTML
 * pages leading back through here. The request is authenticated and authorized; its credentials stay with us.
 * Throws StatusErrors. Source: k8s.io/apimachinery/pkg/util/proxy/upgradeaware.go.
 */
export async function serveProxy(options: ProxyOptions, info: RequestInfo & { resource: ResourceInfo }, request: Request, response: Response): Promise<void> {
  const [, path = "", query = ""] = /^([^?]*)([^]*)$/.exec(request.url ?? "/")!;
  const [, prefix = "", rest = ""] = below.exec(path)!;
  const backend = backendOf(options, info.resource);
  // A relative link in the answer needs a folder to start from.
  if (rest === "" && (request.method === "GET" || request.method === "HEAD")) {
    (response as unknown as { writeHead(code: number, headers: object): void }).writeHead(301, { location: `${path}/${query}` });
    return void response.end();
  }
  const host = hostOf(request);
  const headers = { ...forwardedHeaders(request), host, "x-forwarded-uri": path, ...forwardedFor(request) };
  const rewriting: Rewriting = { prefix, backendHost: backend.host, requestHost: host };
  return passOn(await reach(backend), request, response, { path: `${rest || "/"}${query}`, headers, answered: (answer, passed) => ledBack(rewriting, answer, passed) });
}

/** The same for WebSocket and its like. */
export async function serveProxyUpgrade(options: ProxyOptions, info: RequestInfo & { resource: ResourceInfo }, request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  const [, path = "", query = ""] = /^([^?]*)([^]*)$/.exec(request.url ?? "/")!;
  const rest = below.exec(path)![2] || "/";
  const socket = await reach(backendOf(options, info.resource));
  passUpgradeOn(socket, request, client, head, { path: `${rest}${query}`, headers: { ...forwardedHeaders(request), host: hostOf(request), ...forwardedFor(request) } });
}

/** What lies below the subresource, as the client wrote it: "%2F" is not "/". */
const below = /^(\/+api\/+v1\/+namespaces\/+[^/]+\/+[^/]+\/+[^/]+\/+proxy)([^]*)$/;

function forwardedFor(request: Request): OutgoingHttpHeaders {
  const address = request.socket?.remoteAddress;
  return address === undefined ? {} : { "x-forwarded-for": [request.headers["x-forwarded-for"], address].filter((part) => part !== undefined).join(", ") };
}

async function reach({ connect }: Backend): Promise<Duplex> {
  try {
    return await connect();
  } catch (error) {
    throw serviceUnavailableError(`error trying to reach service: ${(error as Error).message}`);
  }
}

function ledBack(rewriting: Rewriting, answer: IncomingMessage, headers: OutgoingHttpHeaders): Duplex[] {
  if (answer.headers.location) {
    headers["location"] = rewriteLink(answer.headers.location, rewriting);
    return [];
  }
  if (answer.headers["content-type"]?.split(";")[0]!.trim() !== "text/html") return [];
  const rewriter = new LinkRewriter(rewriting);
  const through = { "": [rewriter], gzip: [createGunzip(), rewriter, createGzip()], deflate: [createInflateRaw(), rewriter, createDeflateRaw()] }[answer.headers["content-encoding"] ?? ""];
  // The answer to HEAD has the length of a page that is not sent.
  if (!through) return [];
  delete headers["content-length"];
  return through;
}

/** Throws StatusErrors, with upstream's texts. Source: ResourceLocation in pkg/registry/core/{pod/strategy,service/storage/storage}.go. */
function backendOf(options: ProxyOptions, { resource, namespace, name: id }: ResourceInfo): Backend {
  const parts = id!.split(":");
  const [scheme, name, port] = parts.length === 3 ? (parts as [string, string, string]) : ["", parts[0]!, parts[1] ?? ""];
  if (parts.length > 3 || !["", "http", "https"].includes(scheme)) throw badRequestError(`invalid ${resource === "pods" ? "pod" : "service"} request ${JSON.stringify(id)}`);
  const { node } = options;
  const endpoint = resource === "pods" ? podEndpoint(options, namespace!, name, port) : serviceEndpoint(options, namespace!, name, port, id!);
  const dial = async (): Promise<Duplex> => {
    if (!node) throw new Error("the node agent is not there");
    return node.dial(endpoint.key, endpoint.port);
  };
  return { host: `${endpoint.ip}:${endpoint.port}`, connect: scheme === "https" ? async () => secured(await dial()) : dial };
}

/** Whose certificate it is nobody asks, as upstream: who made the pod is believed. */
function secured(socket: Duplex): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const tls = connectTls({ socket, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }, () => {
      tls.removeListener("error", failed);
      resolve(tls);
    });
    const failed = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    tls.once("error", failed);
  });
}

interface Endpoint {
  key: PodKey;
  ip: string;
  port: number;
}

function podEndpoint({ api }: ProxyOptions, namespace: string, name: string, port: string): Endpoint {
  const kind = api.registry.byResource("", "v1", "pods")!;
  const { metadata, spec, status } = objectOf(kind, api.get(kind, namespace, name)) as unknown as Pod;
  const ip = status?.podIP;
  if (!ip) throw badRequestError("address not allowed");
  const wanted = port === "" ? (spec?.containers.find(({ ports }) => ports?.length)?.ports![0]!.containerPort ?? 80) : Number(port);
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > 65535) throw serviceUnavailableError(`error trying to reach service: dial tcp: address ${port}: invalid port`);
  return { key: { namespace, name, uid: metadata.uid ?? "" }, ip, port: wanted };
}

/** Any of its pods that are ready. A port is named by its number at the Service, or by its name; without one, it is the one that has none. */
function serviceEndpoint({ api, random }: ProxyOptions, namespace: string, name: string, port: string, id: string): Endpoint {
  const service = api.store.get(`/core/services/${namespace}/${name}`)?.object as unknown as Service | undefined;
  const isNumber = /^[+-]?\d+$/.test(port);
  if (!service) throw notFoundError({ group: "", resource: isNumber ? "services" : "endpoints" }, name);
  const numbered = isNumber ? service.spec?.ports?.find((candidate) => candidate.port === Number(port)) : undefined;
  if (isNumber && !numbered) throw serviceUnavailableError(`no service port ${Number(port)} found for service ${JSON.stringify(name)}`);
  const portName = isNumber ? (numbered!.name ?? "") : port;

  const slices = api.store
    .range(`/discovery.k8s.io/endpointslices/${namespace}/`)
    .map((entry) => entry.object as unknown as EndpointSlice)
    .filter(({ metadata }) => metadata.labels?.["kubernetes.io/service-name"] === name);
  if (!slices.some(({ endpoints }) => endpoints?.length)) throw serviceUnavailableError(`no endpoints available for service ${JSON.stringify(name)}`);
  const found = slices.flatMap(({ ports, endpoints }): Endpoint[] => {
    const target = ports?.find((candidate) => (candidate.name ?? "") === portName)?.port;
    if (target === undefined) return [];
    // Pods only: whoever may write an address must not reach what we reach.
    return (endpoints ?? []).flatMap(({ conditions, targetRef, addresses }) => (conditions?.ready === false || targetRef?.kind !== "Pod" ? [] : [{ key: { namespace, name: targetRef.name!, uid: targetRef.uid ?? "" }, ip: addresses?.[0] ?? "", port: target }]));
  });
  if (found.length === 0) throw serviceUnavailableError(`no endpoints available for service ${JSON.stringify(id)}`);
  return found[randomInt(random, found.length)]!;
}
