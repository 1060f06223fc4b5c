import type { Condition, ObjectMeta } from "../../api/meta.ts";
import type { LabelSelector } from "../../api/validation/selector.ts";

/** autoscaling/v2 as it is stored, after defaults. */
export interface HorizontalPodAutoscaler {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec: {
    scaleTargetRef: Reference;
    minReplicas?: number;
    maxReplicas: number;
    metrics?: MetricSpec[];
    behavior?: { scaleUp?: ScalingRules; scaleDown?: ScalingRules };
  };
  status?: HpaStatus;
}
export interface HpaStatus {
  observedGeneration?: number;
  lastScaleTime?: string;
  currentReplicas?: number;
  desiredReplicas: number;
  currentMetrics: MetricStatus[] | null;
  conditions?: Condition[];
}
export interface Reference {
  apiVersion?: string;
  kind: string;
  name: string;
}
export interface ScalingRules {
  stabilizationWindowSeconds?: number;
  selectPolicy?: "Max" | "Min" | "Disabled";
  policies?: { type: "Pods" | "Percent"; value: number; periodSeconds: number }[];
  /** A quantity: "0.05". */
  tolerance?: string | number;
}
export interface MetricTarget {
  type: "Utilization" | "Value" | "AverageValue";
  value?: string;
  averageValue?: string;
  averageUtilization?: number;
}
export interface MetricName {
  name: string;
  selector?: LabelSelector;
}
export interface MetricSpec {
  type: "Resource" | "ContainerResource" | "Pods" | "Object" | "External";
  resource?: { name: string; target: MetricTarget };
  containerResource?: { name: string; container: string; target: MetricTarget };
  pods?: { metric: MetricName; target: MetricTarget };
  object?: { metric: MetricName; target: MetricTarget; describedObject: Reference };
  external?: { metric: MetricName; target: MetricTarget };
}
/** "resource" → { name, current: { averageUtilization, … } }. */
export type MetricStatus = { type: MetricSpec["type"] } & Record<string, unknown>;
