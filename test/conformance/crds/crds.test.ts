import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { pssMb } from "../../../bench/measure.ts";
import type { HttpClient } from "../../../src/api/http-client.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import { StatusError } from "../../../src/api/status.ts";
import { hasKubectl, startApi } from "../../harness-api.ts";
import { startWherry } from "../../harness.ts";
import { needs } from "../../needs.ts";
import { applyFolders } from "../../scenarios/stack.ts";
import { hasOracle, startOracle } from "../differential/oracle.ts";
import { folderOf } from "./fetch.ts";
import { projects } from "./projects.ts";
import { type Definition, type Published, publishedBy, spoil } from "./published.ts";

const minor = "1.33";
/** What the annotation holds in which `kubectl apply` keeps the object; more is for --server-side. */
const annotationMax = 262_144;
const refusedSamples = new Set(readFileSync(join(import.meta.dirname, "refused.txt"), "utf8").split("\n").filter((line) => line !== "" && !line.startsWith("#")).map((line) => line.split("  ")[0]!));

function isThere(t: TestContext): boolean {
  if (process.env["WHERRY_CONFORMANCE"] !== "1") return t.skip("a hundred definitions of other projects take minutes: npm run conformance"), false;
  if (projects.every(({ sources }) => sources.every((source) => existsSync(folderOf(source))))) return true;
  return t.skip("the definitions are not here: node test/conformance/crds/fetch.ts brings them"), false;
}
const all = (): [name: string, published: Published][] => projects.map((project) => [project.name, publishedBy(project)!]);

interface Answer {
  status: number;
  message: string;
  object?: KubeObject;
}
async function send(client: HttpClient, method: string, path: string, body?: object): Promise<Answer> {
  try {
    const { status, text } = await client.raw(method, path, body);
    return { status, message: "", object: JSON.parse(text) as KubeObject };
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    return { status: error.code, message: error.message };
  }
}
const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const placeOf = ({ spec }: Definition, version: string) => `/apis/${spec.group}/${version}${spec.scope === "Namespaced" ? "/namespaces/default" : ""}/${spec.names.plural}`;

test("definitions that people install: served at once, and their objects judged as the real kube-apiserver does", { timeout: 1_200_000 }, async (t) => {
  if (!isThere(t)) return;
  await using api = await startApi();
  await using oracle = hasOracle() ? await startOracle() : undefined;
  const ours = api.http();
  const kinds = new Map<string, { definition: Definition; version: Definition["spec"]["versions"][number] }>();
  const times: number[] = [];
  for (const [, { definitions }] of all()) {
    for (const definition of definitions) {
      const began = performance.now();
      const made = await send(ours, "POST", definitionsPath, definition);
      const storage = definition.spec.versions.find((version) => version.storage)!;
      const listed = await send(ours, "GET", placeOf(definition, storage.name));
      times.push(performance.now() - began);
      assert.deepEqual([made.status, listed.status], [201, 200], `${definition.metadata.name}: ${made.message}${listed.message}`);
      const theirs = oracle && (await send(oracle.client, "POST", definitionsPath, definition));
      if (theirs) assert.deepEqual(made.object!["spec"], theirs.object?.["spec"], definition.metadata.name);
      for (const version of definition.spec.versions) kinds.set(`${definition.spec.group}/${version.name} ${definition.spec.names.kind}`, { definition, version });
    }
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`${times.length} definitions; from the request to the first list of its objects ${times[times.length >> 1]!.toFixed(0)} ms in the middle, ${times.at(-1)!.toFixed(0)} ms at most`);
  assert.ok(times[times.length >> 1]! < 500);
  if (oracle) for (const { definition, version } of kinds.values()) while (version.served && (await send(oracle.client, "GET", placeOf(definition, version.name))).status !== 200) await new Promise((resolve) => setTimeout(resolve, 50));

  /** The answers of both, which must be the same. */
  const judge = async (place: string, object: KubeObject, query: string): Promise<Answer> => {
    const { definition } = kinds.get(`${object.apiVersion} ${object.kind}`)!;
    const { namespace: _, ...metadata } = object.metadata;
    const path = `${placeOf(definition, object.apiVersion.split("/")[1]!)}?fieldValidation=Strict${query}`;
    const body = { ...object, metadata };
    const [answer, theirs] = await Promise.all([send(ours, "POST", path, body), oracle && send(oracle.client, "POST", path, body)]);
    if (theirs) assert.ok(isDeepStrictEqual(comparable(answer), comparable(theirs)), `${place}\nours   ${JSON.stringify(comparable(answer))}\ntheirs ${JSON.stringify(comparable(theirs))}`);
    return answer;
  };
  for (const [name, { samples, invalid }] of all()) {
    await t.test(name, async (inner) => {
      const count = { taken: 0, refused: 0, spoilt: 0, invalid: 0 };
      for (const { place, object } of samples) {
        const kind = kinds.get(`${object.apiVersion} ${object.kind}`);
        if (!kind) continue;
        const tried = await judge(place, object, "&dryRun=All");
        assert.equal(tried.status !== 201, refusedSamples.has(place), `${place}: ${tried.message}`);
        if (tried.status !== 201) {
          count.refused++;
          continue;
        }
        count.taken++;
        const made = await judge(place, object, "");
        assert.equal(made.status, 201, `${place}: ${made.message}`);
        for (const client of [ours, ...(oracle ? [oracle.client] : [])]) await send(client, "DELETE", `${placeOf(kind.definition, kind.version.name)}/${made.object!.metadata.name}`);
        const spoilt = spoil(kind.version.schema!.openAPIV3Schema!, object);
        if (!spoilt) continue;
        const { status, message } = await judge(`${place}, spoilt`, spoilt.object, "&dryRun=All");
        assert.ok(status !== 201 && message.includes(spoilt.path), `${place}: ${spoilt.path} was spoilt, and the answer is ${status} ${message}`);
        count.spoilt++;
      }
      for (const { place, object } of invalid) {
        assert.notEqual((await judge(place, object, "&dryRun=All")).status, 201, place);
        count.invalid++;
      }
      inner.diagnostic(`${count.taken} samples taken, ${count.refused} that the definitions refuse; ${count.spoilt} spoilt and ${count.invalid} invalid ones refused${oracle ? "; kube-apiserver says the same" : ""}`);
    });
  }
});

/** Errors of one answer come in any order there, and names that are made up differ. */
function comparable({ status, message, object }: Answer): unknown {
  const list = /^(.*?)\[(.*)\]$/s.exec(message);
  const said = list ? [list[1], ...list[2]!.split(", ").sort()] : message;
  if (!object) return [status, said];
  const { uid: _, creationTimestamp: __, managedFields: ___, resourceVersion: ____, name, generateName, ...metadata } = object.metadata as KubeObject["metadata"] & { generateName?: string };
  return [status, said, { ...object, metadata: { ...metadata, name: generateName ?? name } }];
}

test("kubectl applies, explains and lists them; what they cost the API process", { timeout: 1_200_000 }, async (t) => {
  if (!isThere(t) || !(await hasKubectl(t, minor))) return;
  if (!needs(t, "kubectl")) return;
  const folder = mkdtempSync(join(tmpdir(), "wherry-crds-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  await using wherry = await startWherry({ test: t, kubectlMinor: minor });
  const kubectl = (...args: string[]) => new Promise<string>((resolve, reject) => void execFile("kubectl", args, { env: wherry.env, timeout: 300_000, maxBuffer: 1 << 28 }, (error, stdout, stderr) => (error ? reject(new Error(stderr)) : resolve(stdout))));
  const pss = () => Math.round(pssMb([wherry.processes().api!]));
  const figures = [`${pss()} MB before`];
  const definitions = all().flatMap(([, published]) => published.definitions);
  const bytes = (definition: Definition) => JSON.stringify(definition).length;
  const write = (name: string, items: Definition[]) => (writeFileSync(join(folder, name), items.map((item) => JSON.stringify(item)).join("\n---\n")), join(folder, name));

  await t.test("apply, as its annotation allows, then all by --server-side", async () => {
    const fitting = definitions.filter((definition) => bytes(definition) < annotationMax - 1024);
    const lines = (text: string) => text.trim().split("\n");
    assert.equal(lines(await kubectl("apply", "-f", write("fitting.json", fitting))).filter((line) => line.endsWith(" created")).length, fitting.length);
    const large = definitions.filter((definition) => bytes(definition) > annotationMax + 65_536);
    await assert.rejects(kubectl("apply", "-f", write("large.json", large.slice(0, 1))), /metadata\.annotations: Too long: may not be more than 262144 bytes/);
    assert.equal(lines(await kubectl("apply", "--server-side", "-f", write("all.json", definitions))).filter((line) => line.endsWith(" serverside-applied")).length, definitions.length);
    assert.equal(lines(await kubectl("apply", "--server-side", "-f", join(folder, "all.json"))).length, definitions.length);
    const established = await kubectl("get", "crd", "-o", 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Established")].status}{"\\n"}{end}');
    assert.ok(lines(established).length >= definitions.length && lines(established).every((status) => status === "True"), established);
    figures.push(`${pss()} with ${definitions.length} definitions`);
  });
  await t.test("explain and list", async () => {
    for (const { metadata, spec } of definitions) {
      const { name } = spec.versions.find((version) => version.storage && version.served) ?? spec.versions.find((version) => version.served)!;
      const text = await kubectl("explain", spec.names.plural, `--api-version=${spec.group}/${name}`);
      assert.match(text, new RegExp(`GROUP: +${spec.group}\nKIND: +${spec.names.kind}\nVERSION: +${name}\n`), metadata.name);
      assert.match(text, /\nFIELDS:\n +apiVersion\t<string>/, metadata.name);
    }
    assert.match(await kubectl("explain", "applicationsets.spec.generators.git.directories", "--recursive"), /FIELDS:\n +exclude\t<boolean>\n +path\t<string> -required-/);
    assert.equal((await kubectl("get", "crd", "-o", "name")).trim().split("\n").length >= definitions.length, true);
    figures.push(`${pss()} when all were explained`);
  });
  await t.test("`wherry up` makes definitions before what they define, whatever the order of files", async () => {
    await kubectl("delete", "crd", "issuers.cert-manager.io");
    const project = join(folder, "project");
    mkdirSync(project);
    writeFileSync(join(project, "a.yaml"), JSON.stringify({ apiVersion: "cert-manager.io/v1", kind: "Issuer", metadata: { name: "self" }, spec: { selfSigned: {} } }));
    writeFileSync(join(project, "b.yaml"), JSON.stringify(definitions.find(({ metadata }) => metadata.name === "issuers.cert-manager.io")));
    assert.match(await applyFolders(wherry, [project]), /issuers\.cert-manager\.io[^]*self/);
    assert.equal(await kubectl("get", "issuer", "self", "-o", "name"), "issuer.cert-manager.io/self\n");
  });
  t.diagnostic(`PSS of the API process: ${figures.join(", ")}, ${pss()} at the end`);
  assert.ok(pss() < 400);
});
