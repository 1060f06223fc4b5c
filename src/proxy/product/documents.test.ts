import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { KubeObject } from "../../api/meta.ts";
import type { ApiObject, ApiStage } from "../../api/product/kinds.ts";
import { parseYaml } from "../../api/yaml.ts";
import { ask, type Prepared, Programs, serveDocument } from "./testing/document-world.ts";

/**
 * Documents as people have them, and how they behave: cases/documents/*.txt, whose head says how a case is written. A new case is a new
 * block. What serves is the product's own: keeper, translator, route table, engine, and programs that were really asked.
 */
const folder = join(import.meta.dirname, "cases/documents");

interface Case {
  title: string;
  document: Record<string, unknown>;
  stage: Partial<ApiStage>;
  objects: KubeObject[];
  prepared: Prepared[];
  refused: string[];
  calls: Call[];
}
interface Call {
  at: string;
  method: string;
  target: string;
  headers: [name: string, value: string][];
  body: string | undefined;
  /** Lines of what a program saw: its request, then headers. */
  seen: string[];
  answered: string[];
}

const cases = readdirSync(folder).filter((name) => name.endsWith(".txt")).sort().flatMap((file) => {
  const [head = "", ...blocks] = readFileSync(join(folder, file), "utf8").split(/^== /m);
  let line = head.split("\n").length;
  return blocks.map((block) => {
    const read = readCase(file, line, block);
    line += block.split("\n").length - 1;
    return read;
  });
});

function readCase(file: string, first: number, block: string): Case {
  const lines = block.split("\n");
  const parts: Record<string, string[]> = { document: [] };
  let part = "document";
  const read: Case = { title: lines[0]!, document: {}, stage: {}, objects: [], prepared: [], refused: [], calls: [] };
  for (const [i, text] of lines.entries()) {
    const at = `${file}:${first + i}`;
    const [, name] = /^-- ?(\w*)$/.exec(text) ?? [];
    if (name !== undefined) parts[(part = name)] ??= [];
    else if (i > 0 && part !== "") parts[part]!.push(text);
    else if (i > 0 && text !== "" && !text.startsWith("#")) readLine(read, text, at);
  }
  const [document] = parseYaml(parts["document"]!.join("\n"));
  read.document = document as Record<string, unknown>;
  read.stage = (parseYaml((parts["stage"] ?? []).join("\n"))[0] ?? {}) as Partial<ApiStage>;
  read.objects = parseYaml((parts["objects"] ?? []).join("\n")) as KubeObject[];
  return read;
}

function fieldsOf(given = ""): [name: string, value: string][] {
  return given.split("; ").filter(Boolean).map((field) => [field.slice(0, field.indexOf(":")), field.slice(field.indexOf(":") + 1).trim()]);
}

function readLine(into: Case, text: string, at: string): void {
  const [, sign, rest = ""] = /^(backend|!|>|seen|<)(?: (.*))?$/.exec(text) ?? assert.fail(`${at}: not understood: ${text}`);
  const last = into.calls.at(-1);
  if (sign === "!") into.refused.push(rest);
  else if (sign === "backend") {
    const [, method, path, status, headers, body = ""] = /^([A-Z]+) (\S+) -> (\d+)(?: \[(.*?)\])?(?: (.*))?$/.exec(rest) ?? assert.fail(`${at}: not understood: ${text}`);
    into.prepared.push({ method: method!, path: path!, status: Number(status), headers: fieldsOf(headers), body });
  } else if (sign === ">") {
    const [, method, target, headers, body] = /^([A-Z]+) (\S+)(?: \[(.*?)\])?(?: (.*))?$/.exec(rest) ?? assert.fail(`${at}: not understood: ${text}`);
    into.calls.push({ at: `${at}: ${text}`, method: method!, target: target!, headers: fieldsOf(headers), body, seen: [], answered: [] });
  } else if (sign === "seen") last!.seen.push(rest);
  else last!.answered.push(rest);
}

const common = `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: wherry}, spec: {controllerName: wherry.dev/gateway-controller}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge}, spec: {gatewayClassName: wherry, listeners: [{name: web, port: 8080, protocol: HTTP}]}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
${["animals", "ledger", "people"].map((name) => `---\n{apiVersion: v1, kind: Service, metadata: {name: ${name}}, spec: {ports: [{port: 80}]}}\n`).join("")}`;

function placed(objects: readonly KubeObject[]): KubeObject[] {
  const given = { creationTimestamp: "2026-01-01T00:00:00Z", generation: 1, resourceVersion: "1" };
  const isGlobal = ({ kind }: KubeObject): boolean => kind === "GatewayClass" || kind === "Namespace";
  return objects.map((object) => ({ ...object, metadata: { ...given, ...(!isGlobal(object) && { namespace: "shop" }), ...object.metadata, uid: `${object.kind}-${object.metadata.name}` } }));
}

for (const { title, document, stage, objects, prepared, refused, calls } of cases) {
  test(title, async () => {
    const [api, ...others] = placed([{ apiVersion: "api.wherry.dev/v1alpha1", kind: "API", metadata: { name: "it" }, spec: { document, stages: [{ name: "live", parentRefs: [{ name: "edge" }], ...stage }] } } as unknown as KubeObject, ...(parseYaml(common) as KubeObject[]), ...objects]);
    await using programs = new Programs();
    programs.prepared = prepared;
    await using world = await serveDocument(api as ApiObject, others, programs);
    assert.deepEqual(world.problem === undefined ? world.refused.toSorted() : [`document: ${world.problem.replace("; nothing is deployed yet", "")}`], refused.toSorted());
    for (const call of calls) {
      programs.seen.length = 0;
      const { status, headers, body } = await ask(world.port, call);
      const plain = headers["content-encoding"] === "gzip" ? gunzipSync(body).toString() : body.toString();
      const [line, ...wanted] = call.answered;
      const [, code, whole] = /^(\d+)(?: (.*))?$/.exec(line ?? "") ?? assert.fail(`${call.at}: no status is said`);
      const notes = `${call.at}\n${JSON.stringify(world.lines.at(-1))}`;
      assert.equal(`${status}${whole === undefined ? "" : ` ${plain}`}`, `${code}${whole === undefined ? "" : ` ${whole.replaceAll("\\n", "\n")}`}`, notes);
      for (const field of wanted) expectField(headers, field, notes);
      const [asked, ...fields] = call.seen;
      const [first] = programs.seen;
      assert.equal(programs.seen.length, asked === undefined ? 0 : 1, `${notes}\nprograms saw ${JSON.stringify(programs.seen)}`);
      if (asked === undefined) continue;
      assert.equal([first!.service, first!.method, first!.target, ...(first!.body === "" ? [] : [first!.body])].join(" "), asked.replaceAll("\\n", "\n"), notes);
      for (const field of fields) expectField(first!.headers, field, notes);
    }
  });
}

/** "name: value", or "-name": it is not there. */
function expectField(headers: Record<string, string | string[] | undefined>, field: string, notes: string): void {
  if (field.startsWith("-")) return assert.equal(headers[field.slice(1)], undefined, `${notes}\n${field}`);
  const at = field.indexOf(": ");
  assert.equal(String(headers[field.slice(0, at)]), field.slice(at + 2), `${notes}\n${field.slice(0, at)}`);
}

test("the list has thirty documents and more, and each says what is answered or why not", () => {
  assert.ok(cases.length >= 30, String(cases.length));
  assert.deepEqual(cases.filter(({ calls, refused }) => calls.length + refused.length === 0).map(({ title }) => title), []);
  assert.equal(new Set(cases.map(({ title }) => title)).size, cases.length);
});
