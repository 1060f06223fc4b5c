import { composeRequest, type RequestLines } from "./compose.ts";
import type { Head } from "./head.ts";
import { Output, type Sink } from "./output.ts";

let copier: Output | undefined;

/** The head that an upstream of HTTP/1.1 would be sent: for whoever cannot write it where it belongs at once. */
export function copyRequest(head: Head, lines: RequestLines): Buffer {
  const pieces: Buffer[] = [];
  const sink: Sink = { write: (bytes, from, to) => pieces.push(Buffer.from(bytes.subarray(from, to))) > 0 };
  const output = (copier ??= new Output());
  output.to(sink);
  composeRequest(output, head, lines);
  output.flush();
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}
