import { request } from "node:http";
import type { KubeObject, ObjectRef, StackClient } from "./types.ts";

/** A failure in the API's own words. */
export class ApiError extends Error {
  /** The HTTP status. */
  readonly code: number;
  /** "NotFound", "Invalid", … */
  readonly reason: string;
  /** The Status object, where the answer was one. */
  readonly status: KubeObject | undefined;

  constructor(code: number, text: string) {
    let status: KubeObject | undefined;
    try {
      status = JSON.parse(text) as KubeObject;
    } catch {}
    super((status?.["message"] as string | undefined) ?? (text.slice(0, 500) || `HTTP ${code}`));
    this.name = "ApiError";
    this.code = code;
    this.reason = (status?.["reason"] as string | undefined) ?? "";
    this.status = status;
  }
}

interface Resource {
  path: string;
  namespaced: boolean;
}

/** Over the stack's own socket: whoever may open it is the administrator. Written for any Node from 18 on. */
export class SocketClient implements StackClient {
  readonly #socketPath: string;
  readonly #known = new Map<string, Resource>();

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<any> {
    const payload = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const call = request(
        // A connection each: none that the server closed meanwhile is met again.
        { socketPath: this.#socketPath, method, path, agent: false, headers: { accept: "application/json", "user-agent": "wherry-testing", ...(payload !== undefined && { "content-type": "application/json" }), ...headers } },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => (text += chunk));
          response.on("error", reject);
          response.on("end", () => {
            if (response.statusCode! >= 400) return reject(new ApiError(response.statusCode!, text));
            resolve(/json/.test(response.headers["content-type"] ?? "") ? JSON.parse(text) : text);
          });
        },
      );
      call.on("error", reject);
      call.end(payload);
    });
  }

  async get(ref: ObjectRef): Promise<KubeObject> {
    return this.request("GET", await this.#pathOf(ref, true));
  }
  async list(ref: ObjectRef, { labelSelector, fieldSelector, allNamespaces = false }: { labelSelector?: string; fieldSelector?: string; allNamespaces?: boolean } = {}): Promise<KubeObject[]> {
    const query = new URLSearchParams({ ...(labelSelector !== undefined && { labelSelector }), ...(fieldSelector !== undefined && { fieldSelector }) });
    const { items, kind, apiVersion } = await this.request("GET", `${await this.#pathOf(ref, false, allNamespaces)}?${query}`);
    return (items as KubeObject[]).map((item) => ({ apiVersion, kind: String(kind).replace(/List$/, ""), ...item }));
  }
  async create(object: KubeObject): Promise<KubeObject> {
    return this.request("POST", `${await this.#pathOf(object, false)}?fieldValidation=Strict`, object);
  }
  async apply(object: KubeObject): Promise<KubeObject> {
    return this.request("PATCH", `${await this.#pathOf(object, true)}?fieldManager=wherry-testing&force=true&fieldValidation=Strict`, object, { "content-type": "application/apply-patch+yaml" });
  }
  async patch(object: KubeObject): Promise<KubeObject> {
    return this.request("PATCH", `${await this.#pathOf(object, true)}?fieldValidation=Strict`, object, { "content-type": "application/merge-patch+json" });
  }
  async delete(ref: ObjectRef): Promise<void> {
    await this.request("DELETE", await this.#pathOf(ref, true));
  }

  async #pathOf(ref: ObjectRef, withName: boolean, allNamespaces = false): Promise<string> {
    const { namespace, name } = ref.metadata ?? {};
    if (withName && !name) throw new TypeError(`metadata.name is missing in ${JSON.stringify(ref)}`);
    const { path, namespaced } = await this.#resourceOf(ref);
    const [base, resource] = [path.slice(0, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/") + 1)];
    return `${base}${namespaced && !allNamespaces ? `/namespaces/${namespace ?? "default"}` : ""}/${resource}${withName ? `/${name}` : ""}`;
  }

  async #resourceOf({ apiVersion, kind }: ObjectRef): Promise<Resource> {
    if (!apiVersion || !kind) throw new TypeError(`an object needs apiVersion and kind, and has ${JSON.stringify({ apiVersion, kind })}`);
    const key = `${apiVersion}/${kind}`;
    const known = this.#known.get(key);
    if (known) return known;
    const base = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    const list = await this.request("GET", base).catch((error: unknown) => {
      if (error instanceof ApiError && error.code === 404) return { resources: [] };
      throw error;
    });
    const found = (list.resources as { name: string; kind: string; namespaced: boolean }[]).find((resource) => resource.kind === kind && !resource.name.includes("/"));
    // As kubectl says it. Not remembered: its definition may come in a moment.
    if (!found) throw new ApiError(404, JSON.stringify({ message: `no matches for kind ${JSON.stringify(kind)} in version ${JSON.stringify(apiVersion)}`, reason: "NotFound" }));
    const resource = { path: `${base}/${found.name}`, namespaced: found.namespaced };
    this.#known.set(key, resource);
    return resource;
  }
}
