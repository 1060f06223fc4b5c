import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Kind } from "../../src/api/kind.ts";
import { createBuiltinRegistry } from "../../src/api/registry.ts";
import { kubernetesVersion } from "../../src/api/resources.ts";
import { createOpenApi, type OpenApiDocument, openApiV2ProtobufTypes } from "../../src/apiserver/openapi/openapi.ts";

/**
 * Just enough of an API server to show kubectl our documents and to catch what it sends: legacy discovery,
 * OpenAPI, no objects, and every POST answered with the object that `decode` makes of it.
 */
export interface DocumentsServer extends AsyncDisposable {
  readonly requests: { method: string; path: string; contentType: string; body: Buffer }[];
  kubectl(program: string, ...args: string[]): Promise<{ stdout: string; stderr: string; code: number }>;
}

export async function startDocumentsServer(decode: (body: Buffer) => unknown, custom: readonly Kind[] = []): Promise<DocumentsServer> {
  const registry = createBuiltinRegistry([]);
  for (const kind of custom) registry.add(kind);
  const openApi = createOpenApi(registry);
  const requests: DocumentsServer["requests"] = [];
  const groupVersions = new Map<string, Kind[]>();
  for (const kind of registry.all()) {
    const key = kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
    groupVersions.set(key, [...(groupVersions.get(key) ?? []), kind]);
  }

  const answer = (request: IncomingMessage, response: ServerResponse, body: Buffer): void => {
    const path = new URL(request.url!, "http://localhost").pathname;
    const json = (value: unknown, code = 200): void => {
      response.writeHead(code, { "content-type": "application/json" }).end(JSON.stringify(value));
    };
    const send = (document: OpenApiDocument | undefined): void => {
      if (!document) json({}, 404);
      else response.writeHead(200, { "content-type": document.contentType, etag: document.etag }).end(document.body);
    };
    requests.push({ method: request.method!, path, contentType: request.headers["content-type"] ?? "", body });
    if (request.method === "POST") return json(decode(body), 201);
    if (path === "/version") return json({ major: "1", minor: "35", gitVersion: kubernetesVersion });
    if (path === "/api") return json({ kind: "APIVersions", versions: ["v1"] });
    if (path === "/apis") {
      const names = new Set(registry.all().map(({ group }) => group));
      names.delete("");
      const groups = [...names].map((name) => {
        const versions = [...groupVersions.keys()].filter((key) => key.startsWith(`${name}/`)).map((groupVersion) => ({ groupVersion, version: groupVersion.split("/")[1] }));
        return { name, versions, preferredVersion: versions[0] };
      });
      return json({ kind: "APIGroupList", apiVersion: "v1", groups });
    }
    if (path === "/openapi/v3") return send(openApi.index());
    if (path === "/openapi/v2") return send(openApiV2ProtobufTypes.some((type) => request.headers.accept?.includes(type)) ? openApi.v2Protobuf() : openApi.v2());
    if (path.startsWith("/openapi/v3/")) return send(openApi.document(path.slice("/openapi/v3/".length)));
    const groupVersion = path.replace(/^\/apis?\//, "");
    const kinds = groupVersions.get(groupVersion);
    if (kinds) {
      const resources = kinds.map(({ resource, singular, kind, scope, verbs, shortNames, categories }) => ({ name: resource, singularName: singular, namespaced: scope === "Namespaced", kind, verbs, shortNames, categories }));
      return json({ kind: "APIResourceList", apiVersion: "v1", groupVersion, resources });
    }
    json({ kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason: "NotFound", message: "not found", code: 404 }, 404);
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => answer(request, response, Buffer.concat(chunks)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const home = mkdtempSync(join(tmpdir(), "wherry-documents-"));
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    requests,
    kubectl: (program, ...args) =>
      new Promise((resolve) => {
        execFile(program, ["--server", address, ...args], { env: { HOME: home, PATH: process.env.PATH ?? "" }, timeout: 30_000 }, (error, stdout, stderr) => {
          resolve({ stdout, stderr, code: error ? Number(error.code ?? 1) : 0 });
        });
      }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(home, { recursive: true, force: true });
    },
  };
}
