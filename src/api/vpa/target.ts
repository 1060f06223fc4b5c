import type { KubeObject, OwnerReference } from "../meta.ts";
import type { Pod } from "../types.ts";
import type { VerticalPodAutoscaler } from "./types.ts";

const wellKnown: ReadonlySet<string> = new Set(["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "CronJob"]);

/** An object by the names of a reference; `scalable`: its kind has a scale subresource. Undefined: it is not there. */
export type FindOwner = (apiVersion: string, kind: string, namespace: string, name: string) => { object: KubeObject; scalable: boolean } | undefined;

export interface Controller {
  apiVersion: string;
  kind: string;
  name: string;
}

const controllerOf = ({ metadata }: Pick<KubeObject, "metadata">): OwnerReference | undefined => metadata.ownerReferences?.find(({ controller }) => controller);

/** The highest owner that can be scaled: who decides of how many such pods there are. Source: target/controller_fetcher. */
export function topController(find: FindOwner, namespace: string, from: Controller): Controller | undefined {
  let top: Controller | undefined;
  const seen = new Set<string>();
  for (let at: Controller | undefined = from; at && !seen.has(`${at.kind}/${at.name}`); ) {
    seen.add(`${at.kind}/${at.name}`);
    const found = find(at.apiVersion, at.kind, namespace, at.name);
    if (!found) break;
    if (wellKnown.has(at.kind) || found.scalable) top = at;
    at = controllerOf(found.object);
  }
  return top;
}

export function controllerOfPod(find: FindOwner, pod: Pod): Controller | undefined {
  const owner = controllerOf(pod as KubeObject);
  return owner && topController(find, pod.metadata.namespace ?? "", owner);
}

/** The one of several that rules a pod: of those that name its controller the oldest. Source: utils/vpa/api.go. */
export function rulingAutoscaler<T extends VerticalPodAutoscaler>(autoscalers: readonly T[], controller: Controller): T | undefined {
  const [first] = autoscalers
    .filter(({ spec: { targetRef } }) => targetRef?.kind === controller.kind && targetRef.name === controller.name)
    .sort((a, b) => Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp) || (a.metadata.name < b.metadata.name ? -1 : 1));
  return first;
}

/** Why a targetRef cannot be followed, in upstream's words; undefined: it can. */
export function targetProblem(find: FindOwner, isServed: (apiVersion: string, kind: string) => boolean, namespace: string, targetRef: VerticalPodAutoscaler["spec"]["targetRef"]): string | undefined {
  if (!targetRef) return "Cannot read targetRef. Reason: targetRef not defined. If this is a v1beta1 object, switch to v1";
  const { apiVersion = "", kind, name } = targetRef;
  const found = find(apiVersion, kind, namespace, name);
  const unhandled = (why: string) => `Cannot read targetRef. Reason: unhandled targetRef ${apiVersion} / ${kind} / ${name}, last error ${why}`;
  if (!found && (wellKnown.has(kind) || isServed(apiVersion, kind))) return wellKnown.has(kind) ? `Cannot read targetRef. Reason: ${kind} ${namespace}/${name} does not exist` : unhandled(`${kind} ${JSON.stringify(name)} not found`);
  if (!found) return unhandled(`no matches for kind ${JSON.stringify(kind)} in group ${JSON.stringify(apiVersion.split("/").slice(0, -1).join("/"))}`);
  if (!wellKnown.has(kind) && !found.scalable) return unhandled("the server could not find the requested resource");
  const top = topController(find, namespace, { apiVersion, kind, name });
  return top?.kind === kind && top.name === name ? undefined : `The target ${apiVersion}.${kind}/${name} has a parent controller but it should point to a topmost well-known or scalable controller`;
}
