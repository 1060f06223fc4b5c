import { randomUUID } from "node:crypto";
import { ConversionPending, type ConvertObjects } from "../../api/crd/conversion.ts";
import type { ClientConfig, CustomResourceDefinition } from "../../api/crd/definition.ts";
import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import { internalError } from "../../api/status.ts";
import type { Store } from "../../store/store.ts";
import { prefixOf } from "../rest/keys.ts";
import { type CallWebhook, WebhookCallError, WebhookConfigError } from "../webhooks/call.ts";

const timeoutSeconds = 30;

interface ConversionResponse {
  response?: { uid?: string; convertedObjects?: KubeObject[]; result?: { status?: string; message?: string } };
}

/** Asks the definition's webhook. Source: k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go. */
export function webhookConversion({ metadata, spec }: CustomResourceDefinition, call: CallWebhook): ConvertObjects {
  const clientConfig = spec.conversion!.webhook!.clientConfig as ClientConfig;
  return async (objects, apiVersion) => {
    const [first] = objects;
    const failed = (why: string) => internalError(`conversion webhook for ${first!.apiVersion}, Kind=${first!.kind} failed: ${why}`);
    const uid = randomUUID();
    let answer: ConversionResponse;
    try {
      const review = { kind: "ConversionReview", apiVersion: "apiextensions.k8s.io/v1", request: { uid, desiredAPIVersion: apiVersion, objects }, response: { uid: "", convertedObjects: null, result: { metadata: {} } } };
      answer = (await call(clientConfig, review, { timeoutSeconds, purpose: `conversion webhook of ${metadata.name}` })) as ConversionResponse;
    } catch (error) {
      if (error instanceof WebhookCallError || error instanceof WebhookConfigError) throw failed(error.message);
      throw error;
    }
    const { response } = answer ?? {};
    if (!response) throw failed("invalid response: no response");
    if (response.uid !== uid) throw failed(`invalid response: expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? "")}`);
    if (response.result?.status !== "Success") throw failed(response.result?.message || `expected response.result.status to be 'Success'`);
    const converted = response.convertedObjects ?? [];
    if (converted.length !== objects.length) throw failed(`webhook returned ${converted.length} objects, expected ${objects.length}`);
    return objects.map((original, index) => {
      const object = converted[index]!;
      if (object.apiVersion !== apiVersion) throw failed(`invalid converted object at index ${index}: invalid groupVersion (expected ${apiVersion}, received ${object.apiVersion})`);
      if (object.kind !== original.kind) throw failed(`invalid converted object at index ${index}: invalid kind (expected ${original.kind}, received ${object.kind})`);
      for (const field of ["name", "namespace", "uid"] as const) if (object.metadata?.[field] !== original.metadata[field]) throw failed(`invalid metadata of converted object at index ${index}: ${field} must not change`);
      // Labels and annotations are all that a webhook may change of the metadata.
      const { labels: _, annotations: __, ...kept } = original.metadata;
      const { labels, annotations } = object.metadata;
      return { ...object, metadata: { ...kept, ...(labels && { labels }), ...(annotations && { annotations }) } };
    });
  };
}

const attemptsMax = 10;

/** Runs what reads objects, and again when they had to be converted first. What it throws then, it threw before it wrote. */
export async function withConversions<T>(store: Store, kind: Kind, run: () => T | Promise<T>): Promise<T> {
  if (!kind.custom?.conversions) return run();
  // Held until all is done: a conversion is known by the object, which must not be parsed anew.
  const held = new Set<KubeObject>();
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof ConversionPending) || attempt > attemptsMax) throw error;
      for (const object of [error.object, ...store.range(prefixOf(kind)).map((entry) => entry.object as KubeObject)]) held.add(object);
      await error.conversions.settle([...held], error.apiVersion);
    }
  }
}
