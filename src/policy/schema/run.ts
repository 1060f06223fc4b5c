/** One thing that is wrong with a document. */
export interface Failure {
  /** RFC 6901, from the document's root: "/items/0/price"; "" is the document. */
  pointer: string;
  /** Of the schema. */
  keyword: string;
  /** What is there; undefined: nothing is. */
  value: unknown;
  /** What would be right: "must be at least 1". */
  why: string;
}

/** Looks at a value; false: it is not as the schema wants it, which {@link Run.fail} was told. */
export type Check = (value: unknown, run: Run) => boolean;

/** Levels of a document that a schema which refers to itself follows, and that are compared. */
export const depthMax = 128;

const none: Failure[] = [];

/**
 * One validation. Most documents are right, so at first nothing is noted and the first failure ends it; only then it is done
 * again, and each failure written down with its place, up to a number of them.
 */
export class Run {
  failures: Failure[] = none;
  isCollecting = false;
  depth = 0;
  #stepsLeft = 0;
  #failuresMax = 0;
  readonly #path: (string | number)[] = [];

  test(check: Check, value: unknown, stepsMax: number): boolean {
    this.#start(false, 0, stepsMax);
    return check(value, this) && this.#stepsLeft >= 0;
  }
  collect(check: Check, value: unknown, stepsMax: number, failuresMax: number): Failure[] {
    this.#start(true, failuresMax, stepsMax);
    check(value, this);
    const { failures } = this;
    this.failures = none;
    if (this.#stepsLeft < 0) return [{ pointer: "", keyword: "", value: undefined, why: `must be simpler: after ${stepsMax} comparisons with its schema it is not known whether it is right` }, ...failures].slice(0, failuresMax);
    return failures;
  }
  #start(isCollecting: boolean, failuresMax: number, stepsMax: number): void {
    this.isCollecting = isCollecting;
    this.failures = isCollecting ? [] : none;
    this.#failuresMax = failuresMax;
    this.#stepsLeft = stepsMax;
    this.depth = 0;
    this.#path.length = 0;
  }

  /**
   * Once for each schema that is applied, more for what costs more: alternatives within alternatives can double with every level
   * of a document. False: it is too much, and what is not known to be right is wrong; or enough is known to be wrong.
   */
  step(cost = 1): boolean {
    this.#stepsLeft -= cost;
    return this.#stepsLeft >= 0 && !(this.isCollecting && this.failures.length >= this.#failuresMax);
  }
  /** Always false. */
  fail(keyword: string, value: unknown, why: string): false {
    if (this.isCollecting && this.failures.length < this.#failuresMax) this.failures.push({ pointer: this.pointer, keyword, value, why });
    return false;
  }
  /** Of a member of what is looked at. */
  failAt(name: string | number, keyword: string, value: unknown, why: string): false {
    this.#path.push(name);
    this.fail(keyword, value, why);
    this.#path.pop();
    return false;
  }
  /** `check` of a member. */
  inside(name: string | number, value: unknown, check: Check): boolean {
    if (!this.isCollecting) return check(value, this);
    this.#path.push(name);
    const isRight = check(value, this);
    this.#path.pop();
    return isRight;
  }
  /** Whether it would be right, noting nothing. */
  tries(check: Check, value: unknown): boolean {
    if (!this.isCollecting) return check(value, this);
    this.isCollecting = false;
    const isRight = check(value, this);
    this.isCollecting = true;
    return isRight;
  }
  /** What one of several alternatives would have to say. */
  failuresOf(check: Check, value: unknown): Failure[] {
    const kept = this.failures;
    this.failures = [];
    check(value, this);
    const found = this.failures;
    this.failures = kept;
    return found;
  }
  add(failures: readonly Failure[]): void {
    for (const failure of failures) if (this.failures.length < this.#failuresMax) this.failures.push(failure);
  }
  /** Where it is. */
  get pointer(): string {
    return this.#path.map((name) => `/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
  }
}
