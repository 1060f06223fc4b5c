import type { Condition, GroupVersionResource, ObjectMeta } from "../meta.ts";

/** autoscaling.k8s.io/v1, as kubernetes/autoscaler defines it. */
export const vpaGroup = "autoscaling.k8s.io";
export const verticalPodAutoscalers: GroupVersionResource = { group: vpaGroup, version: "v1", resource: "verticalpodautoscalers" };
export const verticalPodAutoscalerCheckpoints: GroupVersionResource = { group: vpaGroup, version: "v1", resource: "verticalpodautoscalercheckpoints" };

export type UpdateMode = "Off" | "Initial" | "Recreate" | "InPlaceOrRecreate" | "Auto";
export type ResourceName = "cpu" | "memory";
export const resourceNames = ["cpu", "memory"] as const;
/** As quantities. */
export type Amounts = Record<string, string | number>;

export interface VerticalPodAutoscaler {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: {
    targetRef?: { apiVersion?: string; kind: string; name: string };
    updatePolicy?: { updateMode?: UpdateMode; minReplicas?: number; evictionRequirements?: EvictionRequirement[] };
    resourcePolicy?: { containerPolicies?: ContainerPolicy[] };
    recommenders?: { name: string }[];
  };
  status?: VpaStatus;
}
export interface VpaStatus {
  recommendation?: { containerRecommendations?: ContainerRecommendation[] };
  conditions?: Condition[];
}
export interface ContainerPolicy {
  /** "*": of all containers without one of their own. */
  containerName?: string;
  mode?: "Auto" | "Off";
  minAllowed?: Amounts;
  maxAllowed?: Amounts;
  controlledResources?: string[];
  controlledValues?: "RequestsAndLimits" | "RequestsOnly";
}
export interface ContainerRecommendation {
  containerName?: string;
  target: Amounts;
  lowerBound?: Amounts;
  upperBound?: Amounts;
  uncappedTarget?: Amounts;
}
export interface EvictionRequirement {
  resources: string[];
  changeRequirement: "TargetHigherThanRequests" | "TargetLowerThanRequests";
}

export interface HistogramCheckpoint {
  /** RFC 3339, or null before the first sample. */
  referenceTimestamp?: string | null;
  /** By number of the bucket: at most 10,000, relative to the heaviest. */
  bucketWeights?: Record<string, number>;
  totalWeight?: number;
}
export interface VerticalPodAutoscalerCheckpoint {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec?: { vpaObjectName?: string; containerName?: string };
  status?: {
    version?: string;
    lastUpdateTime?: string | null;
    firstSampleStart?: string | null;
    lastSampleStart?: string | null;
    totalSamplesCount?: number;
    cpuHistogram?: HistogramCheckpoint;
    memoryHistogram?: HistogramCheckpoint;
  };
}

export const modeOf = ({ spec }: VerticalPodAutoscaler): UpdateMode => spec.updatePolicy?.updateMode || "Auto";

export function policyOf({ spec }: VerticalPodAutoscaler, container: string): ContainerPolicy | undefined {
  const policies = spec.resourcePolicy?.containerPolicies ?? [];
  return policies.find(({ containerName }) => containerName === container) ?? policies.find(({ containerName }) => containerName === "*");
}
