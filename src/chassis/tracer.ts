import { currentContext, runInContext } from "./context.ts";
import { newSpanId, newTraceId, type TraceContext } from "./trace-context.ts";

/**
 * Spans: how long a piece of work took, in whose trace, and what it was. Finished ones go to an exporter in batches
 * (`otlp.ts`); without one nothing is recorded, and ids travel all the same. Sampling is the parent's choice, and where a trace
 * begins a share of them. Names and attributes follow OpenTelemetry's semantic conventions.
 */
export type SpanKind = "internal" | "server" | "client" | "producer" | "consumer";
export type Attributes = Record<string, string | number | boolean | undefined>;

export interface FinishedSpan {
  readonly trace: TraceContext;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly kind: SpanKind;
  /** Milliseconds since the epoch, with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  /** A message where it failed; "" for one that needs no words. */
  readonly error: string | undefined;
}

export interface SpanExporter {
  export(spans: readonly FinishedSpan[]): Promise<void>;
}

export interface TracerOptions {
  exporter?: SpanExporter;
  /** Of traces that begin here: from 0 to 1; 1 unless said. */
  ratio?: number;
  /** Spans that wait to be sent; what comes on top is counted and dropped. */
  queueMax?: number;
  batchMax?: number;
  everyMs?: number;
  onError?: (error: unknown) => void;
}

export class Tracer {
  /** Whether anything comes of spans. */
  readonly isRecording: boolean;
  /** Spans that were not sent: the queue was full, or the exporter failed. */
  dropped = 0;
  readonly #options: Required<Omit<TracerOptions, "exporter" | "onError">> & Pick<TracerOptions, "exporter" | "onError">;
  #queue: FinishedSpan[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: TracerOptions = {}) {
    this.#options = { ratio: 1, queueMax: 8_192, batchMax: 512, everyMs: 1_000, ...options };
    this.isRecording = options.exporter !== undefined;
  }

  /** The context of a new span: below `parent`, else of a trace of its own. */
  next(parent: TraceContext | undefined): TraceContext {
    if (parent) return { traceId: parent.traceId, spanId: newSpanId(), sampled: parent.sampled, tracestate: parent.tracestate };
    const traceId = newTraceId();
    return { traceId, spanId: newSpanId(), sampled: isSampled(traceId, this.#options.ratio), tracestate: undefined };
  }

  /** Of work that has ended; it is kept only where it is sampled. */
  record(span: FinishedSpan): void {
    if (!this.isRecording || !span.trace.sampled) return;
    if (this.#queue.length >= this.#options.queueMax) return void this.dropped++;
    this.#queue.push(span);
    if (this.#queue.length >= this.#options.batchMax) void this.#send();
    else this.#timer ??= setTimeout(() => void this.#send(), this.#options.everyMs).unref();
  }

  /** Runs `work` as a span below the one under way. What it throws is told, and thrown on. */
  async span<T>(name: string, work: (attributes: Attributes) => T | Promise<T>, { kind = "internal", attributes = {} }: { kind?: SpanKind; attributes?: Attributes } = {}): Promise<T> {
    const outer = currentContext();
    const trace = this.next(outer?.trace);
    const startMs = performance.timeOrigin + performance.now();
    let failure: string | undefined;
    try {
      // Not a copy of `outer`: its signal is made when somebody asks for it.
      const context = { trace, deadlineMs: outer?.deadlineMs, get signal() { return outer?.signal; } };
      return await runInContext(context, () => work(attributes));
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
      attributes["error.type"] ??= error instanceof Error ? error.name : "_OTHER";
      throw error;
    } finally {
      this.record({ trace, parentSpanId: outer?.trace.spanId, name, kind, startMs, endMs: performance.timeOrigin + performance.now(), attributes, error: failure });
    }
  }

  /** Sends what waits; for the end of a process. */
  async flush(): Promise<void> {
    while (this.#queue.length > 0 || this.#sending) await (this.#sending ?? this.#send());
  }

  /** One batch at a time: a slow collector fills the queue, not the memory. */
  #send(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#sending || this.#queue.length === 0) return this.#sending ?? Promise.resolve();
    const { batchMax, exporter, onError, everyMs } = this.#options;
    const batch = this.#queue.length <= batchMax ? this.#queue : this.#queue.slice(0, batchMax);
    this.#queue = this.#queue.length <= batchMax ? [] : this.#queue.slice(batchMax);
    this.#sending = exporter!
      .export(batch)
      .catch((error: unknown) => {
        this.dropped += batch.length;
        onError?.(error);
      })
      .then(() => {
        this.#sending = undefined;
        if (this.#queue.length >= batchMax) void this.#send();
        else if (this.#queue.length > 0) this.#timer ??= setTimeout(() => void this.#send(), everyMs).unref();
      });
    return this.#sending;
  }
}

/** By the last 56 bits of the id, which W3C says are random: every service of a trace comes to the same result. */
function isSampled(traceId: string, ratio: number): boolean {
  return ratio >= 1 || (ratio > 0 && Number.parseInt(traceId.slice(18, 31), 16) < ratio * 2 ** 52);
}
