import type { Strategy } from "../kind.ts";
import { controllerRevision } from "./apps/controller-revision.ts";
import { daemonSet } from "./apps/daemon-set.ts";
import { deployment } from "./apps/deployment.ts";
import { replicaSet } from "./apps/replica-set.ts";
import { statefulSet } from "./apps/stateful-set.ts";
import type { KindCode } from "./code.ts";
import { pod } from "./core/pod.ts";
import { podTemplate } from "./core/pod-template.ts";
import { replicationController } from "./core/replication-controller.ts";

const of = (group: string, resource: string, strategy: Strategy, rest: Partial<KindCode> = {}): KindCode => ({ group, resource, strategy, ...rest });

/** What code adds to the built-in kinds: one line a kind. Kinds without a line work from their table alone. */
export const strategies: readonly KindCode[] = [
  of("", "pods", pod),
  of("", "podtemplates", podTemplate),
  of("", "replicationcontrollers", replicationController),
  of("apps", "controllerrevisions", controllerRevision),
  of("apps", "daemonsets", daemonSet),
  of("apps", "deployments", deployment),
  of("apps", "replicasets", replicaSet),
  of("apps", "statefulsets", statefulSet),
];
