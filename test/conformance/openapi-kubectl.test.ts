import assert from "node:assert/strict";
import { test } from "node:test";
import type { CustomResourceDefinition } from "../../src/api/crd/definition.ts";
import type { JSONSchemaProps } from "../../src/api/crd/json-schema.ts";
import { kindsOf } from "../../src/api/crd/kind.ts";
import type { Kind } from "../../src/api/kind.ts";
import { find, needs } from "../needs.ts";
import { startDocumentsServer } from "./documents-server.ts";

const schema: JSONSchemaProps = { type: "object", properties: { spec: { type: "object", required: ["size"], properties: { size: { type: "integer", minimum: 1 }, parts: { type: "array", items: { type: "object", properties: { name: { type: "string" } } } } } } } };
const definition = {
  metadata: { uid: "1", generation: 1 },
  spec: { group: "example.com", scope: "Namespaced", names: { plural: "widgets", kind: "Widget" }, versions: [{ name: "v1", served: true, storage: true, subresources: { scale: { specReplicasPath: ".spec.size", statusReplicasPath: ".status.size" } } }] },
};
const [widget] = kindsOf(definition as unknown as CustomResourceDefinition, () => schema) as [Kind];

// 1.27 and 1.28 read version 2 in protobuf before anything else, the later ones version 3.
for (const minor of ["1.27", "1.28", "1.29", "1.31", "1.33"]) {
  test(`kubectl ${minor} explains our kinds`, async (t) => {
    if (!needs(t, `kubectl.${minor}`)) return;
    const program = find(`kubectl.${minor}`)!;
    await using server = await startDocumentsServer((body) => JSON.parse(body.toString()), [widget]);
    const explain = async (...args: string[]): Promise<string> => {
      const { stdout, stderr, code } = await server.kubectl(program, "explain", ...args);
      assert.equal(code, 0, stderr);
      return stdout.replace(/[ \t]+/g, " ");
    };
    assert.match(await explain("deployment.spec.strategy"), /GROUP: apps\nKIND: Deployment\nVERSION: v1\n\nFIELD: strategy <DeploymentStrategy>[^]*rollingUpdate <RollingUpdateDeployment>[^]*type <string>/);
    assert.match(await explain("pod.spec.containers.resources"), /limits <map\[string\]Quantity>/);
    assert.match(await explain("widget.spec"), /GROUP: example.com\nKIND: Widget[^]*parts <\[\]Object>[^]*size <integer> -required-/);
    assert.match(await explain("hpa.spec.metrics"), /VERSION: v2[^]*FIELD: metrics <\[\]MetricSpec>/);
    if (minor === "1.27" || minor === "1.28") assert.match(await explain("deployment.spec", "--output=plaintext-openapiv2"), /RESOURCE: spec <Object>[^]*minReadySeconds <integer>/);
  });
}
