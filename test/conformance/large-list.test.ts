import assert from "node:assert/strict";
import { connect } from "node:http2";
import { request } from "node:https";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { resources } from "../../src/api/resources.ts";
import { startApi } from "../harness-api.ts";

const count = 1500;
const path = "/api/v1/namespaces/default/configmaps";

test("a list of megabytes comes in pieces, packed or not, by both versions of HTTP; who leaves early harms nobody", { timeout: 30_000 }, async () => {
  await using server = await startApi();
  const data = { text: "x".repeat(1000), unicode: "Größe 🛶" };
  await Promise.all(Array.from({ length: count }, (_, index) => server.client.create(resources.configMaps, "default", { metadata: { name: `m-${String(index).padStart(4, "0")}` }, data })));
  const { ca, admin } = server.pki;
  const session = connect(server.url, { ca, ...admin });
  const overTwo = (gzip: boolean, bytesMax = Infinity) =>
    new Promise<{ headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
      const call = session.request({ ":path": path, ...(gzip && { "accept-encoding": "gzip" }) });
      let headers = {};
      const chunks: Buffer[] = [];
      let bytes = 0;
      call.on("response", (received) => (headers = received));
      call.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        if ((bytes += chunk.length) > bytesMax) call.close();
      });
      call.on("close", () => resolve({ headers, body: Buffer.concat(chunks) }));
      call.on("error", reject);
    });
  const overOne = (gzip: boolean) =>
    new Promise<{ headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
      request(`${server.url}${path}`, { ca, ...admin, agent: false, headers: gzip ? { "accept-encoding": "gzip" } : {} }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
      })
        .on("error", reject)
        .end();
    });
  for (const ask of [overOne, overTwo]) {
    for (const gzip of [false, true]) {
      const { headers, body } = await ask(gzip);
      assert.equal(headers["content-encoding"], gzip ? "gzip" : undefined);
      if (!gzip) assert.equal(Number(headers["content-length"]), body.length);
      const { kind, items } = JSON.parse((gzip ? gunzipSync(body) : body).toString()) as { kind: string; items: { kind?: string; metadata: { name: string }; data: object }[] };
      assert.equal(kind, "ConfigMapList");
      assert.deepEqual(items.map(({ metadata }) => metadata.name), Array.from({ length: count }, (_, index) => `m-${String(index).padStart(4, "0")}`));
      assert.ok(items.every((item) => item.kind === undefined && JSON.stringify(item.data) === JSON.stringify(data)));
    }
  }
  await Promise.all(Array.from({ length: 20 }, () => overTwo(false, 100_000)));
  assert.equal((await overTwo(false)).body.length, (await overOne(false)).body.length);
  session.close();
});
