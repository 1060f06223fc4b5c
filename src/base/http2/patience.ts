/** Frames that make work and bring nothing: so many at once, and so many a second. As Node's streamResetBurst and -Rate. */
const burst = 1000;
const perSecond = 33;
/** Pings and windows come along with what is moved: so many for each piece, and one more for so many bytes. */
const controlsPerPiece = 4;
const bytesPerControl = 256;
/** Windows may be told long after their bytes: a gigabyte of them, which is the largest that clients have. */
const creditMax = 4_000_000;

/**
 * How much of one client is borne. What it begins and breaks off, or makes us break off, counts by itself; pings, settings and
 * windows only as far as no bodies or answers go with them: gRPC sends a ping for every message that it gets, others a window for
 * every few kilobytes.
 */
export class Patience {
  readonly #idle: Bucket;
  readonly #controls = new Bucket(burst, creditMax);

  constructor(streamsMax: number) {
    // As many may be reset at once as may be open.
    this.#idle = new Bucket(burst + streamsMax, 0);
  }
  /** One more that led to nothing. False: that is too many. */
  idle(now: number): boolean {
    return this.#idle.add(now);
  }
  control(now: number): boolean {
    return this.#controls.add(now);
  }
  /** Of a body or an answer, in either direction. */
  moved(bytes: number): void {
    this.#controls.credit(controlsPerPiece + bytes / bytesPerControl);
  }
}

class Bucket {
  readonly #max: number;
  readonly #creditMax: number;
  #level = 0;
  #since = 0;

  constructor(max: number, creditMax: number) {
    this.#max = max;
    this.#creditMax = creditMax;
  }
  add(now: number): boolean {
    if (this.#level > 0) this.#level = Math.max(0, this.#level - ((now - this.#since) / 1000) * perSecond);
    this.#since = now;
    return ++this.#level <= this.#max;
  }
  credit(count: number): void {
    this.#level = Math.max(-this.#creditMax, this.#level - count);
  }
}
