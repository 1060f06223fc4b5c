import { Agent, request as httpRequest, type IncomingMessage, type RequestOptions } from "node:http";
import type { Client, DeleteOptions, ListOptions, PatchType, WatchOptions, WriteOptions } from "./client.ts";
import type { GroupVersionResource, KubeList, KubeObject, WatchEvent } from "./meta.ts";
import { type Status, StatusError } from "./status.ts";

/**
 * A {@link Client} over HTTP: the agent and the CLI on the unix socket (whose folder is the credential), foreign
 * machines over TLS. TLS is loaded only when it is used.
 */
export interface HttpClientOptions {
  /** Either the API's unix socket … */
  socketPath?: string;
  /** … or its address, such as https://127.0.0.1:6443, with the CA that signed it and who we are. */
  url?: string;
  ca?: string;
  cert?: string;
  key?: string;
  /** A function is asked for each request: tokens of service accounts are renewed in their file. */
  token?: string | (() => string);
  /** "wherry-agent": becomes the field manager of what is written. */
  userAgent?: string;
}

export interface HttpClient extends Client {
  /** Any request; a failure is a StatusError. For discovery, and for what has no verb of its own. */
  raw(method: string, path: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal): Promise<{ status: number; text: string }>;
  close(): void;
}

const patchTypes: Record<PatchType, string> = { json: "application/json-patch+json", merge: "application/merge-patch+json", strategic: "application/strategic-merge-patch+json", apply: "application/apply-patch+yaml" };

export function createHttpClient(options: HttpClientOptions): HttpClient {
  return new SocketClient(options);
}

class SocketClient implements HttpClient {
  readonly #options: HttpClientOptions;
  readonly #agent: Agent | undefined;
  #secure: Promise<{ agent: Agent; request: typeof httpRequest }> | undefined;

  constructor(options: HttpClientOptions) {
    this.#options = options;
    if (options.socketPath !== undefined) this.#agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, timeout: 0 });
  }

  get<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, options: { subresource?: string; signal?: AbortSignal } = {}): Promise<T> {
    return this.#json<T>("GET", pathOf(resource, namespace, name, options.subresource), undefined, {}, options.signal);
  }

  async list<T>(resource: GroupVersionResource, options: ListOptions = {}): Promise<KubeList<T>> {
    const { namespace, signal, ...query } = options;
    const list = await this.#json<KubeList<T>>("GET", pathOf(resource, namespace) + queryOf(query), undefined, {}, signal);
    // Items of built-in kinds come without the two, which everybody who gets one alone wants.
    const { apiVersion, kind } = list;
    for (const [index, item] of list.items.entries()) list.items[index] = { apiVersion, kind: kind.replace(/List$/, ""), ...item };
    return list;
  }

  async *watch<T>(resource: GroupVersionResource, options: WatchOptions = {}): AsyncGenerator<WatchEvent<T>> {
    const { namespace, signal, ...query } = options;
    const response = await this.#send("GET", pathOf(resource, namespace) + queryOf({ ...query, watch: true }), undefined, {}, signal);
    if (response.statusCode !== 200) throw failureOf(response.statusCode!, await textOf(response));
    let pending = "";
    response.setEncoding("utf8");
    try {
      for await (const chunk of response as AsyncIterable<string>) {
        pending += chunk;
        for (let end = pending.indexOf("\n"); end >= 0; end = pending.indexOf("\n")) {
          const event = JSON.parse(pending.slice(0, end)) as WatchEvent<T>;
          pending = pending.slice(end + 1);
          if (event.type === "ERROR") throw StatusError.from(event.object as unknown as Status);
          yield event;
        }
      }
    } finally {
      response.destroy();
    }
  }

  create<T>(resource: GroupVersionResource, namespace: string | undefined, object: object, options: WriteOptions & { name?: string } = {}): Promise<T> {
    return this.#json<T>("POST", pathOf(resource, namespace, options.name, options.subresource) + writeQuery(options), object, {}, options.signal);
  }

  update<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, object: object, options: WriteOptions = {}): Promise<T> {
    return this.#json<T>("PUT", pathOf(resource, namespace, name, options.subresource) + writeQuery(options), object, {}, options.signal);
  }

  patch<T>(resource: GroupVersionResource, namespace: string | undefined, name: string, patch: unknown, options: WriteOptions & { type?: PatchType } = {}): Promise<T> {
    return this.#json<T>("PATCH", pathOf(resource, namespace, name, options.subresource) + writeQuery(options), patch, { "content-type": patchTypes[options.type ?? "merge"] }, options.signal);
  }

  delete<T = KubeObject>(resource: GroupVersionResource, namespace: string | undefined, name: string, options: DeleteOptions = {}): Promise<T> {
    const { signal, dryRun, ...body } = options;
    return this.#json<T>("DELETE", pathOf(resource, namespace, name), { kind: "DeleteOptions", apiVersion: "v1", ...body, ...(dryRun && { dryRun: ["All"] }) }, {}, signal);
  }

  async raw(method: string, path: string, body?: unknown, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<{ status: number; text: string }> {
    const response = await this.#send(method, path, body, headers, signal);
    const text = await textOf(response);
    if (response.statusCode! >= 400) throw failureOf(response.statusCode!, text);
    return { status: response.statusCode!, text };
  }

  close(): void {
    this.#agent?.destroy();
    void this.#secure?.then(({ agent }) => agent.destroy());
  }

  async #json<T>(method: string, path: string, body: unknown, headers: Record<string, string>, signal: AbortSignal | undefined): Promise<T> {
    return JSON.parse((await this.raw(method, path, body, headers, signal)).text) as T;
  }

  async #send(method: string, path: string, body: unknown, extra: Record<string, string>, signal: AbortSignal | undefined): Promise<IncomingMessage> {
    const { userAgent, token } = this.#options;
    const payload = body === undefined ? undefined : Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
    const headers: Record<string, string | number> = {
      accept: "application/json",
      ...(userAgent && { "user-agent": userAgent }),
      ...(token && { authorization: `Bearer ${typeof token === "function" ? token() : token}` }),
      ...(payload && { "content-type": "application/json", "content-length": payload.length }),
      ...extra,
    };
    const { request, target } = await this.#transport();
    return new Promise((resolve, reject) => {
      const call = request({ ...target, method, path, headers, ...(signal && { signal }) }, resolve);
      call.on("error", reject);
      call.end(payload);
    });
  }

  async #transport(): Promise<{ request: typeof httpRequest; target: RequestOptions }> {
    const { socketPath, url, ca, cert, key } = this.#options;
    if (socketPath !== undefined) return { request: httpRequest, target: { socketPath, agent: this.#agent! } };
    const { hostname, port } = new URL(url!);
    this.#secure ??= import("node:https").then((https) => ({ agent: new https.Agent({ keepAlive: true, ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) }), request: https.request as typeof httpRequest }));
    const { agent, request } = await this.#secure;
    return { request, target: { host: hostname, port, agent } };
  }
}

function pathOf({ group, version, resource }: GroupVersionResource, namespace: string | undefined, name?: string, subresource?: string): string {
  let path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  if (namespace !== undefined) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${resource}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

function queryOf(query: Record<string, unknown>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
  const text = parameters.toString();
  return text === "" ? "" : `?${text}`;
}

const writeQuery = ({ fieldManager, fieldValidation, dryRun, force }: WriteOptions): string => queryOf({ fieldManager, fieldValidation, force, ...(dryRun && { dryRun: "All" }) });

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function failureOf(code: number, text: string): StatusError {
  try {
    const status = JSON.parse(text) as Partial<Status>;
    if (status.kind === "Status") return StatusError.from({ ...status, code });
  } catch {
    // no Status: a proxy or a plain text answer
  }
  return new StatusError(code, "Unknown", text.trim() || `the server answered with status ${code}`);
}
