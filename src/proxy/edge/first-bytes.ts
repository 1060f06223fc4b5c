import { endOfFile, lastReadResult, type TcpHandle } from "../../base/handles.ts";
import { limits } from "../../base/limits.ts";
import { Sweeper, type Swept } from "../http/sweeper.ts";
import { resetHandle } from "../pump.ts";
import { peerAddress } from "../tcp-service.ts";
import { proxyHeaderMax, readProxyHeader } from "./proxy-protocol.ts";

/** All reads of first bytes go into it; they are copied before the next. */
const shared = Buffer.allocUnsafeSlow(proxyHeaderMax + 4096);
const sweeper = new Sweeper();
/** Connections of one worker whose first bytes are not all there. More: the next is reset. */
let waiting = 0;

/**
 * Takes the PROXY header off a connection. `done` gets the client's address and what came behind it; it is not called for who leaves
 * before, is too slow, writes no such header though it must, or is one too many: that connection is reset.
 */
export function readProxied(client: TcpHandle, isOptional: boolean, done: (address: string, came: Buffer) => void, withinMs: number = limits.gatewayHeadersMs): void {
  if (waiting >= limits.gatewayHellosMax) return resetHandle(client);
  waiting++;
  let have: Buffer = Buffer.alloc(0);
  const over = () => {
    sweeper.remove(slow);
    waiting--;
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
    have = Buffer.concat([have, shared.subarray(0, result)]);
    const header = readProxyHeader(have);
    if (header === undefined) return undefined;
    over();
    if (header !== "none") done(header.address ?? peerAddress(client), have.subarray(header.length));
    else if (isOptional) done(peerAddress(client), have);
    else resetHandle(client);
    return undefined;
  };
  if (client.readStart() !== 0) {
    over();
    client.close();
  }
}
