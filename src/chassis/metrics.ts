/**
 * Counters, gauges and histograms, told in Prometheus' text format, or in OpenMetrics with exemplars when that is asked for.
 * What is told often is prepared once: `counter.labels("GET", "/users")` gives a cell, and `cell.add()` is an addition.
 *
 * Source: https://prometheus.io/docs/instrumenting/exposition_formats/, https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
export interface MetricOptions<L extends string> {
  name: string;
  help: string;
  labels?: readonly L[];
}
export interface HistogramOptions<L extends string> extends MetricOptions<L> {
  /** Upper bounds, ascending; +Inf is added. */
  buckets?: readonly number[];
}

/** Those of OpenTelemetry's `http.server.request.duration`, in seconds. */
export const secondsBuckets: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** More label values than this in one metric are counted under "other": what clients choose must not fill the memory. */
const seriesMax = 2_000;

export interface CounterCell {
  add(by?: number): void;
  readonly value: number;
}
export interface GaugeCell {
  set(value: number): void;
  add(by?: number): void;
  readonly value: number;
}
export interface HistogramCell {
  /** `traceId`: kept as the exemplar of its bucket. */
  observe(value: number, traceId?: string): void;
  readonly count: number;
  readonly sum: number;
}

interface Rendered {
  render(isOpen: boolean): string;
}

/** All metrics of one service. */
export class Metrics {
  readonly #metrics = new Map<string, Rendered>();
  /** Before each telling: for what is read rather than counted. */
  readonly #refresh: (() => void)[] = [];
  readonly #constant: string;

  /** `constant`: labels of every series. */
  constructor(constant: Readonly<Record<string, string>> = {}) {
    for (const name of Object.keys(constant)) checkName(name, "label");
    this.#constant = Object.entries(constant).map(([name, value]) => `${name}="${escaped(value)}"`).join(",");
  }

  counter<const L extends string = never>(options: MetricOptions<L>): Family<CounterCell, L> {
    if (!options.name.endsWith("_total")) throw new Error(`metric ${options.name}: names of counters end in "_total"`);
    return this.#add(options, "counter", () => new Value());
  }

  gauge<const L extends string = never>(options: MetricOptions<L>): Family<GaugeCell, L> {
    return this.#add(options, "gauge", () => new Value());
  }

  histogram<const L extends string = never>({ buckets = secondsBuckets, ...options }: HistogramOptions<L>): Family<HistogramCell, L> {
    if (buckets.some((bound, index) => !Number.isFinite(bound) || (index > 0 && bound <= buckets[index - 1]!))) throw new Error(`metric ${options.name}: buckets must be finite and ascending`);
    const texts = [...buckets.map(number), "+Inf"];
    return this.#add(options, "histogram", () => new Histogram(buckets, texts));
  }

  /** Runs before each telling; sets gauges whose values are read. */
  onCollect(refresh: () => void): void {
    this.#refresh.push(refresh);
  }

  /** Prometheus' text format 0.0.4, or OpenMetrics 1.0. */
  render(format: "prometheus" | "openmetrics" = "prometheus"): string {
    for (const refresh of this.#refresh) refresh();
    let text = "";
    for (const metric of this.#metrics.values()) text += metric.render(format === "openmetrics");
    return format === "openmetrics" ? `${text}# EOF\n` : text;
  }

  #add<C extends CounterCell | GaugeCell | HistogramCell, L extends string>({ name, help, labels = [] }: MetricOptions<L>, type: "counter" | "gauge" | "histogram", make: () => Cell): Family<C, L> {
    checkName(name, "metric");
    for (const label of labels) checkName(label, "label");
    if (this.#metrics.has(name)) throw new Error(`metric ${name} is there already`);
    const family = new Family<C, L>(name, help, type, labels, this.#constant, make);
    this.#metrics.set(name, family);
    return family;
  }
}

/** What the request's Accept header asks for, with the content type that belongs to it. */
export function metricsFormat(accept: string | undefined): { format: "prometheus" | "openmetrics"; contentType: string } {
  if (accept?.includes("application/openmetrics-text")) return { format: "openmetrics", contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8" };
  return { format: "prometheus", contentType: "text/plain; version=0.0.4; charset=utf-8" };
}

/** One metric with all its series. */
export class Family<C, L extends string> implements Rendered {
  readonly name: string;
  readonly #head: readonly [string, string];
  readonly #labels: readonly L[];
  readonly #constant: string;
  readonly #make: () => Cell;
  readonly #cells = new Map<string, { cell: Cell; labels: string }>();
  readonly #type: string;

  constructor(name: string, help: string, type: string, labels: readonly L[], constant: string, make: () => Cell) {
    this.name = name;
    // OpenMetrics names the family, and its samples end in _total.
    const family = type === "counter" ? name.replace(/_total$/, "") : name;
    const text = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    this.#head = [`# HELP ${name} ${text}\n# TYPE ${name} ${type}\n`, `# HELP ${family} ${text.replaceAll('"', '\\"')}\n# TYPE ${family} ${type}\n`];
    this.#type = type;
    this.#labels = labels;
    this.#constant = constant;
    this.#make = make;
    // A metric without labels is there from the beginning, as 0.
    if (labels.length === 0) this.labels();
  }

  /** The series of these values, in the order of the labels. */
  labels(...values: string[]): C {
    if (values.length !== this.#labels.length) throw new Error(`metric ${this.name} has ${this.#labels.length} labels (${this.#labels.join(", ")}), not ${values.length}`);
    let key = values.length === 1 ? values[0]! : values.join("\0");
    let known = this.#cells.get(key);
    if (!known) {
      if (this.#cells.size >= seriesMax) {
        values = values.map(() => "other");
        key = values.join("\0");
        known = this.#cells.get(key);
      }
      if (!known) this.#cells.set(key, (known = { cell: this.#make(), labels: this.#labelText(values) }));
    }
    return known.cell as C;
  }

  /** Of metrics without labels. */
  get only(): C {
    return this.labels();
  }

  render(isOpen: boolean): string {
    let text = this.#head[isOpen ? 1 : 0];
    for (const { cell, labels } of this.#cells.values()) text += cell.render(this.name, labels, isOpen && this.#type === "histogram");
    return text;
  }

  #labelText(values: string[]): string {
    const own = this.#labels.map((label, index) => `${label}="${escaped(values[index]!)}"`).join(",");
    return this.#constant === "" ? own : own === "" ? this.#constant : `${this.#constant},${own}`;
  }
}

interface Cell {
  render(name: string, labels: string, withExemplars: boolean): string;
}

class Value implements Cell, CounterCell, GaugeCell {
  value = 0;
  add(by = 1): void {
    this.value += by;
  }
  set(value: number): void {
    this.value = value;
  }
  render(name: string, labels: string): string {
    return `${name}${labels === "" ? "" : `{${labels}}`} ${number(this.value)}\n`;
  }
}

class Histogram implements Cell, HistogramCell {
  sum = 0;
  count = 0;
  readonly #bounds: readonly number[];
  readonly #boundTexts: readonly string[];
  readonly #counts: Float64Array;
  /** Of each bucket the last that had a trace. */
  #exemplars: ({ traceId: string; value: number; atMs: number } | undefined)[] | undefined;

  constructor(bounds: readonly number[], boundTexts: readonly string[]) {
    this.#bounds = bounds;
    this.#boundTexts = boundTexts;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number, traceId?: string): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.#counts[bucket]!++;
    this.sum += value;
    this.count++;
    if (traceId === undefined) return;
    const exemplars = (this.#exemplars ??= []);
    const kept = exemplars[bucket];
    if (kept) {
      kept.traceId = traceId;
      kept.value = value;
      kept.atMs = performance.timeOrigin + performance.now();
    } else exemplars[bucket] = { traceId, value, atMs: performance.timeOrigin + performance.now() };
  }

  render(name: string, labels: string, withExemplars: boolean): string {
    const before = labels === "" ? "" : `${labels},`;
    let text = "";
    let sum = 0;
    for (let index = 0; index < this.#counts.length; index++) {
      sum += this.#counts[index]!;
      text += `${name}_bucket{${before}le="${this.#boundTexts[index]}"} ${sum}`;
      const exemplar = withExemplars ? this.#exemplars?.[index] : undefined;
      if (exemplar) text += ` # {trace_id="${exemplar.traceId}"} ${number(exemplar.value)} ${(exemplar.atMs / 1000).toFixed(3)}`;
      text += "\n";
    }
    const set = labels === "" ? "" : `{${labels}}`;
    return `${text}${name}_sum${set} ${number(this.sum)}\n${name}_count${set} ${this.count}\n`;
  }
}

function number(value: number): string {
  return value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value);
}
function escaped(value: string): string {
  return value.replace(/[\\"\n]/g, (found) => (found === "\n" ? "\\n" : `\\${found}`));
}
function checkName(name: string, what: "metric" | "label"): void {
  const isValid = what === "metric" ? /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name) : /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/.test(name);
  if (!isValid) throw new Error(`${what} name: Invalid value: "${name}"`);
}
