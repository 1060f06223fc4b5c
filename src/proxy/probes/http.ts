import { isIPv4 } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { ProbeRequest, ProbeResult } from "../../api/network.ts";
import { endOfFile, lastReadResult, WriteWrap, type TcpHandle } from "../../base/handles.ts";
import { dial, dialErrorText, timedOut } from "../dial.ts";
import { HttpResponse } from "./http-response.ts";

type HttpProbe = Extract<ProbeRequest, { type: "http" }>;

const redirectsMax = 10;
const errorNumbers: Record<string, number> = { ECONNREFUSED: -111, EHOSTUNREACH: -113, ENETUNREACH: -101, ECONNRESET: -104, ETIMEDOUT: -110, EACCES: -13, EPERM: -1 };

interface Target {
  scheme: "http" | "https";
  /** As written in the URL: what redirects are compared with. */
  host: string;
  port: number;
  path: string;
}

/**
 * An HTTP probe as kubelet makes it: one connection a request, 200–399 is success, redirects to the same host are
 * followed, one to another host counts as success, certificates are not verified. Never rejects.
 * Source: k8s.io/kubernetes/pkg/probe/http.
 */
export async function probeHttp(request: HttpProbe): Promise<ProbeResult> {
  const deadlineMs = performance.now() + request.timeoutMs;
  const host = request.host ?? request.ip;
  let target: Target = { scheme: request.scheme === "HTTPS" ? "https" : "http", host, port: request.port, path: request.path.startsWith("/") ? request.path : `/${request.path}` };
  const first = target;
  for (let redirects = 0; ; redirects++) {
    let response: HttpResponse;
    try {
      response = await exchange(request, target, deadlineMs);
    } catch (error) {
      return { success: false, output: `Get ${JSON.stringify(urlOf(redirects === 0 ? first : target))}: ${(error as Error).message}` };
    }
    const location = response.headers.get("location");
    if ([301, 302, 303, 307, 308].includes(response.status) && location !== undefined) {
      const next = resolveRedirect(target, location);
      if (!next) return { success: false, output: `Get ${JSON.stringify(urlOf(first))}: failed to parse Location header ${JSON.stringify(location)}` };
      if (next.host === first.host) {
        if (redirects + 1 >= redirectsMax) return { success: false, output: `Get ${JSON.stringify(urlOf(next))}: stopped after ${redirectsMax} redirects` };
        target = next;
        continue;
      }
    }
    if (response.status < 200 || response.status >= 400) return { success: false, output: `HTTP probe failed with statuscode: ${response.status}` };
    return { success: true, output: response.status >= 300 ? `Probe terminated redirects, Response body: ${response.body}` : response.body };
  }
}

const isDefaultPort = ({ scheme, port }: Target): boolean => port === (scheme === "https" ? 443 : 80);
// Go prints the port kubelet gave it, default or not, so its users' messages always have one.
const urlOf = ({ scheme, host, port, path }: Target): string => `${scheme}://${host}:${port}${path}`;

function resolveRedirect(from: Target, location: string): Target | undefined {
  const url = URL.parse(location, urlOf(from));
  if (!url || !/^https?:$/.test(url.protocol)) return undefined;
  const scheme = url.protocol === "https:" ? "https" : "http";
  return { scheme, host: url.hostname, port: url.port === "" ? (scheme === "https" ? 443 : 80) : Number(url.port), path: url.pathname + url.search };
}

function requestText(request: HttpProbe, target: Target): string {
  const lines = [`GET ${target.path} HTTP/1.1`];
  const given = new Set(request.headers.map(({ name }) => name.toLowerCase()));
  if (!given.has("host")) lines.push(`Host: ${target.host}${isDefaultPort(target) ? "" : `:${target.port}`}`);
  // An empty value switches the header off, as kubelet has it.
  if (!given.has("user-agent")) lines.push("User-Agent: kube-probe/1.35");
  if (!given.has("accept")) lines.push("Accept: */*");
  for (const { name, value } of request.headers) {
    if (value === "" && /^(user-agent|accept)$/i.test(name)) continue;
    lines.push(`${name}: ${value}`);
  }
  lines.push("Connection: close", "", "");
  return lines.join("\r\n");
}

function exchange(request: HttpProbe, target: Target, deadlineMs: number): Promise<HttpResponse> {
  return target.scheme === "https" ? exchangeTls(request, target, deadlineMs) : exchangePlain(request, target, deadlineMs);
}

/** Every probe's bytes pass through here: they are taken up before the next read of any of them. */
const scratch = Buffer.allocUnsafeSlow(16 * 1024);

/** On a raw handle: a probe a second for each pod is most of what an idle stack does. */
function exchangePlain(request: HttpProbe, target: Target, deadlineMs: number): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const response = new HttpResponse();
    const fail = (status: number) => reject(status === timedOut ? deadlineError(response) : new Error(dialErrorText(request.ip, target.port, status)));
    const serve = (handle: TcpHandle) => {
      let open = true;
      const settle = (error?: Error) => {
        if (!open) return;
        open = false;
        clearTimeout(timer);
        handle.close();
        if (error) reject(error);
        else resolve(response);
      };
      const timer = setTimeout(() => settle(deadlineError(response)), Math.max(0, deadlineMs - performance.now()));
      handle.useUserBuffer(scratch);
      handle.onread = () => {
        if (!open) return undefined;
        const bytes = lastReadResult();
        if (bytes > 0) {
          response.push(scratch.toString("latin1", 0, bytes));
          if (response.malformed !== undefined) settle(new Error(response.malformed));
          else if (response.done) settle();
        } else if (bytes === endOfFile) settle(endOf(response));
        else if (bytes < 0) settle(new Error(resetText));
        return undefined;
      };
      const write = new WriteWrap();
      write.handle = handle;
      write.oncomplete = () => {};
      if (handle.readStart() !== 0 || handle.writeLatin1String(write, requestText(request, target)) !== 0) settle(new Error(resetText));
    };
    dial(request.ip, target.port, Math.max(1, deadlineMs - performance.now()), (status, handle) => (handle ? serve(handle) : fail(status)));
  });
}

function exchangeTls(request: HttpProbe, target: Target, deadlineMs: number): Promise<HttpResponse> {
  return new Promise((resolve, reject) => {
    const response = new HttpResponse();
    const socket = connectTls({ host: request.ip, port: target.port, rejectUnauthorized: false, minVersion: "TLSv1", ...(isIPv4(target.host) ? {} : { servername: target.host }) } as ConnectionOptions);
    const settle = (error?: Error) => {
      clearTimeout(timer);
      socket.destroy();
      if (error) reject(error);
      else resolve(response);
    };
    const timer = setTimeout(() => settle(deadlineError(response)), Math.max(0, deadlineMs - performance.now()));
    socket.on("error", (error: NodeJS.ErrnoException) => settle(new Error(errorTextOf(error, request.ip, target.port))));
    socket.on("data", (bytes: Buffer) => {
      response.push(bytes.toString("latin1"));
      if (response.malformed !== undefined) settle(new Error(response.malformed));
      else if (response.done) settle();
    });
    socket.on("end", () => settle(endOf(response)));
    socket.write(requestText(request, target), "latin1");
  });
}

const resetText = "read: connection reset by peer";

function deadlineError(response: HttpResponse): Error {
  return new Error(`context deadline exceeded (${response.status === 0 ? "Client.Timeout exceeded while awaiting headers" : "Client.Timeout or context cancellation while reading body"})`);
}

/** The connection ended: what is missing, if anything is. */
function endOf(response: HttpResponse): Error | undefined {
  response.end();
  return response.done ? undefined : new Error(response.malformed ?? (response.status === 0 ? "EOF" : "unexpected EOF"));
}

/** Node's error in the words of Go's net package. */
export function errorTextOf(error: NodeJS.ErrnoException, ip: string, port: number): string {
  if (error.syscall === "connect" && error.code !== undefined) return dialErrorText(ip, port, errorNumbers[error.code] ?? -1);
  if (error.code === "ECONNRESET" || error.code === "EPIPE") return resetText;
  if (error.code?.startsWith("ERR_SSL_WRONG_VERSION") || error.code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") return "http: server gave HTTP response to HTTPS client";
  return error.message;
}
