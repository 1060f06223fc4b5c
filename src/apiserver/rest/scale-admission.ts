import { Admission, type AdmissionRequest } from "./context.ts";
import type { KubeObject } from "../../api/meta.ts";
import { replicasOf, scaleOf, setReplicas } from "./scale.ts";

/** Admission of a write to /scale: steps see the Scale that is written, and not the object behind it. */
export class ScaleAdmission extends Admission {
  readonly #inner: Admission;
  constructor(inner: Admission) {
    super([]);
    this.#inner = inner;
  }
  override async mutate(request: AdmissionRequest): Promise<void> {
    const scale = JSON.parse(JSON.stringify(scaleOf(request.kind, request.object!))) as KubeObject;
    await this.#inner.mutate(asScale(request, scale));
    const replicas = (scale["spec"] as { replicas?: number } | undefined)?.replicas ?? 0;
    if (replicas !== replicasOf(request.kind, request.object!)) setReplicas(request.kind, request.object!, replicas);
  }
  override validate(request: AdmissionRequest): Promise<void> {
    return this.#inner.validate(asScale(request, scaleOf(request.kind, request.object!)));
  }
}

const asScale = (request: AdmissionRequest, object: KubeObject): AdmissionRequest => ({ ...request, subresource: "scale", objectKind: { group: "autoscaling", version: "v1", kind: "Scale" }, object, old: scaleOf(request.kind, request.old!) });
