import { endOfFile, lastReadResult, type TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { resetHandle } from "../pump.ts";
import { Sweeper, type Swept } from "../http/sweeper.ts";
import { type ClientHello, helloBytesMax, readClientHello } from "./server-name.ts";

/** All reads of first bytes go into it; they are copied before the next. */
const shared = Buffer.allocUnsafeSlow(helloBytesMax);
const sweeper = new Sweeper();
/** Connections of one worker whose first bytes are not all there. More: the next is reset. */
let hellos = 0;

/**
 * Reads until it is known whom the client asks for. It is not called for who leaves before, is too slow, or is one too many.
 * `first` was read from it already.
 */
export function readHello(client: TcpHandle, done: (hello: Buffer, asked: ClientHello) => void, first?: Buffer, withinMs: number = limits.gatewayHeadersMs): void {
  const known = first && readClientHello(first);
  if (known) return done(first, known);
  if (hellos >= limits.gatewayHellosMax) return resetHandle(client);
  hellos++;
  let have = first;
  const over = () => {
    sweeper.remove(slow);
    hellos--;
    client.readStop();
  };
  const slow: Swept = {
    deadline: Infinity,
    expire: () => {
      over();
      resetHandle(client);
    },
  };
  sweeper.add(slow);
  slow.deadline = sweeper.now + withinMs;
  client.useUserBuffer(shared);
  client.onread = () => {
    const result = lastReadResult();
    if (result === 0) return undefined;
    if (result < 0) {
      over();
      if (result === endOfFile) client.close();
      else resetHandle(client);
      return undefined;
    }
    const read = Buffer.from(shared.subarray(0, result));
    have = have ? Buffer.concat([have, read]) : read;
    const asked = readClientHello(have);
    if (asked === undefined && have.length < helloBytesMax) return undefined;
    over();
    done(have, asked ?? { wrong: "the ClientHello is too long" });
    return undefined;
  };
  if (client.readStart() !== 0) {
    over();
    client.close();
  }
}
