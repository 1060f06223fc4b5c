import type { FastifyInstance } from "fastify";
import { CallError } from "./call-error.ts";
import type { CallOptions, HttpClient } from "./http-client.ts";
import type { ServiceLog } from "./log.ts";

/**
 * JSON-RPC 2.0, both sides: calls, notifications and batches, over HTTP POST or anything else that carries text.
 * Source: https://www.jsonrpc.org/specification
 *
 *   serveJsonRpc(service.app, "/rpc", { subtract: ([a, b]: [number, number]) => a - b });
 *   const rpc = createJsonRpcClient(createHttpClient({ url: "http://calculator" }), "/rpc");
 *   await rpc.call<number>("subtract", [42, 23]);
 */
export type JsonRpcId = string | number | null;
export interface JsonRpcResponse {
  jsonrpc: "2.0";
  id: JsonRpcId;
  result?: unknown;
  error?: { code: number; message: string; data?: unknown };
}

/** Thrown by a method, it is the answer; thrown by a client, it was the answer. */
export class JsonRpcError extends Error {
  readonly code: number;
  readonly data: unknown;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.name = "JsonRpcError";
    this.code = code;
    this.data = data;
  }
}

/** The codes and words of §5.1. */
export const jsonRpcErrors = {
  parse: () => new JsonRpcError(-32700, "Parse error"),
  invalidRequest: (data?: unknown) => new JsonRpcError(-32600, "Invalid Request", data),
  methodNotFound: () => new JsonRpcError(-32601, "Method not found"),
  /** For methods to throw; `data` says what is wrong. */
  invalidParams: (data?: unknown) => new JsonRpcError(-32602, "Invalid params", data),
  internal: () => new JsonRpcError(-32603, "Internal error"),
};

/** `params` as they came: a list, an object, or undefined. */
// oxlint-disable-next-line typescript/no-explicit-any
export type JsonRpcMethod = (params: any) => unknown;

export interface JsonRpcServerOptions {
  log?: Pick<ServiceLog, "error">;
  /** Calls in one batch; 100 unless said. */
  batchMax?: number;
}

/** Answers one message: the text to send, or undefined where nothing is to be sent. Never rejects. */
export function createJsonRpcServer(methods: Readonly<Record<string, JsonRpcMethod>>, { log, batchMax = 100 }: JsonRpcServerOptions = {}): (message: string) => Promise<string | undefined> {
  const byName = new Map(Object.entries(methods));
  const one = async (request: unknown): Promise<JsonRpcResponse | undefined> => {
    if (!isRequest(request)) return failed(idOf(request), jsonRpcErrors.invalidRequest());
    const { id, method, params } = request;
    const run = byName.get(method);
    try {
      if (!run) throw jsonRpcErrors.methodNotFound();
      const result: unknown = await run(params);
      // A notification is answered by nothing, also when it failed.
      return id === undefined ? undefined : { jsonrpc: "2.0", id, result: result ?? null };
    } catch (error) {
      const told = error instanceof JsonRpcError ? error : jsonRpcErrors.internal();
      if (told !== error) log?.error({ err: error, rpc_method: method }, "a method failed");
      return id === undefined ? undefined : failed(id, told);
    }
  };
  return async (message) => {
    let body: unknown;
    try {
      body = JSON.parse(message);
    } catch {
      return JSON.stringify(failed(null, jsonRpcErrors.parse()));
    }
    if (!Array.isArray(body)) {
      const answer = await one(body);
      return answer && JSON.stringify(answer);
    }
    if (body.length === 0) return JSON.stringify(failed(null, jsonRpcErrors.invalidRequest()));
    if (body.length > batchMax) return JSON.stringify(failed(null, jsonRpcErrors.invalidRequest(`${body.length} calls, more than ${batchMax}`)));
    const answers = (await Promise.all(body.map(one))).filter((answer) => answer !== undefined);
    return answers.length === 0 ? undefined : JSON.stringify(answers);
  };
}

/** Mounts the methods at `path`; 204 where there is nothing to say. */
export function serveJsonRpc(app: FastifyInstance, path: string, methods: Readonly<Record<string, JsonRpcMethod>>, options: JsonRpcServerOptions = {}): void {
  const answer = createJsonRpcServer(methods, { log: app.log as Pick<ServiceLog, "error">, ...options });
  // In a context of its own: what cannot be parsed is answered by JSON-RPC and not by Fastify.
  app.register(async (scope) => {
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
    scope.post(path, async (request, reply) => {
      const text = await answer((request.body as string | undefined) ?? "");
      return text === undefined ? reply.code(204).send() : reply.type("application/json").send(text);
    });
  });
}

interface Request {
  id?: JsonRpcId;
  method: string;
  params?: unknown;
}
function isRequest(value: unknown): value is Request {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const { jsonrpc, id, method, params } = value as Record<string, unknown>;
  const isId = id === undefined || id === null || typeof id === "string" || typeof id === "number";
  return jsonrpc === "2.0" && typeof method === "string" && isId && (params === undefined || (typeof params === "object" && params !== null));
}
/** "If there was an error in detecting the id in the Request object (e.g. Parse error/Invalid Request), it MUST be Null." */
function idOf(value: unknown): JsonRpcId {
  const id = typeof value === "object" && value !== null ? (value as { id?: unknown }).id : undefined;
  return typeof id === "string" || typeof id === "number" ? id : null;
}
function failed(id: JsonRpcId, { code, message, data }: JsonRpcError): JsonRpcResponse {
  return { jsonrpc: "2.0", error: { code, message, ...(data !== undefined && { data }) }, id };
}

export interface JsonRpcCall {
  method: string;
  params?: object | undefined;
  /** No answer is wanted. */
  isNotification?: boolean;
}

/** Calls are POSTs, and tried again only with an `idempotencyKey`, or where nothing was sent. */
export interface JsonRpcClient {
  /** Rejects with a JsonRpcError that the method answered, or a CallError when there was no answer. */
  call<T = unknown>(method: string, params?: object, options?: Omit<CallOptions, "body">): Promise<T>;
  /** Resolves when it was taken. */
  notify(method: string, params?: object, options?: Omit<CallOptions, "body">): Promise<void>;
  /** Results in the order of the calls; a JsonRpcError stands where one failed, undefined for a notification. */
  batch(calls: readonly JsonRpcCall[], options?: Omit<CallOptions, "body">): Promise<(unknown | JsonRpcError)[]>;
}

export function createJsonRpcClient(http: HttpClient, path = "/"): JsonRpcClient {
  let last = 0;
  const message = ({ method, params, isNotification }: JsonRpcCall) => ({ jsonrpc: "2.0", method, ...(params !== undefined && { params }), ...(!isNotification && { id: ++last }) });
  const send = async (body: unknown, options: Omit<CallOptions, "body"> = {}): Promise<unknown> => {
    const answer = await http.request("POST", path, { ...options, body, headers: { accept: "application/json", ...options.headers } });
    // Some servers answer errors with a status of their own: what is JSON-RPC in it is told as that.
    if (answer.status === 204 || answer.body.length === 0) return undefined;
    const parsed = answer.json();
    if ((answer.status < 200 || answer.status > 299) && !isResponse(Array.isArray(parsed) ? parsed[0] : parsed)) throw new CallError("status", `${http.name}: POST ${path} answers ${answer.status}`, { status: answer.status, body: parsed, tries: answer.tries });
    return parsed;
  };
  const valueOf = (response: JsonRpcResponse): unknown => (response.error ? new JsonRpcError(response.error.code, response.error.message, response.error.data) : response.result);
  return {
    async call<T>(method: string, params?: object, options?: Omit<CallOptions, "body">) {
      const request = message({ method, params });
      const response = await send(request, options);
      if (!isResponse(response) || (response.id !== request.id && response.id !== null)) throw new CallError("invalid", `${http.name}: the answer is no JSON-RPC answer to this call`, { body: response });
      const value = valueOf(response);
      if (value instanceof JsonRpcError) throw value;
      return value as T;
    },
    async notify(method, params, options) {
      await send(message({ method, params, isNotification: true }), options);
    },
    async batch(calls, options) {
      // An empty batch is an error by the specification.
      if (calls.length === 0) return [];
      const requests = calls.map(message);
      const response = await send(requests, options);
      if (isResponse(response) && response.error) throw valueOf(response) as JsonRpcError;
      // Servers answer in any order.
      const byId = new Map((Array.isArray(response) ? response.filter(isResponse) : []).map((one) => [one.id, one]));
      return requests.map(({ id }) => {
        if (id === undefined) return undefined;
        const one = byId.get(id);
        if (!one) throw new CallError("invalid", `${http.name}: call ${id} of the batch was not answered`, { body: response });
        return valueOf(one);
      });
    },
  };
}

function isResponse(value: unknown): value is JsonRpcResponse {
  return typeof value === "object" && value !== null && (value as JsonRpcResponse).jsonrpc === "2.0" && ("result" in value || "error" in value);
}
