import { badRequestError, conflictError, invalidError } from "../../api/status.ts";
import { notSupported, required } from "../../api/field.ts";
import type { Kind } from "../../api/kind.ts";
import { timestamp } from "../../api/meta.ts";
import type { RestDependencies, WriteContext } from "./context.ts";
import { admitSubresource } from "./subresource-admission.ts";
import { rewrite } from "./update.ts";

interface PodLike {
  spec: { nodeName?: string; schedulingGates?: object[] };
  status?: { phase?: string; conditions?: { type: string; status: string; lastTransitionTime?: string }[] };
}

interface Binding {
  target?: { kind?: string; name?: string };
  metadata?: { name?: string; uid?: string; annotations?: Record<string, string> };
}

/** POST pods/NAME/binding: the scheduler's word, at most once. Source: pkg/registry/core/pod/storage. */
export async function bind(dependencies: RestDependencies, pods: Kind, namespace: string, name: string, body: unknown, context: WriteContext): Promise<object> {
  const binding = await admitSubresource<Binding>(dependencies, pods, "binding", { group: "", version: "v1", kind: "Binding" }, namespace, name, body as object, context);
  if ((binding.metadata?.name ?? "") !== name) throw badRequestError("name in URL does not match name in Binding object");
  const { kind } = binding.target ?? {};
  if (kind && kind !== "Node") throw invalidError({ group: "", kind: "Binding" }, name, [notSupported("target.kind", kind, ["Node", "<empty>"])]);
  if (!binding.target?.name) throw invalidError({ group: "", kind: "Binding" }, name, [required("target.name")]);
  const node = binding.target.name;
  const part = { group: "", resource: "pods/binding" };
  await rewrite(dependencies, pods, namespace, name, context.dryRun, (old) => {
    const { spec, status } = old as unknown as PodLike;
    if (binding.metadata?.uid && binding.metadata.uid !== old.metadata.uid) throw conflictError(pods, name, `Precondition failed: UID in precondition: ${binding.metadata.uid}, UID in object meta: ${old.metadata.uid}`);
    if (old.metadata.deletionTimestamp) throw conflictError(part, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    if (spec.nodeName) throw conflictError(part, name, `pod ${name} is already assigned to node ${JSON.stringify(spec.nodeName)}`);
    if ((spec.schedulingGates ?? []).length > 0) throw conflictError(part, name, `pod ${name} has non-empty .spec.schedulingGates`);
    const annotations = { ...old.metadata.annotations, ...binding.metadata?.annotations };
    const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: timestamp(dependencies.clock.now()) };
    return { ...old, metadata: { ...old.metadata, ...(Object.keys(annotations).length > 0 && { annotations }) }, spec: { ...spec, nodeName: node }, status: { ...status, conditions: [...(status?.conditions ?? []).filter(({ type }) => type !== "PodScheduled"), scheduled] } };
  });
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}
