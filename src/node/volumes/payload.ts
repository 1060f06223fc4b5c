import { availableParallelism, totalmem } from "node:os";
import type { Pod, Volume } from "../../api/types.ts";
import { ContainerError, type Objects } from "../context.ts";
import { fieldValue, resourceValue } from "../env/fields.ts";
import type { Payload } from "./atomic.ts";
import type { CertificateSource } from "./certificate.ts";
import type { TokenSource } from "./token.ts";
import { trustAnchors } from "./trust-bundle.ts";

export interface PayloadInput {
  pod: Pod;
  objects: Objects;
  hostIP: string;
  tokens: TokenSource;
  certificates: CertificateSource;
}

type Projection = NonNullable<NonNullable<Volume["projected"]>["sources"]>[number];
type Items = { key: string; path: string; mode?: number }[] | undefined;

const refuse = (message: string) => new ContainerError("FailedMount", message);

/** The files of a configMap, secret, downwardAPI or projected volume; undefined for other volumes. */
export async function volumePayload(volume: Volume, input: PayloadInput): Promise<Payload | undefined> {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap) return await collect([{ configMap: { name: configMap.name ?? "", ...pick(configMap) } }], configMap.defaultMode, input);
  if (secret) return await collect([{ secret: { name: secret.secretName ?? "", ...pick(secret) } }], secret.defaultMode, input);
  if (downwardAPI) return await collect([{ downwardAPI: { items: downwardAPI.items ?? [] } }], downwardAPI.defaultMode, input);
  if (projected) return await collect(projected.sources ?? [], projected.defaultMode, input, volume.name);
  return undefined;
}

const pick = (source: { items?: Items; optional?: boolean }) => ({ ...(source.items && { items: source.items }), ...(source.optional !== undefined && { optional: source.optional }) });

async function collect(sources: readonly Projection[], defaultMode = 0o644, { pod, objects, hostIP, tokens, certificates }: PayloadInput, volume = ""): Promise<Payload> {
  const namespace = pod.metadata.namespace!;
  const payload: Payload = new Map();
  const put = (path: string, data: Buffer | string, mode: number | undefined) => {
    if (!isSafePath(path)) throw refuse(`the path ${JSON.stringify(path)} is not a relative one below the volume`);
    payload.set(path, { data: typeof data === "string" ? Buffer.from(data) : data, mode: mode ?? defaultMode });
  };
  for (const [index, source] of sources.entries()) {
    if (source.configMap) {
      const { name = "", items, optional = false } = source.configMap;
      const object = await objects.configMap(namespace, name);
      if (!object && !optional) throw refuse(`configmap ${JSON.stringify(name)} not found`);
      const data = new Map([
        ...Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value)] as const),
        ...Object.entries(object?.binaryData ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const),
      ]);
      for (const [path, value, mode] of select(data, items, optional, "configmap references non-existent config key")) put(path, value, mode);
    } else if (source.secret) {
      const { name = "", items, optional = false } = source.secret;
      const object = await objects.secret(namespace, name);
      if (!object && !optional) throw refuse(`secret ${JSON.stringify(name)} not found`);
      const data = new Map(Object.entries(object?.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")] as const));
      for (const [path, value, mode] of select(data, items, optional, "references non-existent secret key")) put(path, value, mode);
    } else if (source.downwardAPI) {
      for (const { path, fieldRef, resourceFieldRef, mode } of source.downwardAPI.items ?? []) {
        if (fieldRef) put(path, fieldValue(pod, fieldRef.fieldPath, { podIP: pod.status?.podIP ?? "", hostIP }), mode);
        else if (resourceFieldRef) {
          const container = [...(pod.spec!.initContainers ?? []), ...pod.spec!.containers].find(({ name }) => name === resourceFieldRef.containerName);
          if (!container) throw refuse(`container ${resourceFieldRef.containerName} not found`);
          put(path, resourceValue(container, resourceFieldRef.resource, resourceFieldRef.divisor, { cpu: availableParallelism(), memoryBytes: totalmem() }), mode);
        }
      }
    } else if (source.serviceAccountToken) {
      const { audience = "", expirationSeconds = 3600, path } = source.serviceAccountToken;
      put(path, await tokens.token(audience, expirationSeconds), 0o600);
    } else if (source.clusterTrustBundle) {
      put(source.clusterTrustBundle.path, trustAnchors(source.clusterTrustBundle, await objects.trustBundles()), undefined);
    } else if (source.podCertificate) {
      const { credentialBundlePath, keyPath, certificateChainPath } = source.podCertificate;
      const { keyPem, chainPem } = await certificates.credential(`${volume}/${index}`, source.podCertificate);
      // Keys are for the pod alone, as tokens are.
      if (credentialBundlePath) put(credentialBundlePath, `${keyPem}${chainPem}`, 0o600);
      if (keyPath) put(keyPath, keyPem, 0o600);
      if (certificateChainPath) put(certificateChainPath, chainPem, undefined);
    } else throw refuse(`projected source ${Object.keys(source).join(", ") || "(empty)"} is not supported here`);
  }
  return payload;
}

function* select(data: ReadonlyMap<string, Buffer>, items: Items, optional: boolean, missing: string): Generator<[string, Buffer, number | undefined]> {
  if (!items) {
    for (const [key, value] of data) yield [key, value, undefined];
    return;
  }
  for (const { key, path, mode } of items) {
    const value = data.get(key);
    if (value) yield [path, value, mode];
    else if (!optional) throw refuse(`${missing}: ${key}`);
  }
}

function isSafePath(path: string): boolean {
  return path !== "" && !path.startsWith("/") && path.split("/").every((part) => part !== "" && part !== "." && part !== "..") && !path.startsWith("..");
}
