import assert from "node:assert/strict";
import { get } from "node:https";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { resources } from "../../src/api/resources.ts";
import { startApi } from "../harness-api.ts";

test("trap 13: a watch answers before anything happens, and each event comes by itself, also where gzip is accepted", { timeout: 20_000 }, async () => {
  await using server = await startApi();
  const revision = (await server.client.list(resources.configMaps, { namespace: "default" })).metadata.resourceVersion;
  const { ca, admin } = server.pki;
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    get(`${server.url}/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=${revision}`, { ca, cert: admin.cert, key: admin.key, headers: { "accept-encoding": "gzip" } }, resolve).on("error", reject);
  });
  // Headers are here though no event is: a client that waits for them would hang otherwise.
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers["content-encoding"], undefined);
  const lines = (async function* () {
    let pending = "";
    for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) {
      pending += chunk;
      for (let end = pending.indexOf("\n"); end >= 0; end = pending.indexOf("\n")) {
        yield pending.slice(0, end);
        pending = pending.slice(end + 1);
      }
    }
  })();
  for (const name of ["one", "two", "three"]) {
    await server.client.create(resources.configMaps, "default", { metadata: { name } });
    const { value } = await lines.next();
    const event = JSON.parse(value!) as { type: string; object: { metadata: { name: string } } };
    assert.deepEqual([event.type, event.object.metadata.name], ["ADDED", name]);
  }
  response.destroy();
});
