import { newTcpSocket, endOfFile, lastReadResult, lastWriteIsPending, TCPConnectWrap, WriteWrap, type TcpHandle } from "../src/base/handles.ts";

/**
 * Requests at a constant rate, whatever the answers do: `node gateway-rate.ts ADDRESS PORT PATH RATE CONNECTIONS SECONDS`.
 *
 * Each millisecond has its share of requests. A latency counts from the millisecond that a request belongs to, not from when it
 * could be sent: one that waits for a free connection, or for this program, has waited (no "coordinated omission"). Prints one
 * line of JSON: { count, errors, p50, p99, perSecond }, milliseconds; answers a second as long as requests were due. The first tenth is
 * not counted in the times.
 */
const [address, portText, path, rateText, connectionsText, secondsText] = process.argv.slice(2);
const [port, rate, connectionCount, seconds] = [Number(portText), Number(rateText), Number(connectionsText), Number(secondsText)];
const request = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n`);
const shared = Buffer.allocUnsafeSlow(64 * 1024);

const latencies: number[] = [];
let errors = 0;
let answered = 0;
let answeredWhenSent = 0;
let began = 0;
/** Of requests that no connection is free for: when each should have been sent. */
const late: number[] = [];
let lateFrom = 0;
const free: Connection[] = [];

class Connection {
  readonly #handle: TcpHandle;
  readonly #write = new WriteWrap();
  #due = 0;
  #expected = 0;
  #have = 0;

  constructor(handle: TcpHandle) {
    this.#handle = handle;
    this.#write.oncomplete = () => {};
    handle.setNoDelay(true);
    handle.useUserBuffer(shared);
    handle.onread = () => this.#read();
    handle.readStart();
  }
  send(due: number): void {
    this.#due = due;
    this.#have = this.#expected = 0;
    if (this.#handle.writeBuffer(this.#write, request) !== 0 || lastWriteIsPending()) errors++;
  }
  #read(): undefined {
    const length = lastReadResult();
    if (length <= 0) {
      if (length < 0 && this.#due !== 0) errors++;
      if (length === endOfFile || length < 0) this.#handle.close();
      return undefined;
    }
    // Heads of such answers come in one piece.
    if (this.#expected === 0) {
      const text = shared.latin1Slice(0, length);
      const end = text.indexOf("\r\n\r\n");
      const bodyLength = /\r\ncontent-length: *(\d+)/i.exec(text);
      if (end < 0 || !bodyLength || !text.startsWith("HTTP/1.1 200")) errors++;
      this.#expected = end + 4 + Number(bodyLength?.[1] ?? 0);
    }
    this.#have += length;
    if (this.#have < this.#expected) return undefined;
    const now = performance.now();
    answered++;
    if (this.#due > began + seconds * 100) latencies.push(now - this.#due);
    this.#due = 0;
    if (lateFrom < late.length) this.send(late[lateFrom++]!);
    else if (free.push(this) === connectionCount && sent === total) report();
    return undefined;
  }
}

for (let i = 0; i < connectionCount; i++) {
  await new Promise<void>((resolve, reject) => {
    const handle = newTcpSocket();
    const wanted = new TCPConnectWrap();
    wanted.oncomplete = (status) => {
      if (status !== 0) return reject(new Error(`connect: ${status}`));
      free.push(new Connection(handle));
      resolve();
    };
    if (handle.connect(wanted, address!, port) !== 0) reject(new Error("connect"));
  });
}

began = performance.now();
let sent = 0;
const total = rate * seconds;
const tick = (): void => {
  const now = performance.now();
  const due = Math.min(total, Math.floor((Math.floor(now - began) * rate) / 1000));
  for (; sent < due; sent++) {
    const at = began + Math.ceil(((sent + 1) * 1000) / rate);
    const connection = free.pop();
    if (connection) connection.send(at);
    else late.push(at);
  }
  if (sent < total) return void setTimeout(tick, 1);
  answeredWhenSent = answered;
  setTimeout(report, 500);
};
function report(): void {
  // What is not answered by now is as late as it is.
  const now = performance.now();
  for (let i = lateFrom; i < late.length; i++) latencies.push(now - late[i]!);
  latencies.sort((a, b) => a - b);
  const at = (part: number): number => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * part))] ?? NaN;
  process.stdout.write(`${JSON.stringify({ count: latencies.length, errors, p50: at(0.5), p99: at(0.99), perSecond: answeredWhenSent / seconds })}\n`);
  process.exit(0);
}
tick();
