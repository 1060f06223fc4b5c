import type { Kind } from "../../api/kind.ts";
import type { KindRegistry } from "../../api/registry.ts";

/**
 * What a request is about, read off method and URL before anything else is looked at: authorization judges it,
 * the router follows it. Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
 */
export interface RequestInfo {
  method: string;
  path: string;
  query: URLSearchParams;
  /** "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"; lower-case method for other paths. */
  verb: string;
  /** Undefined for paths that are no resources: /version, /openapi/v3. */
  resource?: ResourceInfo;
}

export interface ResourceInfo {
  group: string;
  version: string;
  /** "pods"; may be one that is not served. */
  resource: string;
  namespace: string | undefined;
  name: string | undefined;
  subresource: string | undefined;
  /** What follows the subresource: the path of a proxied request. */
  rest: string;
  kind: Kind | undefined;
}

const namespaceSubresources = new Set(["status", "finalize"]);

export function requestInfoOf(registry: KindRegistry, method: string, url: string): RequestInfo {
  const at = url.indexOf("?");
  const path = at < 0 ? url : url.slice(0, at);
  const query = new URLSearchParams(at < 0 ? "" : url.slice(at + 1));
  const info: RequestInfo = { method, path, query, verb: method.toLowerCase() };
  const parts = path.split("/").filter((part) => part !== "").map(decode);
  const [root, ...below] = parts;
  let group: string, version: string, rest: string[];
  if (root === "api" && below.length > 1) [group, version, ...rest] = ["", ...below] as [string, string, ...string[]];
  else if (root === "apis" && below.length > 2) [group, version, ...rest] = below as [string, string, ...string[]];
  else return info;

  let isWatch = isTrue(query.get("watch"));
  if (rest[0] === "watch") {
    isWatch = true;
    rest = rest.slice(1);
  }
  let namespace: string | undefined;
  if (rest[0] === "namespaces" && rest.length > 2 && !(rest.length === 3 && namespaceSubresources.has(rest[2]!))) {
    namespace = rest[1]!;
    rest = rest.slice(2);
  }
  const [resource, name, subresource, ...tail] = rest;
  if (resource === undefined) return info;
  info.resource = { group, version, resource, namespace, name, subresource, rest: tail.join("/"), kind: registry.byResource(group, version, resource) };
  // A watch of one named object, in its legacy form, is a watch of the collection by name.
  if (isWatch && name !== undefined && subresource === undefined && method === "GET") {
    query.set("fieldSelector", `metadata.name=${name}`);
    info.resource.name = undefined;
  }
  info.verb = verbOf(method, info.resource.name !== undefined, isWatch);
  return info;
}

/** Whether a request is for what answers behind a pod or a Service: `…/pods/[https:]NAME[:PORT]/proxy/PATH`. */
export const isProxied = ({ group, resource, subresource, namespace, name }: ResourceInfo): boolean =>
  subresource === "proxy" && group === "" && (resource === "pods" || resource === "services") && namespace !== undefined && name !== undefined && !`${namespace}${name}`.includes("/");

function verbOf(method: string, hasName: boolean, isWatch: boolean): string {
  switch (method) {
    case "GET":
    case "HEAD":
      return hasName ? "get" : isWatch ? "watch" : "list";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return hasName ? "delete" : "deletecollection";
    default:
      return method.toLowerCase();
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const isTrue = (value: string | null): boolean => value !== null && value !== "" && value !== "false" && value !== "0";
