import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { load } from "js-yaml";
import { shippedDefinitions } from "../../../src/api/definitions/definitions.ts";
import type { JSONSchemaProps } from "../../../src/api/crd/json-schema.ts";
import { CustomSchema } from "../../../src/api/crd/schema.ts";
import { shapeObject } from "../../../src/api/crd/shape-object.ts";
import { validateObject } from "../../../src/api/crd/validate-object.ts";
import { keyOf } from "../../../src/api/informer.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import type { EdgeBinding } from "../../../src/api/network.ts";
import type { EdgeListener } from "../../../src/api/traffic.ts";
import { LoopbackAddresses } from "../../../src/proxy/gateway/addresses.ts";
import { Translator, type WantedStatus } from "../../../src/proxy/gateway/translate.ts";
import { ObjectWorld } from "../../../src/proxy/gateway/world.ts";

/**
 * What statuses say, one condition a line: "TYPE=STATUS REASON: MESSAGE", by whose they are ("KIND NAMESPACE/NAME") and about whom
 * ("KIND NAMESPACE/NAME#SECTION"). Of routes without messages, which are everybody's own. `refused`: the definition of a kind refuses an object.
 */
export interface Answer {
  statuses: Record<string, Record<string, string[]>>;
  refused?: string;
}
interface Told {
  type: string;
  status: string;
  reason: string;
  message: string;
}
interface Reference {
  kind?: string;
  namespace?: string;
  name: string;
  sectionName?: string;
}

const judgedRoutes = new Set(["HTTPRoute", "GRPCRoute"]);
const policyKinds = new Set(["SecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy"]);

const placeOf = (namespace: string, { kind = "Gateway", namespace: other = namespace, name, sectionName }: Reference): string => `${kind} ${other}/${name}${sectionName === undefined ? "" : `#${sectionName}`}`;
const lineOf = ({ type, status, reason, message }: Told): string => `${type}=${status} ${reason}: ${message}`;
const briefOf = ({ type, status, reason }: Told): string => `${type}=${status} ${reason}`;

function answerOf(found: readonly { kind: string; key: string; ancestors?: readonly { ancestorRef: Reference; conditions: readonly Told[] }[] | undefined; parents?: readonly { parentRef: Reference; conditions: readonly Told[] }[] | undefined }[]): Answer {
  const statuses: Answer["statuses"] = {};
  for (const { kind, key, ancestors, parents } of [...found].sort((a, b) => (`${a.kind} ${a.key}` < `${b.kind} ${b.key}` ? -1 : 1))) {
    if (!policyKinds.has(kind) && !judgedRoutes.has(kind)) continue;
    const namespace = key.slice(0, key.indexOf("/"));
    const told: [string, string[]][] = [
      ...(ancestors ?? []).map(({ ancestorRef, conditions }): [string, string[]] => [placeOf(namespace, ancestorRef), conditions.map(lineOf).sort()]),
      ...(parents ?? []).map(({ parentRef, conditions }): [string, string[]] => [placeOf(namespace, parentRef), conditions.map(briefOf).sort()]),
    ];
    statuses[`${kind} ${key}`] = Object.fromEntries(told.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  return { statuses };
}

/**
 * Envoy Gateway's, of many worlds at once: it takes seconds to start. Each has namespaces of its own there. Those that we refuse are asked
 * alone, and of those together one that is refused is found by halves.
 */
export async function askAll(program: string, worlds: readonly (readonly KubeObject[])[]): Promise<Answer[]> {
  const answers: Answer[] = [];
  const asked = async (indices: readonly number[]): Promise<void> => {
    if (indices.length === 0) return;
    if (indices.length === 1) return void (answers[indices[0]!] = await askEnvoyGateway(program, worlds[indices[0]!]!));
    const prefix = (index: number): string => `w${index}-`;
    const all = indices.flatMap((index) => worlds[index]!.map((one) => (one.kind === "Namespace" ? { ...one, metadata: { ...one.metadata, name: prefix(index) + one.metadata.name } } : (JSON.parse(JSON.stringify(one), (field, value: unknown) => (field === "namespace" && typeof value === "string" ? prefix(index) + value : value)) as KubeObject))));
    const { statuses, refused } = await askEnvoyGateway(program, [...new Map(all.map((one) => [`${one.kind}/${keyOf(one)}`, one])).values()]);
    if (refused !== undefined) {
      await asked(indices.slice(0, indices.length >> 1));
      return asked(indices.slice(indices.length >> 1));
    }
    for (const index of indices) {
      const own = Object.entries(statuses).filter(([subject]) => subject.split(" ")[1]!.startsWith(prefix(index)));
      answers[index] = { statuses: JSON.parse(JSON.stringify(Object.fromEntries(own)).replaceAll(prefix(index), "")) as Answer["statuses"] };
    }
  };
  const { true: alone = [], false: together = [] } = Object.groupBy(worlds.keys(), (index) => String(ask(worlds[index]!).refused !== undefined));
  await asked(together);
  for (const index of alone) await asked([index]);
  return answers;
}

export async function askEnvoyGateway(program: string, objects: readonly KubeObject[]): Promise<Answer> {
  const folder = mkdtempSync(join(tmpdir(), "wherry-egctl-"));
  try {
    const file = join(folder, "world.yaml");
    const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "envoy-oidc-hmac", namespace: "envoy-gateway-system" }, data: { "hmac-secret": Buffer.alloc(32, 7).toString("base64") } };
    const theirs = [...objects, secret as unknown as KubeObject].map((one) => (one.kind === "GatewayClass" ? { ...one, spec: { controllerName: "gateway.envoyproxy.io/gatewayclass-controller" } } : one));
    writeFileSync(file, theirs.map((one) => JSON.stringify(one)).join("\n---\n"));
    // Without the flag there is no EnvoyProxy, and so no Gateway: Services that are wanted and missing are given ports by it, and nothing else here.
    const { stdout } = await promisify(execFile)(program, ["x", "translate", "--from", "gateway-api", "--to", "gateway-api", "-f", file], { maxBuffer: 1 << 28, env: { ...process.env, GOMAXPROCS: "1" } });
    const lists = Object.values(load(stdout) as Record<string, KubeObject[] | KubeObject>).flat();
    return answerOf(lists.flatMap((one) => (one?.kind ? [{ kind: one.kind, key: `${one.metadata.namespace}/${one.metadata.name}`, ancestors: one["status"]?.ancestors, parents: one["status"]?.parents }] : [])));
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    const [, why] = /local validation error: (.*)/.exec(stderr ?? "") ?? [];
    if (why === undefined) throw error;
    return { statuses: {}, refused: why };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Every port can be had. */
class FreeAddresses extends LoopbackAddresses {
  override bindingOf({ address, port }: EdgeListener): EdgeBinding {
    return { address, port, protocol: "TCP", boundPort: port };
  }
}

let schemas: Map<string, CustomSchema> | undefined;
const schemaOf = (kind: string): CustomSchema | undefined =>
  (schemas ??= new Map(
    (["envoy-gateway", "gateway-api"] as const).flatMap(shippedDefinitions).map((definition) => {
      const { versions, names } = definition["spec"] as { versions: { storage: boolean; schema: { openAPIV3Schema: JSONSchemaProps } }[]; names: { kind: string } };
      return [names.kind, new CustomSchema(versions.find(({ storage }) => storage)!.schema.openAPIV3Schema)];
    }),
  )).get(kind);

/** Ours, of the objects as the API server takes them: with their kinds' defaults, unless a kind refuses one. */
export function ask(objects: readonly KubeObject[]): Answer {
  const shaped: KubeObject[] = [];
  for (const one of objects) {
    const schema = schemaOf(one.kind);
    const taken = schema ? (shapeObject(schema, one).value as KubeObject) : one;
    const errors = schema ? validateObject(schema, undefined, taken) : [];
    if (errors.length > 0) return { statuses: {}, refused: errors.map(({ field, body }) => `${one.kind} ${keyOf(one)}: ${field}: ${body}`).join("; ") };
    shaped.push(taken);
  }
  const translator = new Translator(new ObjectWorld(shaped), new FreeAddresses());
  for (const { kind, metadata } of shaped) translator.changed(kind, keyOf({ metadata }));
  const last = new Map<string, WantedStatus>();
  for (const status of translator.flush().statuses) last.set(`${status.kind}/${status.key}`, status);
  return answerOf([...last.values()] as unknown as Parameters<typeof answerOf>[0]);
}
