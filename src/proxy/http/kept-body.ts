/** The beginning of a request's body, as long as it may have to be sent, or sent again. It grows by doubling, however small the pieces are. */
export class KeptBody {
  bytes: Buffer = nothing;
  length = 0;

  add(bytes: Buffer, from: number, to: number): void {
    const length = this.length + to - from;
    if (length > this.bytes.length) {
      const grown = Buffer.allocUnsafeSlow(Math.max(length, Math.min(this.bytes.length * 2, this.bytes.length + growthMax)));
      this.bytes.copy(grown, 0, 0, this.length);
      this.bytes = grown;
    }
    bytes.copy(this.bytes, this.length, from, to);
    this.length = length;
  }
}

const growthMax = 1024 * 1024;
const nothing = Buffer.alloc(0);
