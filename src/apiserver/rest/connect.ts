import type { Kind } from "../../api/kind.ts";
import type { KubeObject } from "../../api/meta.ts";
import type { AdmissionRequest, Identity, RestDependencies } from "./context.ts";

const kinds: Readonly<Record<string, string>> = { "pods/exec": "PodExecOptions", "pods/attach": "PodAttachOptions", "pods/portforward": "PodPortForwardOptions", "pods/proxy": "PodProxyOptions", "services/proxy": "ServiceProxyOptions" };

/** Admission of a stream to a pod or of a request that is passed on to it, before anything of it is reached: webhooks see what was asked for as an object. Source: k8s.io/apiserver/pkg/endpoints/handlers/rest.go, ConnectResource. */
export async function admitConnect({ admission }: Pick<RestDependencies, "admission">, kind: Kind, namespace: string | undefined, name: string, subresource: string, query: URLSearchParams, user: Identity, annotations?: Record<string, string>): Promise<void> {
  const of = kinds[`${kind.resource}/${subresource}`];
  if (of === undefined) return;
  const object = { kind: of, apiVersion: "v1", ...optionsOf(subresource, query) } as unknown as KubeObject;
  const request: AdmissionRequest = { operation: "CONNECT", kind, subresource, objectKind: { group: "", version: "v1", kind: of }, namespace, name, user, dryRun: false, warnings: [], ...(annotations && { annotations }), object, old: undefined };
  await admission.mutate(request);
  await admission.validate(request);
}

function optionsOf(subresource: string, query: URLSearchParams): object {
  if (subresource === "proxy") return { path: query.get("path") ?? "" };
  if (subresource === "portforward") {
    const ports = query.getAll("ports").flatMap((list) => list.split(",").map(Number));
    return ports.length > 0 ? { ports } : {};
  }
  const flags = ["stdin", "stdout", "stderr", "tty"].filter((flag) => query.get(flag) === "true" || query.get(flag) === "1");
  const command = query.getAll("command");
  return { ...Object.fromEntries(flags.map((flag) => [flag, true])), ...(query.get("container") && { container: query.get("container") }), ...(command.length > 0 && { command }) };
}
