/**
 * Endpoints are asked whether they are well, besides what requests teach (see `Outlier`). By one process for all workers, and as the
 * workers would call them: TLS and HTTP/2 where the upstream has them. Source for the rules: Envoy, "Health checking".
 */
export interface HealthCheck {
  ask: HttpAsk | TcpAsk | GrpcAsk;
  /** From the end of one check to the next. */
  intervalMs: number;
  timeoutMs: number;
  /** The first check of an endpoint waits up to so long. */
  initialJitterMs?: number;
  /** Checks in a row without an answer, or with one of `retriable`; any other wrong answer decides at once. */
  unhealthyThreshold: number;
  /** Good ones in a row; of an endpoint that was never checked before the first decides. */
  healthyThreshold: number;
  /** Asked instead of the port that is called. */
  port?: number;
}

export interface HttpAsk {
  type: "http";
  method: string;
  /** With its query. */
  path: string;
  /** The endpoint's own address unless said. */
  host?: string;
  /** Those that are well. */
  statuses: number[];
  /** Those that are not, and decide by themselves as little as silence does. */
  retriable?: number[];
  /** In base64. */
  body?: string;
  /** In base64: what the answer's body must contain. */
  expect?: string;
}
/** A connection; `send` and `expect` in base64. */
export interface TcpAsk {
  type: "tcp";
  send?: string;
  expect?: string;
}
/** grpc.health.v1.Health/Check. */
export interface GrpcAsk {
  type: "grpc";
  service: string;
}

/** Refuses by chance while too few of the last requests have succeeded. */
export interface AdmissionFilter {
  type: "admission";
  /** Over which requests are counted. */
  windowMs: number;
  /** None is refused while so many succeed. */
  successPercent: number;
  /** 1: refusals grow in a line with failures; above that faster at first. */
  aggression: number;
  /** Below so many requests none is refused. */
  minPerSecond: number;
  rejectionPercentMax: number;
  /** Successes; below 500 unless said. */
  statuses?: number[];
  /** gRPC's: all but those that say that the service is in trouble, unless said. */
  grpcStatuses?: number[];
}

/** What is known of an endpoint of an upstream with a check. */
export interface Health {
  /** Of the upstream. */
  upstream: string;
  /** "ip:port" of the endpoint as it is called. */
  key: string;
  /** null: it is gone, or was not checked yet. */
  isWell: boolean | null;
}
/** The same for people. */
export interface HealthReport extends Health {
  /** Why it is as it is: of the last check. */
  reason: string;
  /** Seconds since the epoch when it became so. */
  since: number;
}

/** Where reports are for people, in the system's namespace: `endpoints` is their JSON. */
export const healthConfigMap = "wherry-health";
/** A ConfigMap has a megabyte. */
export const healthReportsMax = 2_000;
