import { newTcpSocket, TCPConnectWrap, type TcpHandle } from "../base/handles.ts";

/** As libuv names it; we give it when our own deadline passes. */
export const timedOut = -110;
export const connectionRefused = -111;
export const hostUnreachable = -113;

/**
 * Connects a raw handle that nobody reads from yet. `done` gets 0 and the handle, or a negative error code; it is
 * called exactly once, never before this function returns.
 * It comes from the gateway's address, which the routes of the pod network name: a bind before each connect
 * would make all destinations share one range of ports.
 */
export function dial(ip: string, port: number, timeoutMs: number, done: (status: number, handle: TcpHandle | undefined) => void): void {
  const handle = newTcpSocket();
  const request = new TCPConnectWrap();
  let open = true;
  const finish = (status: number) => {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    if (status !== 0) handle.close();
    done(status, status === 0 ? handle : undefined);
  };
  const timer = setTimeout(finish, timeoutMs, timedOut);
  request.oncomplete = finish;
  const status = handle.connect(request, ip, port);
  if (status !== 0) queueMicrotask(() => finish(status));
}

/** {@link dial} as a promise; rejects with "dial tcp IP:PORT: connect: connection refused", as Go's net says it. */
export function dialTcp(ip: string, port: number, timeoutMs: number): Promise<TcpHandle> {
  return new Promise((resolve, reject) => {
    dial(ip, port, timeoutMs, (status, handle) => (handle ? resolve(handle) : reject(new Error(dialErrorText(ip, port, status)))));
  });
}

const goErrorTexts: Record<number, string> = {
  [-111]: "connect: connection refused",
  [-113]: "connect: no route to host",
  [-101]: "connect: network is unreachable",
  [-104]: "read: connection reset by peer",
  [-110]: "i/o timeout",
  [-13]: "connect: permission denied",
  [-1]: "connect: operation not permitted",
};

/** The text of Go's net.OpError, which kubelet's messages and its users' eyes are used to. */
export function dialErrorText(ip: string, port: number, status: number): string {
  return `dial tcp ${ip}:${port}: ${goErrorTexts[status] ?? `connect: error ${status}`}`;
}
