import { nameOfId } from "./bytes.ts";

export const fieldsMax = 100;
/** Offsets a field: name from, to; value from, to. */
export const stride = 4;
/** What a head keeps for the next one; larger ones are given back. */
const storeBytes = 2048;
const nothing = Buffer.alloc(0);

/** The fields of a head as offsets into its bytes, and the bytes. */
export class HeadFields {
  bytesMax: number;
  /** Where the head lies: in what was read, or in `store`. */
  bytes: Buffer = nothing;
  base = 0;
  /** Behind the empty line; from the base, like all offsets. */
  end = 0;
  protected store: Buffer = nothing;
  protected stored = 0;
  /** Four offsets a field: name from, to; value from, to. */
  readonly offsets = new Int32Array(fieldsMax * stride);
  readonly fieldIds = new Uint8Array(fieldsMax);
  /** 1: the line is "name: value" with one space and nothing behind, so that its bytes may be copied as they are. */
  readonly plain = new Uint8Array(fieldsMax);
  /** 1: ends here, as Connection names it or a twin hides behind "_". */
  readonly dropped = new Uint8Array(fieldsMax);
  count = 0;


  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  protected forget(): void {
    if (this.store.length > storeBytes) this.store = nothing;
    this.stored = 0;
    this.bytes = nothing;
    this.count = 0;
  }

  /** Copies the head to bytes of its own, which stay until the next `reset`. */
  keep(): void {
    if (this.bytes === this.store) return;
    this.append(this.bytes, this.base, this.base + this.end);
    this.bytes = this.store;
    this.base = 0;
  }

  protected append(input: Buffer, from: number, to: number): void {
    const length = this.stored + to - from;
    if (length > this.store.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.bytesMax, Math.max(length, storeBytes, this.store.length * 2)));
      this.store.copy(grown, 0, 0, this.stored);
      this.store = grown;
    }
    input.copy(this.store, this.stored, from, to);
    this.stored = length;
  }

  /** In lower case. */
  nameAt(index: number): string {
    const id = this.fieldIds[index]!;
    if (id !== 0) return nameOfId[id]!;
    return this.bytes.latin1Slice(this.base + this.offsets[index * stride]!, this.base + this.offsets[index * stride + 1]!).toLowerCase();
  }
  valueAt(index: number): string {
    return this.bytes.latin1Slice(this.base + this.offsets[index * stride + 2]!, this.base + this.offsets[index * stride + 3]!);
  }
  /** Values of all fields of this lower-case name, joined by ", " ("; " for Cookie); undefined when there is none. */
  find(wanted: string): string | undefined {
    let found: string | undefined;
    for (let i = 0; i < this.count; i++) {
      if (this.dropped[i] === 1 || this.offsets[i * stride + 1]! - this.offsets[i * stride]! !== wanted.length || this.nameAt(i) !== wanted) continue;
      const value = this.valueAt(i);
      found = found === undefined ? value : `${found}${wanted === "cookie" ? "; " : ", "}${value}`;
    }
    return found;
  }
}
