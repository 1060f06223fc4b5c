import { keyOf } from "../../api/informer.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { TrafficSnapshot } from "../../api/traffic.ts";
import { Translator } from "../istio/translate.ts";
import { ObjectWorld } from "../istio/world.ts";

/** Those of which no route is expected to say anything. */
const silent = ["ServiceEntry", "Telemetry"];

/** What Istio's objects come to, and what their authors are told. */
export function istioTraffic(objects: readonly KubeObject[]): { snapshot: TrafficSnapshot; notes: string[] } {
  const translator = new Translator(new ObjectWorld(objects));
  const { told } = translator.flush();
  const notes = told.filter(({ object }) => !silent.includes(object.kind)).flatMap(({ object, report }) => [...[...report.found].map(([message, code]) => `${code}: ${message}`), ...report.fields].map((text) => `  ${object.kind}/${keyOf(object)}: ${text}`));
  return { snapshot: translator.snapshot(), notes };
}
