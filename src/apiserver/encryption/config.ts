import { readConfig, refuse } from "../authn/config-file.ts";

export interface Key {
  name: string;
  /** Base64. */
  secret: string;
}
type Keys = { keys?: Key[] };
export interface ProviderConfig {
  aesgcm?: Keys;
  aescbc?: Keys;
  secretbox?: Keys;
  identity?: object;
}
export interface EncryptionConfig {
  resources: { resources: string[]; providers: ProviderConfig[] }[];
}

const keys = { keys: [{ name: "string", secret: "string" }] } as const;
const shape = {
  resources: [
    {
      resources: ["string"],
      providers: [{ aesgcm: keys, aescbc: keys, secretbox: keys, identity: {}, kms: { apiVersion: "string", name: "string", cachesize: "integer", endpoint: "string", timeout: "string" } }],
    },
  ],
} as const;

/** Bytes a key may have. */
const sizes = { aesgcm: [16, 24, 32], aescbc: [16, 24, 32], secretbox: [32] } as const;
const providers = ["kms", "aesgcm", "aescbc", "secretbox", "identity"] as const;

/**
 * Throws WherryError ACCESS_CONFIG_INVALID, in which no secret is shown.
 * Source: k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go.
 */
export function readEncryptionConfig(file: string): EncryptionConfig {
  const config = readConfig<EncryptionConfig>(file, "apiserver.config.k8s.io", "EncryptionConfiguration", ["v1"], shape);
  const errors: string[] = [];
  if (!config.resources?.length) errors.push("resources: Required value: at least one resources is required");
  (config.resources ?? []).forEach((entry, index) => {
    const at = `resources[${index}]`;
    for (const field of ["resources", "providers"] as const) if (!entry?.[field]?.length) errors.push(`${at}.${field}: Required value: at least one ${at}.${field} is required`);
    if (entry?.resources?.length) errors.push(...resourceErrors(entry.resources, `${at}.resources`));
    (entry?.providers ?? []).forEach((provider, position) => errors.push(...providerErrors(provider, `${at}.providers[${position}]`)));
  });
  errors.push(...maskErrors(config.resources ?? []));
  refuse(file, errors);
  return config;
}

/** A resource that an earlier entry's wildcard names already would never be looked up. */
function maskErrors(entries: EncryptionConfig["resources"]): string[] {
  const seen = new Set<string>();
  const errors: string[] = [];
  for (const entry of entries) {
    const own = (entry?.resources ?? []).map((text) => ({ text, ...parseResource(text) }));
    for (const { text, group } of own) {
      const mask = [`*.${group}`, "*.*"].find((wildcard) => seen.has(wildcard));
      if (mask) errors.push(`resource ${JSON.stringify(text)} is masked by earlier rule ${JSON.stringify(mask)}`);
    }
    for (const { resource, group } of own) seen.add(`${resource}.${group}`);
  }
  return errors;
}

/** `deployments.apps` → resource and group; "*" for any. */
export function parseResource(text: string): { resource: string; group: string } {
  const dot = text.indexOf(".");
  return dot === -1 ? { resource: text, group: "" } : { resource: text.slice(0, dot), group: text.slice(dot + 1) };
}

function resourceErrors(resources: readonly string[], at: string): string[] {
  const errors: string[] = [];
  const wrong = (field: string, value: unknown, why: string): void => void errors.push(`${field}: Invalid value: ${JSON.stringify(value)}: ${why}`);
  const parsed = resources.map(parseResource);
  const pairs = parsed.flatMap((one, i) => parsed.slice(i + 1).map((other) => [one, other] as const));
  if (new Set(resources).size < resources.length) wrong(at, resources, "the same resource cannot be specified multiple times");
  const isAll = ({ resource, group }: { resource: string; group: string }): boolean => resource === "*" && group === "*";
  const overlap = pairs.some(([one, other]) => !(one.resource === other.resource && one.group === other.group) && (isAll(one) || isAll(other) || (one.group === other.group && (one.resource === "*" || other.resource === "*"))));
  if (overlap) wrong(at, resources, "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked");
  resources.forEach((text, index) => {
    const { resource, group } = parsed[index]!;
    const field = `${at}[${index}]`;
    if (text.toLowerCase() !== text) wrong(field, text, "resource name should not contain capital letters");
    else if (text === "*") wrong(field, text, "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
    else if (["apiserveripinfo", "serviceipallocations", "servicenodeportallocations"].includes(text)) wrong(field, text, "resources which do not have REST API/s cannot be encrypted");
    else if (group === "events.k8s.io") wrong(field, text, "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file");
    else if (group === "extensions") wrong(field, text, "'extensions' group has been removed and cannot be used for encryption");
    else if (group === "*" && resource !== "*") wrong(field, text, "encrypting the same resource across groups is not supported");
  });
  return errors;
}

function providerErrors(provider: ProviderConfig, at: string): string[] {
  const given = providers.filter((name) => (provider as Record<string, unknown> | null)?.[name] !== undefined && (provider as Record<string, unknown>)[name] !== null);
  if (given.length === 0) return [`${at}: Invalid value: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity`];
  if (given.length > 1) return [`${at}: Invalid value: more than one provider specified in a single element, should split into different list elements`];
  const [name] = given;
  if (name === "identity") return [];
  if (name === "kms") return [`${at}.kms: Forbidden: Wherry asks no key management service; use aesgcm or secretbox, and have the service write this file before the start`];
  const list = provider[name as keyof typeof sizes]!.keys ?? [];
  const field = `${at}.${name}.keys`;
  if (list.length === 0) return [`${field}: Required value: at least one keys is required`];
  return list.flatMap((key, index) => keyErrors(key, `${field}[${index}]`, sizes[name as keyof typeof sizes]));
}

function keyErrors(key: Key, at: string, allowed: readonly number[]): string[] {
  const errors: string[] = [];
  if (!key?.name) errors.push(`${at}.name: Required value: name is a mandatory field for a key`);
  if (!key?.secret) return [...errors, `${at}.secret: Required value: secret is a mandatory field for a key`];
  // As Go reads it: line ends are skipped, anything else is wrong.
  const text = key.secret.replaceAll(/[\r\n]/g, "");
  const secret = Buffer.from(text, "base64");
  if (secret.toString("base64") !== text) errors.push(`${at}.secret: Invalid value: "REDACTED": secrets must be base64 encoded`);
  else if (!allowed.includes(secret.length)) errors.push(`${at}.secret: Invalid value: "REDACTED": secret is not of the expected length, got ${secret.length}, expected one of [${allowed.join(" ")}]`);
  return errors;
}
