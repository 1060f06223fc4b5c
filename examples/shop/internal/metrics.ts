/** The four metrics of every service, each with the constant label `service`, in Prometheus' text format. */
export class Metrics {
  readonly #service: string;
  #requests = 0;
  #errors = 0;
  #active = 0;
  #durationSum = 0;
  readonly #buckets = buckets.map(() => 0);

  constructor(service: string) {
    this.#service = service;
  }

  begin(): void {
    this.#active++;
  }

  /** A request that ended: answered, or given up by the client. */
  end(status: number, seconds: number): void {
    this.#active--;
    this.#requests++;
    if (status >= 400) this.#errors++;
    this.#durationSum += seconds;
    const bucket = buckets.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) this.#buckets[bucket]!++;
  }

  render(): string {
    const label = `service="${this.#service}"`;
    const lines: string[] = [];
    const metric = (name: string, type: string, help: string) => lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    metric("http_requests_total", "counter", "Total number of HTTP requests");
    lines.push(`http_requests_total{${label}} ${this.#requests}`);
    metric("http_request_duration_seconds", "histogram", "HTTP request duration in seconds");
    let cumulative = 0;
    for (const [i, bound] of buckets.entries()) lines.push(`http_request_duration_seconds_bucket{${label},le="${bound}"} ${(cumulative += this.#buckets[i]!)}`);
    lines.push(`http_request_duration_seconds_bucket{${label},le="+Inf"} ${this.#requests}`);
    lines.push(`http_request_duration_seconds_sum{${label}} ${this.#durationSum}`, `http_request_duration_seconds_count{${label}} ${this.#requests}`);
    metric("http_errors_total", "counter", "Total number of HTTP errors");
    lines.push(`http_errors_total{${label}} ${this.#errors}`);
    metric("active_connections", "gauge", "Number of active connections");
    lines.push(`active_connections{${label}} ${this.#active}`);
    return `${lines.join("\n")}\n`;
  }
}

/** prometheus.DefBuckets. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
