import type { DestinationRule, TrafficPolicy } from "../../../api/istio/kinds.ts";
import { domainProblems, exportToProblems, subsetNameProblems } from "./common.ts";

export function destinationRuleProblems({ host, trafficPolicy, subsets = [], exportTo }: DestinationRule["spec"]): string[] {
  return [
    ...domainProblems(host),
    ...policyProblems(trafficPolicy),
    ...subsets.flatMap(({ name, trafficPolicy: own }) => [...subsetNameProblems(name), ...policyProblems(own)]),
    ...exportToProblems(exportTo),
  ];
}

function* policyProblems(policy: TrafficPolicy | undefined): Generator<string> {
  if (!policy) return;
  const { outlierDetection, connectionPool, loadBalancer, tls, portLevelSettings = [], tunnel, proxyProtocol, retryBudget } = policy;
  if (!outlierDetection && !connectionPool && !loadBalancer && !tls && portLevelSettings.length === 0 && !tunnel && !proxyProtocol && !retryBudget) yield "traffic policy must have at least one field";
  yield* partProblems(policy);
  for (const settings of portLevelSettings) {
    if (!settings.outlierDetection && !settings.connectionPool && !settings.loadBalancer && !settings.tls) yield "port traffic policy must have at least one field";
    yield* partProblems(settings);
  }
}

function* partProblems({ outlierDetection: outlier, connectionPool, loadBalancer, tls }: Pick<TrafficPolicy, "outlierDetection" | "connectionPool" | "loadBalancer" | "tls">): Generator<string> {
  if (outlier) {
    if ((outlier.maxEjectionPercent ?? 0) < 0 || (outlier.maxEjectionPercent ?? 0) > 100) yield `percentage ${outlier.maxEjectionPercent} is not in range 0..100`;
    if ((outlier.minHealthPercent ?? 0) < 0 || (outlier.minHealthPercent ?? 0) > 100) yield `percentage ${outlier.minHealthPercent} is not in range 0..100`;
  }
  if (connectionPool) {
    const { tcp, http } = connectionPool;
    if (!tcp && !http) yield "connection pool must have at least one field";
    if ((http?.http1MaxPendingRequests ?? 0) < 0) yield "http1 max pending requests must be non-negative";
    if ((http?.http2MaxRequests ?? 0) < 0) yield "http2 max requests must be non-negative";
    if ((http?.maxRequestsPerConnection ?? 0) < 0) yield "max requests per connection must be non-negative";
    if ((http?.maxRetries ?? 0) < 0) yield "max retries must be non-negative";
    if ((tcp?.maxConnections ?? 0) < 0) yield "max connections must be non-negative";
  }
  const cookie = loadBalancer?.consistentHash?.httpCookie;
  if (cookie && !cookie.name) yield "name required for HttpCookie";
  if (tls?.mode === "MUTUAL" && !tls.credentialName) {
    if (!tls.clientCertificate) yield "client certificate required for mutual tls";
    if (!tls.privateKey) yield "private key required for mutual tls";
  }
  if (tls?.credentialName && (tls.clientCertificate || tls.caCertificates || tls.privateKey)) yield "cannot specify client certificates or CA certificate If credentialName is set";
}
