/**
 * A part of the running product. Parts are started in the order in which they are listed and stopped in
 * reverse; `stop` drains until the deadline fires, then aborts, and may be called twice.
 *
 *   created ──start──▶ running ──stop──▶ draining ──(done or deadline)──▶ stopped
 */
export interface Component {
  readonly name: string;
  start(): Promise<void>;
  stop(deadline: AbortSignal): Promise<void>;
}
