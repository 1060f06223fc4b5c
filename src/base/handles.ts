import { getSystemErrorName } from "node:util";

/**
 * Raw TCP and UDP handles: what process messages carry between Wherry's processes, and what the data plane's
 * inner loops work on. Node has no public door to bind without listening, to pass a descriptor on without
 * reading from it, or to read into one's own buffer on an accepted connection, so this file is the only one that
 * uses Node's bindings (DEP0111; Node's version is pinned). Everything else goes through the types below.
 */
export interface TcpHandle {
  readonly fd: number;
  readonly writeQueueSize: number;
  onconnection: ((status: number, client: TcpHandle) => void) | undefined;
  /** Called for each read; what it returns is the buffer for the next one. Only functions may be set. */
  onread: () => Uint8Array | undefined;
  bind(ip: string, port: number, flags: number): number;
  listen(backlog: number): number;
  connect(request: ConnectRequest, ip: string, port: number): number;
  /** Since it is there. */
  readonly bytesRead: number;
  getsockname(out: Address): number;
  getpeername(out: Address): number;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, delaySeconds: number): number;
  readStart(): number;
  readStop(): number;
  /** Reads go into this buffer from now on; the caller keeps it alive. Each call costs a little memory until close. */
  useUserBuffer(buffer: Uint8Array): void;
  writeBuffer(request: WriteRequest, buffer: Uint8Array): number;
  writeLatin1String(request: WriteRequest, text: string): number;
  shutdown(request: ShutdownRequest): number;
  /** Closes with RST. */
  reset(done?: () => void): number;
  close(done?: () => void): void;
  unref(): void;
}
/** TLS over a handle whose reading and writing it takes over. {@link wrapTls} makes one. */
export interface TlsHandle {
  onread: TcpHandle["onread"];
  onhandshakestart: () => void;
  /** Called on OpenSSL's stack: {@link TlsHandle.destroySSL} must wait until it has returned. */
  onhandshakedone: () => void;
  onerror: (error: Error) => void;
  readStart(): number;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  /** Bytes that were read from the handle already. */
  receive(bytes: Uint8Array): void;
  /** One at a time: the next after `oncomplete`, which always follows, later. The bytes are taken before it returns. */
  writeBuffer(request: WriteRequest, buffer: Uint8Array): number;
  /** Says that nothing more comes, and ends the handle's writing side. */
  shutdown(request: ShutdownRequest): number;
  setVerifyMode(request: boolean, reject: boolean): void;
  /** Names with their lengths before them (RFC 7301 §3.1). */
  setALPNProtocols(protocols: Uint8Array): void;
  getALPNNegotiatedProtocol(): string | false | undefined;
  getServername(): string | false | undefined;
  isSessionReused(): boolean;
  verifyError(): Error | null | undefined;
  hasPeerCertificate(): boolean;
  /** `raw` is DER. */
  getPeerCertificate(abbreviated: boolean): { raw?: Buffer } | undefined;
  destroySSL(): void;
}
export interface UdpHandle {
  bind(ip: string, port: number, flags: number): number;
  getsockname(out: Address): number;
  close(done?: () => void): void;
}
export interface Address {
  address?: string;
  port?: number;
}
export interface ConnectRequest {
  oncomplete: (status: number) => void;
}
export interface WriteRequest {
  oncomplete: (status: number) => void;
  handle?: unknown;
  buffer?: Uint8Array;
}
export interface ShutdownRequest {
  oncomplete: (status: number) => void;
}

interface Bindings {
  tcp: { TCP: new (type: number) => TcpHandle; TCPConnectWrap: new () => ConnectRequest; constants: { SOCKET: number; SERVER: number; UV_TCP_REUSEPORT: number } };
  stream: { WriteWrap: new () => WriteRequest; ShutdownWrap: new () => ShutdownRequest; streamBaseState: Int32Array; kReadBytesOrError: number; kLastWriteWasAsync: number };
  udp: { UDP: new () => UdpHandle };
}
const binding = (process as unknown as { binding(name: string): unknown }).binding.bind(process);
const tcp = binding("tcp_wrap") as Bindings["tcp"];
const stream = binding("stream_wrap") as Bindings["stream"];
const tls = () => binding("tls_wrap") as { wrap(handle: TcpHandle, context: unknown, isServer: boolean, hasWrite: boolean): TlsHandle & { _parent: TcpHandle } };
const { streamBaseState, kReadBytesOrError, kLastWriteWasAsync } = stream;
export const { TCPConnectWrap, constants: tcpConstants } = tcp;
export const { WriteWrap, ShutdownWrap } = stream;

/** Inside `onread`: the bytes read, or a negative error code ({@link endOfFile} at the end). */
export const lastReadResult = (): number => streamBaseState[kReadBytesOrError]!;
/** Right after `writeBuffer`: whether the kernel has not taken everything yet, so that `oncomplete` will follow. */
export const lastWriteIsPending = (): boolean => streamBaseState[kLastWriteWasAsync] !== 0;
export const endOfFile = -4095;
/** "ECONNREFUSED" for -111. */
export const errorName = (status: number): string => getSystemErrorName(status);

export const newTcpSocket = (): TcpHandle => new tcp.TCP(tcp.constants.SOCKET);

/** The server's side of TLS over a connected handle; `context` is `createSecureContext()`'s. The caller keeps it alive, closes the handle itself, and then calls `destroySSL`. */
export function wrapTls(handle: TcpHandle, context: { context: unknown }): TlsHandle {
  const wrapped = tls().wrap(handle, context.context, true, false);
  wrapped._parent = handle;
  return wrapped;
}

export type Bound<H> = { handle: H; port: number; code?: undefined } | { handle?: undefined; code: string };

/**
 * Binds without listening: connections are refused until somebody listens, here or in the process that the
 * handle is sent to. `code` says why it could not be: "EADDRINUSE", "EACCES", "EADDRNOTAVAIL".
 */
export function bindHandle(ip: string, port: number, options: { reusePort?: boolean } = {}): Bound<TcpHandle> {
  return bound(new tcp.TCP(tcp.constants.SERVER), ip, port, options.reusePort ? tcp.constants.UV_TCP_REUSEPORT : 0);
}

/** As {@link bindHandle}, for UDP: datagrams wait in the socket's buffer until somebody receives. */
export function bindUdpHandle(ip: string, port: number): Bound<UdpHandle> {
  return bound(new (udp().UDP)(), ip, port, 0);
}
const udp = (): Bindings["udp"] => binding("udp_wrap") as Bindings["udp"];

function bound<H extends TcpHandle | UdpHandle>(handle: H, ip: string, port: number, flags: number): Bound<H> {
  const name: Address = {};
  // libuv reports EADDRINUSE not from bind but from the next call that needs the address.
  const status = handle.bind(ip, port, flags) || handle.getsockname(name);
  if (status === 0) return { handle, port: name.port! };
  handle.close();
  return { code: getSystemErrorName(status) };
}
