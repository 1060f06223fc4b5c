import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pod } from "../../api/types.ts";
// @ts-expect-error a build tool without types
import { bundlePreload } from "../../../tools/bundle-preload.mjs";
import { meshCondition } from "./mesh.ts";

test("a pod that is not meshed says so, and one that wants to dial by itself says whether it does", async () => {
  await bundlePreload();
  const cases: [label: string | undefined, ports: string[], mode: "isolated" | "plain", node: string | undefined, expected: string | undefined][] = [
    [undefined, [], "isolated", undefined, undefined],
    [undefined, ["TCP"], "isolated", undefined, undefined],
    [undefined, ["TCP", "UDP"], "isolated", undefined, undefined],
    ["listener", ["TCP"], "isolated", undefined, undefined],
    [undefined, ["UDP"], "isolated", undefined, "False NoTCP"],
    ["direct", ["UDP", "SCTP"], "isolated", "26.0.0", "False NoTCP"],
    ["direct", [], "isolated", undefined, "False NoHello"],
    ["direct", ["TCP"], "isolated", "26.0.0", "True Hello"],
    ["sidecar", [], "isolated", undefined, "False NotHonoured"],
    [undefined, ["TCP"], "plain", undefined, "False PlainMode"],
    ["direct", ["TCP"], "plain", "26.0.0", "False PlainMode"],
    ["sidecar", [], "plain", undefined, "False NotHonoured"],
  ];
  for (const [label, protocols, mode, node, expected] of cases) {
    const ports = protocols.map((protocol, index) => ({ containerPort: 8080 + index, ...(protocol !== "TCP" && { protocol }) }));
    const pod = { metadata: { name: "p", namespace: "default", ...(label !== undefined && { labels: { "wherry.dev/mesh": label } }) }, spec: { containers: [{ name: "c", image: "node", ports }] } } as unknown as Pod;
    const found = meshCondition(pod, mode, node);
    assert.equal(found && `${found.status} ${found.reason}`, expected, JSON.stringify([label, protocols, mode]));
  }
});
