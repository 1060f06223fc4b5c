import type { Socket } from "node:net";

/**
 * Reads one line off a fresh connection and leaves the rest unread, with the stream as it was: neither flowing nor
 * paused, so that whoever takes it over may read it in any way.
 */
export function readLine(socket: Socket, then: (line: string) => void, bytesMax = Infinity): void {
  let seen: Buffer = Buffer.alloc(0);
  const read = () => {
    for (let chunk = socket.read() as Buffer | null; chunk !== null; chunk = socket.read() as Buffer | null) {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const end = seen.indexOf(10);
      if (end < 0) {
        if (seen.length > bytesMax) return void socket.destroy();
        continue;
      }
      socket.off("readable", read);
      if (seen.length > end + 1) socket.unshift(seen.subarray(end + 1));
      return then(seen.subarray(0, end).toString("utf8"));
    }
  };
  socket.on("readable", read);
}
