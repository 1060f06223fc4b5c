import { posix } from "node:path";
import type { Duplex } from "node:stream";
import type { Agent } from "node:https";
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import { type DialDependencies, dialHost, dialService, type ServiceReference } from "./service-target.ts";

/** Where a webhook is, as configurations of every kind say it. */
export interface WebhookClientConfig {
  /** Called from this process. */
  url?: string;
  /** Called in the pod network. */
  service?: ServiceReference & { path?: string };
  /** Base64 of PEM: the only authorities that are believed. Absent: those of the machine. */
  caBundle?: string;
}

export interface WebhookCallOptions {
  /** For the whole call: finding, connecting and the answer. */
  timeoutSeconds: number;
  signal?: AbortSignal;
  /** For the log: "admission webhook x". */
  purpose: string;
}

/**
 * POSTs `body` as JSON and gives the decoded answer. Rejects with a {@link WebhookCallError}, whose message is
 * `Post "https://…?timeout=10s": why`, or with a {@link WebhookConfigError}.
 */
export type CallWebhook = (clientConfig: WebhookClientConfig, body: object, options: WebhookCallOptions) => Promise<unknown>;

/** The call was made, or tried. */
export class WebhookCallError extends Error {
  override name = "WebhookCallError";
}
/** The configuration is such that no call can be made: a certificate that is none. */
export class WebhookConfigError extends Error {
  override name = "WebhookConfigError";
}

export interface WebhookClient {
  readonly call: CallWebhook;
  /** Ends idle connections. */
  close(): void;
}

interface Target {
  connect(): Promise<Duplex>;
  /** What the server's certificate must be for; the pool's key together with port and authorities. */
  host: string;
  port: number;
  /** Path and query. */
  path: string;
  /** For messages. */
  url: string;
}

// Idle connections: as long as Go keeps them, and no more than a few webhooks need.
const idleMs = 90_000;
const idleConnectionsMax = 64;

/**
 * Calls webhooks of every kind: admission, conversion. TLS always, and the server must prove its name: that of the
 * URL, or `<service>.<namespace>.svc`. Connections are kept open between calls.
 * Source: k8s.io/apiserver/pkg/util/webhook/client.go.
 */
export function createWebhookClient(dependencies: DialDependencies & { log: Log }): WebhookClient {
  const { log } = dependencies;
  // Nobody pays for TLS towards webhooks before there is one.
  let parts: Promise<{ agent: Agent; request: typeof import("node:https").request; trust: typeof import("./tls-trust.ts") }> | undefined;

  async function load() {
    const [https, tls, trust] = await Promise.all([import("node:https"), import("node:tls"), import("./tls-trust.ts")]);
    const agent = new https.Agent({ keepAlive: true, timeout: idleMs, maxFreeSockets: idleConnectionsMax });
    agent.createConnection = (options, done) => {
      const { target, host, servername } = options as RequestOptions & { target: Target; servername: string };
      target.connect().then(
        // Not among the request's options: the pool would keep apart what is checked by a function of the caller's.
        (socket) => done!(null, tls.connect({ ...(options as object), socket, host: host!, servername, path: undefined as never, checkServerIdentity: trust.checkName })),
        (error: Error) => done!(error, undefined as never),
      );
      return undefined;
    };
    return { agent, request: https.request, trust };
  }

  function targetOf({ url, service }: WebhookClientConfig, timeoutSeconds: number): Target {
    if (service) {
      const { namespace, name, port = 443, path = "/" } = service;
      const host = `${name}.${namespace}.svc`;
      const query = `${posix.join("/", path)}?timeout=${timeoutSeconds}s`;
      return { host, port, path: query, url: `https://${host}:${port}${query}`, connect: () => dialService(dependencies, service) };
    }
    const parsed = new URL(url!);
    const host = parsed.hostname.replace(/^\[|\]$/g, "");
    const port = Number(parsed.port || 443);
    // As Go joins paths: a server that is strict about them answers "//x" with a redirection, which is not followed.
    parsed.pathname = posix.normalize(parsed.pathname);
    parsed.search = `timeout=${timeoutSeconds}s`;
    return { host, port, path: `${parsed.pathname}${parsed.search}`, url: parsed.href, connect: () => dialHost(host, port) };
  }

  const call: CallWebhook = async (clientConfig, body, { timeoutSeconds, signal, purpose }) => {
    const { agent, request, trust } = await (parts ??= load());
    const target = targetOf(clientConfig, timeoutSeconds);
    const began = performance.now();
    const failed = (why: string) => new WebhookCallError(`Post ${JSON.stringify(target.url)}: ${why}`);
    let trusted: ReturnType<typeof trust.trustOf>;
    try {
      trusted = trust.trustOf(clientConfig.caBundle);
    } catch (error) {
      throw new WebhookConfigError((error as Error).message);
    }
    const bytes = Buffer.from(JSON.stringify(body));
    const isAddress = /^[\d.]+$|:/.test(target.host);
    const options: RequestOptions = {
      agent,
      method: "POST",
      host: target.host,
      port: target.port,
      path: target.path,
      headers: { host: target.url.split("/")[2]!, "content-type": "application/json", accept: "application/json", "content-length": bytes.length, "user-agent": "kube-apiserver-admission" },
      // For createConnection, and for the pool: a connection serves those who trust the same authorities.
      ...({ target, ...trusted, servername: isAddress ? "" : target.host } as object),
    };

    return new Promise((resolve, reject) => {
      let current: ClientRequest | undefined;
      let settled = false;
      const finish = (error: Error | undefined, value?: unknown) => {
        if (settled) return;
        settled = true;
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        log.debug("webhook", { purpose, url: target.url, ms: Math.round(performance.now() - began), ...(error && { error: error.message }) });
        if (error) {
          reject(error);
          current?.destroy();
        } else resolve(value);
      };
      const timer = setTimeout(() => finish(failed("context deadline exceeded")), timeoutSeconds * 1000);
      const abort = () => finish(failed("context canceled"));
      signal?.addEventListener("abort", abort, { once: true });
      if (signal?.aborted) return abort();

      const attempt = () => {
        const outgoing = (current = request(options));
        outgoing.on("error", (error: NodeJS.ErrnoException) => {
          // The server closed an idle connection at the moment it was used again: it has not seen the request.
          if (outgoing.reusedSocket && (error.code === "ECONNRESET" || error.code === "EPIPE") && !settled) return attempt();
          finish(failed(trust.connectionText(error)));
        });
        outgoing.on("response", (response) => {
          readAnswer(response, failed).then(
            (value) => finish(undefined, value),
            (error: Error) => finish(error),
          );
        });
        outgoing.end(bytes);
      };
      attempt();
    });
  };

  return { call, close: () => void parts?.then(({ agent }) => agent.destroy()) };
}

async function readAnswer(response: IncomingMessage, failed: (why: string) => Error): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.webhookResponseBytesMax) throw failed(`the response is larger than ${limits.webhookResponseBytesMax} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw error instanceof WebhookCallError ? error : failed("unexpected EOF");
  }
  const text = Buffer.concat(chunks).toString("utf8");
  const code = response.statusCode ?? 0;
  if (code < 200 || code > 299) throw new WebhookCallError(statusText(code, text));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WebhookCallError(`couldn't get version/kind; json parse error: ${(error as Error).message}`);
  }
}

const statusTexts: Record<number, string> = {
  400: "the server rejected our request for an unknown reason",
  401: "the server has asked for the client to provide credentials",
  404: "the server could not find the requested resource",
  405: "the server does not allow this method on the requested resource",
  406: "the server was unable to respond with a content type that the client supports",
  409: "the server reported a conflict",
  415: "the server was unable to process the request because of an unsupported media type",
  422: "the server rejected our request due to an error in our request",
  429: "the server has received too many requests and has asked us to try again later",
  503: "the server is currently unable to handle the request",
  504: "the server was unable to return a response in the time allotted, but may still be processing the request",
};

/** Source: k8s.io/apimachinery/pkg/api/errors/errors.go, NewGenericServerResponse. */
function statusText(code: number, body: string): string {
  const shown = body.slice(0, 2048).trim() || "unknown";
  if (statusTexts[code]) return statusTexts[code];
  if (code === 403) return shown;
  if (code >= 500) return `an error on the server (${JSON.stringify(shown)}) has prevented the request from succeeding`;
  return `the server responded with the status code ${code} but did not return more information`;
}
