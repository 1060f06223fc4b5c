/**
 * Reads what OpenAPI does not say off the Go sources of the API types: which scalars are pointers (absent differs
 * from zero), which have a named type (`PullPolicy`: decoding errors print it), which are written although they
 * are zero, and the protobuf numbers of apiregistration.
 *
 *   node tools/read-go-types.ts <folder with checkouts of api, apimachinery, apiextensions-apiserver, kube-aggregator>
 *
 * Writes tools/go-types.json: definition → field → `[<Go type>][ always][ #<protobuf number>]`; what follows from
 * OpenAPI is left out. It is an input of tools/generate-kinds.ts and changes only with the Kubernetes version.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const checkouts = process.argv[2];
if (checkouts === undefined) throw new Error("usage: node tools/read-go-types.ts <folder with the Go checkouts>");
const groups = "admissionregistration apps authentication authorization autoscaling batch certificates coordination core discovery events flowcontrol networking node policy rbac resource scheduling storage".split(" ");
const packages: [folder: string, name: string][] = [
  ...groups.map((group): [string, string] => [`api/${group}/v1`, `io.k8s.api.${group}.v1`]),
  ["api/admissionregistration/v1beta1", "io.k8s.api.admissionregistration.v1beta1"],
  ["api/autoscaling/v2", "io.k8s.api.autoscaling.v2"],
  ["api/certificates/v1beta1", "io.k8s.api.certificates.v1beta1"],
  ["apimachinery/pkg/apis/meta/v1", "io.k8s.apimachinery.pkg.apis.meta.v1"],
  ["apiextensions-apiserver/pkg/apis/apiextensions/v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1"],
  ["kube-aggregator/pkg/apis/apiregistration/v1", "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1"],
];
const basic = /^(string|bool|int|int32|int64|float64|\[\]byte|map\[string\]string|\[\]string)$/;

const structs = new Map<string, { json: string; goType: string; always: boolean; number: string | undefined }[]>();
for (const [folder, name] of packages) {
  for (const file of readdirSync(join(checkouts, folder))) {
    if (!/types.*\.go$/.test(file) || file.includes("generated") || file.endsWith("_test.go")) continue;
    for (const [, struct, body] of readFileSync(join(checkouts, folder, file), "utf8").matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm)) {
      const fields = structs.get(`${name}.${struct}`) ?? [];
      structs.set(`${name}.${struct}`, fields);
      for (const line of body!.split("\n")) {
        const match = /^\t(?:\w+\s+)?(\S+)\s+`.*?json:"([^",]+)((?:,\w+)*)"(.*)`/.exec(line);
        if (!match || match[2] === "-") continue;
        const number = folder.startsWith("kube-aggregator") ? /protobuf:"\w+,(\d+)/.exec(match[4]!)?.[1] : undefined;
        fields.push({ json: match[2]!, goType: match[1]!, always: !/omitempty|omitzero/.test(match[3]!), number });
      }
    }
  }
}

const structNames = new Set([...structs.keys()].map((name) => name.split(".").at(-1)!));
const lines: string[] = [];
for (const [name, fields] of [...structs].sort(([a], [b]) => (a < b ? -1 : 1))) {
  const facts: Record<string, string> = {};
  for (const { json, goType, always, number } of fields) {
    const words: string[] = [];
    const element = goType.replace(/^\*|^\[\]|^map\[string\]/, "").split(".").at(-1)!;
    if (!basic.test(goType) && !(structNames.has(element) && !goType.startsWith("*[]"))) words.push(goType);
    if (always) words.push("always");
    if (number) words.push(`#${number}`);
    if (words.length > 0) facts[json] = words.join(" ");
  }
  if (Object.keys(facts).length > 0) lines.push(`${JSON.stringify(name)}: ${JSON.stringify(facts)}`);
}
writeFileSync(join(import.meta.dirname, "go-types.json"), `{\n${lines.join(",\n")}\n}\n`);
