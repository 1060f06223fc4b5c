import { Agent, request } from "node:http";
import { httpError } from "./service.ts";

const agent = new Agent({ keepAlive: true, maxSockets: 32 });
const timeoutMs = 3_000;

/**
 * Asks another service for JSON. Throws with status 503 when it cannot be reached or does not answer in time;
 * any answer below 500 is given back for the caller to judge. (node:http, because fetch costs 10 MB of the 128.)
 */
export function callJson<T>(method: "GET" | "POST", url: string, body?: unknown): Promise<{ status: number; body: T }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const attempt = (again: boolean): Promise<{ status: number; body: T }> =>
    new Promise((resolve, reject) => {
      const outgoing = request(url, { method, agent: again && agent, timeout: timeoutMs, headers: { accept: "application/json", ...(payload && { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }) } }, async (response) => {
        try {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          const status = response.statusCode!;
          if (status >= 500) throw httpError(503, `${url} answers ${status}`);
          resolve({ status, body: JSON.parse(Buffer.concat(chunks).toString()) as T });
        } catch (error) {
          reject(error as Error);
        }
      });
      outgoing.on("timeout", () => outgoing.destroy(new Error(`no answer within ${timeoutMs} ms`)));
      outgoing.on("error", (error) => {
        // A kept connection may be closed by the other side just as we use it; the next one that was kept, too.
        if (again && method === "GET" && outgoing.reusedSocket && (error as NodeJS.ErrnoException).code === "ECONNRESET") resolve(attempt(false));
        else reject(httpError(503, `${url} cannot be reached: ${error.message}`));
      });
      outgoing.end(payload);
    });
  return attempt(true);
}

/** Where a service is: by its name in the cluster, or where <NAME>_URL says (USER_SERVICE_URL). */
export function serviceUrl(name: string): string {
  return (process.env[`${name.toUpperCase().replaceAll("-", "_")}_URL`] ?? `http://${name}`).replace(/\/$/, "");
}
