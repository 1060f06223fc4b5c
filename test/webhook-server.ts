import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openPki } from "../src/apiserver/pki.ts";

/** What an admission webhook is asked, as far as tests look at it. */
export interface ReviewRequest {
  uid: string;
  kind: { group: string; version: string; kind: string };
  resource: { group: string; version: string; resource: string };
  subResource?: string;
  requestKind: { group: string; version: string; kind: string };
  name?: string;
  namespace?: string;
  operation: string;
  userInfo: { username: string; groups: string[]; extra: Record<string, [string]> };
  object: any;
  oldObject: any;
  dryRun: boolean;
  options: any;
}

export interface ReviewAnswer {
  allowed?: boolean;
  status?: object;
  warnings?: string[];
  auditAnnotations?: Record<string, string>;
  /** Operations of a JSON patch. */
  patch?: object[];
  /** In place of all that. */
  raw?: object;
}

/** A real TLS server on loopback that answers AdmissionReviews by path, and remembers what it was asked. */
export interface WebhookServer extends AsyncDisposable {
  readonly url: string;
  readonly caBundle: string;
  readonly asked: { path: string; apiVersion: string; request: ReviewRequest }[];
  on(path: string, answer: (request: ReviewRequest) => ReviewAnswer | Promise<ReviewAnswer>): void;
}

export async function startWebhookServer(): Promise<WebhookServer> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-webhook-"));
  const pki = await openPki(folder);
  const answers = new Map<string, (request: ReviewRequest) => ReviewAnswer | Promise<ReviewAnswer>>();
  const asked: WebhookServer["asked"] = [];
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    for await (const chunk of request as AsyncIterable<Buffer>) body += chunk.toString();
    const review = JSON.parse(body) as { apiVersion: string; kind: string; request: ReviewRequest };
    const path = request.url!.split("?")[0]!;
    asked.push({ path, apiVersion: review.apiVersion, request: review.request });
    const answer = answers.get(path);
    if (!answer) return void response.writeHead(404).end();
    const { patch, raw, allowed = true, ...rest } = await answer(review.request);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(raw ?? { apiVersion: review.apiVersion, kind: review.kind, response: { uid: review.request.uid, allowed, ...rest, ...(patch && { patchType: "JSONPatch", patch: Buffer.from(JSON.stringify(patch)).toString("base64") }) } }));
  };
  const server = createServer(pki.server, (request, response) => void serve(request, response).catch((error: Error) => response.writeHead(500).end(error.message)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    caBundle: Buffer.from(pki.ca).toString("base64"),
    asked,
    on: (path, answer) => void answers.set(path, answer),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
