import { randomFillSync } from "node:crypto";

/**
 * W3C Trace Context, level 2: what `traceparent` and `tracestate` say, and ids of our own.
 * Source: https://www.w3.org/TR/trace-context-2/
 */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits: the span that works now. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** Passed on as it came. */
  readonly tracestate?: string | undefined;
}

const shape = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const noTrace = "0".repeat(32);
const noSpan = "0".repeat(16);
/** Longer ones are dropped whole: cutting one would change what it means to its owner. */
const tracestateMax = 4_096;

/** Undefined where it is not valid: the trace then begins here. Versions to come are read as far as they are known. */
export function parseTraceparent(text: string | undefined, tracestate?: string): TraceContext | undefined {
  if (text === undefined || text.length < 55) return undefined;
  const match = shape.exec(text);
  if (!match) return undefined;
  const [, version, traceId, spanId, flags, rest] = match;
  if (version === "ff" || (version === "00" && rest !== undefined) || traceId === noTrace || spanId === noSpan) return undefined;
  const kept = tracestate !== undefined && tracestate !== "" && tracestate.length <= tracestateMax ? tracestate : undefined;
  return { traceId: traceId!, spanId: spanId!, sampled: (Number.parseInt(flags!, 16) & 1) === 1, tracestate: kept };
}

export function formatTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

// Asking the system for a few bytes costs more than all else about an id, so that many are asked for at once.
const poolBytes = 8_192;
const pool = Buffer.allocUnsafe(poolBytes);
let hex = "";
let at = 0;

function digits(count: number): string {
  if (at + count > hex.length) {
    randomFillSync(pool);
    hex = pool.toString("hex");
    at = 0;
  }
  return hex.slice(at, (at += count));
}

export function newTraceId(): string {
  const id = digits(32);
  return id === noTrace ? newTraceId() : id;
}
export function newSpanId(): string {
  const id = digits(16);
  return id === noSpan ? newSpanId() : id;
}
