import type { Client } from "../../api/client.ts";
import { keyOf, splitKey } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import { timeText } from "../../api/scalars.ts";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { LatestWriter } from "../latest-writer.ts";
import type { IstioCondition, IstioStatus, ValidationMessage } from "../../api/istio/kinds.ts";
import { analyses, type Report } from "./report.ts";
import { watched, type WatchedWorld } from "./world.ts";

/**
 * `Reconciled` and `PassedAnalysis` as istiod has them, with the text of what was found, for which Istio's messages have no
 * place; and one of ours: whether every field is honoured.
 */
export function statusOf({ found, fields, places }: Report): Required<Pick<IstioStatus, "conditions" | "validationMessages">> {
  const conditions: IstioCondition[] = [
    places.size > 0 ? { type: "Reconciled", status: "True", reason: "Reconciled", message: `in force at ${[...places].join(", ")}` } : { type: "Reconciled", status: "False", reason: "NotInForce", message: "in force nowhere" },
    found.size === 0 ? { type: "PassedAnalysis", status: "True", reason: "NoMessages", message: "nothing is wrong" } : { type: "PassedAnalysis", status: "False", reason: "MessagesFound", message: [...found].map(([message, code]) => `${code}: ${message}`).join("; ") },
    fields.size === 0 ? { type: "Honoured", status: "True", reason: "AllFields", message: "every field is honoured" } : { type: "Honoured", status: "False", reason: "FieldsNotHonoured", message: [...fields].join("; ") },
  ];
  const codes = [...new Set(found.values())];
  const validationMessages: ValidationMessage[] = codes.map((code) => ({ type: { name: analyses[code].name, code }, level: analyses[code].level, documentationUrl: `https://istio.io/latest/docs/reference/config/analysis/${code.toLowerCase()}/` }));
  return { conditions, validationMessages };
}

/** Brings statuses to what the translation says. */
export class IstioStatusWriter {
  readonly #writer: LatestWriter<{ object: KubeObject; report: Report }>;

  constructor({ client, world, clock, log }: { client: Client; world: Pick<WatchedWorld, "object">; clock: Clock; log: Log }) {
    this.#writer = new LatestWriter({
      clock,
      log,
      write: async (_id, { object: { kind, metadata }, report }) => {
        const key = keyOf({ metadata } as KubeObject);
        const object = world.object(kind, key);
        if (!object) return;
        const now = timeText(clock.now());
        const next = withTimes(statusOf(report), object, now);
        if (isSame(next, object["status"])) return;
        const { namespace, name } = splitKey(key);
        await client.update(watched[kind]!, namespace, name, { ...object, status: next }, { subresource: "status", fieldManager: "wherry-istio" });
      },
    });
  }

  want(object: KubeObject, report: Report): void {
    this.#writer.want(`${object.kind}/${keyOf(object)}`, { object, report });
  }
  stop(): Promise<void> {
    return this.#writer.stop();
  }
}

/** Conditions of others stay; the time of the last transition stays where the status stayed. */
function withTimes({ conditions, validationMessages }: ReturnType<typeof statusOf>, { metadata, status }: KubeObject, now: string): IstioStatus {
  const old = ((status as IstioStatus | undefined)?.conditions ?? []) as IstioCondition[];
  const own = conditions.map((wanted) => {
    const before = old.find(({ type }) => type === wanted.type);
    return { ...wanted, observedGeneration: metadata.generation, lastTransitionTime: before?.status === wanted.status && before.lastTransitionTime ? before.lastTransitionTime : now };
  });
  const others = old.filter(({ type }) => !own.some((wanted) => wanted.type === type));
  return { ...status, conditions: [...others, ...own], ...(validationMessages.length > 0 ? { validationMessages } : { validationMessages: undefined }), observedGeneration: metadata.generation as number };
}

/** Regardless of the order of fields, in which the API server keeps them. */
function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined).sort(([a], [b]) => (a < b ? -1 : 1)).map(([field, inner]) => [field, sorted(inner)]));
}
