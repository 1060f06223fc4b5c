import { resources } from "../api/resources.ts";
import type { EventSubject } from "../api/events.ts";
import type { Pod } from "../api/types.ts";
import type { Action, Draft } from "./action.ts";

/**
 * Creates and deletes pods in an owner's name, and tells of it by Events about the owner.
 * Source: k8s.io/kubernetes/pkg/controller/controller_utils.go, RealPodControl.
 */
export function createPod(owner: EventSubject, pod: Draft): Action {
  return {
    do: "create",
    resource: resources.pods,
    object: pod,
    after: (created) => [{ do: "event", about: owner, type: "Normal", reason: "SuccessfulCreate", message: `Created pod: ${created.metadata.name}` }],
    orElse: (error) => [{ do: "event", about: owner, type: "Warning", reason: "FailedCreate", message: `Error creating: ${error.message}` }],
  };
}

export function deletePod(owner: EventSubject, pod: Pod): Action {
  return {
    do: "delete",
    resource: resources.pods,
    object: pod,
    after: () => [{ do: "event", about: owner, type: "Normal", reason: "SuccessfulDelete", message: `Deleted pod: ${pod.metadata.name}` }],
    orElse: (error) => [{ do: "event", about: owner, type: "Warning", reason: "FailedDelete", message: `Error deleting: ${error.message}` }],
  };
}
