import { type ApiObject, type ApiStage, routeNameOf } from "../../api/product/kinds.ts";
import type { World } from "../gateway/world.ts";
import type { Operation } from "./operations.ts";
import { liveDeployment, operationsOf } from "./stage-route.ts";

/** Operations of a message; there may be hundreds. */
const namedMax = 3;

/** Whether requests could mean either: at one Gateway's listener, for the same host name. */
function doMeet(a: ApiStage, aNamespace: string, b: ApiStage, bNamespace: string): boolean {
  const hosts = (stage: ApiStage): readonly string[] => (stage.hostnames?.length ? stage.hostnames : ["*"]);
  // A canary is meant to be in somebody's way.
  return (
    !a.canary &&
    !b.canary &&
    hosts(a).some((host) => hosts(b).includes(host)) &&
    JSON.stringify(a.headers ?? []) === JSON.stringify(b.headers ?? []) &&
    a.parentRefs.some((one) => b.parentRefs.some((other) => one.name === other.name && (one.namespace ?? aNamespace) === (other.namespace ?? bNamespace) && isSame(one.sectionName, other.sectionName) && isSame(one.port, other.port)))
  );
}
const isSame = <T>(a: T | undefined, b: T | undefined): boolean => a === undefined || b === undefined || a === b;

/** Whether what one says may change what is to be said of the other. */
export const mayBeRivals = (a: ApiObject, b: ApiObject): boolean => (a.spec.stages ?? []).some((one) => (b.spec.stages ?? []).some((other) => doMeet(one, a.metadata.namespace!, other, b.metadata.namespace!)));

/** What another stage answers in this one's place; Gateway API gives it to the route that is older, and then by its name. */
export function rivalOf(world: World, api: ApiObject, stage: ApiStage, operations: readonly Operation[]): string | undefined {
  const { namespace, name } = api.metadata;
  const keyOf = (of: ApiObject, at: ApiStage): string => `${of.metadata.namespace}/${routeNameOf(of.metadata.name, at.name)}`;
  const own = keyOf(api, stage);
  const since = (key: string): string | undefined => world.route("HTTPRoute", key)?.metadata.creationTimestamp;
  const ownSince = since(own);
  if (ownSince === undefined) return undefined;
  const signs = ({ matches, isOther }: Operation): string[] => (isOther ? [] : matches.map(({ method = "*", path }) => `${method} ${path.type} ${path.value}`));
  for (const other of world.apis()) {
    for (const at of other.spec.stages ?? []) {
      const key = keyOf(other, at);
      const otherSince = since(key);
      if (key === own || otherSince === undefined || !doMeet(stage, namespace!, at, other.metadata.namespace!)) continue;
      if (!(otherSince < ownSince || (otherSince === ownSince && key < own))) continue;
      const theirs = new Set(operationsOf(other, at, liveDeployment(at, world.deployments(`${other.metadata.namespace}/${other.metadata.name}`))).operations.flatMap(signs));
      const lost = operations.filter((operation) => signs(operation).some((sign) => theirs.has(sign))).map(({ id }) => id);
      if (lost.length === 0) continue;
      const whose = other === api || (other.metadata.name === name && other.metadata.namespace === namespace) ? `stage ${at.name}` : `stage ${at.name} of API ${other.metadata.namespace}/${other.metadata.name}`;
      return `${whose} has the same addresses, and is older: it answers ${lost.slice(0, namedMax).join(", ")}${lost.length > namedMax ? ` and ${lost.length - namedMax} more` : ""}`;
    }
  }
  return undefined;
}
