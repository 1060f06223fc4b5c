/**
 * Requests, replies and notices between two of Wherry's processes, over Node's process messages. A message may
 * carry one raw handle (a `TCP` wrap): it is passed on without anybody reading from it.
 *
 *   notice:  { type, body }                 request: { type, id, body }
 *   reply:   { type: "reply", id, ok, body } or { type: "reply", id, error, name? }
 */
export interface Endpoint {
  send?(message: unknown, handle?: unknown, options?: object, callback?: (error: Error | null) => void): boolean;
  on(event: "message", listener: (message: unknown, handle: unknown) => void): unknown;
  once(event: "disconnect" | "exit", listener: () => void): unknown;
}

/** A raw handle on its way between processes; opaque here. */
export type RawHandle = object;
/** A handle in an answer is given away: our own copy is closed once it is on its way. One in a notice or request stays ours. */
export interface Answer<T = unknown> {
  body: T;
  handle?: RawHandle | undefined;
}
export type Handler = (body: never, handle: RawHandle | undefined) => Promise<Answer> | Answer | void | Promise<void>;

interface Wire {
  type: string;
  id?: number;
  body?: unknown;
  ok?: boolean;
  error?: string;
}

/** What has come before whoever takes it: more of it than this means that nobody ever will. */
const earlyMax = 1_000;
/** A request that nobody takes is answered with an error by then. */
const unansweredMs = 10_000;

export class Channel {
  readonly #endpoint: Endpoint;
  readonly #handlers = new Map<string, Handler>();
  readonly #waiting = new Map<number, { resolve(answer: Answer): void; reject(error: Error): void }>();
  /** Come before there was a handler for it, in order. */
  #early: { wire: Wire; handle: RawHandle | undefined }[] = [];
  #isLate = false;
  #nextId = 1;
  #closed = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    endpoint.on("message", (message, handle) => this.#receive(message as Wire, handle as RawHandle | undefined));
    const gone = () => {
      this.#closed = true;
      for (const { reject } of this.#waiting.values()) reject(new Error("the other process is gone"));
      this.#waiting.clear();
      for (const { handle } of this.#early.splice(0)) (handle as { close?(): void } | undefined)?.close?.();
    };
    endpoint.once("disconnect", gone);
    // Node does not tell of the end of a child that has not acknowledged a handle: what is asked behind it would wait for ever.
    endpoint.once("exit", gone);
  }
  /** Nothing that is sent arrives any more. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /** Registers what answers messages of this type. One handler a type; it gets what came before it was there, too, in the order in which all came. */
  on(type: string, handler: Handler): void {
    this.#handlers.set(type, handler);
    if (this.#isLate || !this.#early.some(({ wire }) => wire.type === type)) return;
    this.#isLate = true;
    // Handlers are put one behind the other: the order of messages is that of all of them.
    queueMicrotask(() => {
      this.#isLate = false;
      for (const { wire, handle } of this.#early.splice(0)) this.#receive(wire, handle);
    });
  }

  notify(type: string, body?: unknown, handle?: RawHandle): void {
    this.#send({ type, body }, handle);
  }

  request<T>(type: string, body?: unknown, handle?: RawHandle): Promise<Answer<T>> {
    if (this.#closed) return Promise.reject(new Error(`${type}: the other process is gone`));
    const id = this.#nextId++;
    return new Promise<Answer>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#send({ type, id, body }, handle);
    }) as Promise<Answer<T>>;
  }

  #send(wire: Wire, handle: RawHandle | undefined, sent: () => void = () => {}): void {
    // A closed pipe shows itself as "disconnect" as well; the callback keeps it from becoming an uncaught error.
    if (this.#closed || !this.#endpoint.send) return sent();
    this.#endpoint.send(wire, handle, { keepOpen: false }, sent);
  }

  #receive(wire: Wire, handle: RawHandle | undefined): void {
    if (typeof wire !== "object" || wire === null) return;
    if (wire.type === "reply") {
      const waiter = this.#waiting.get(wire.id!);
      this.#waiting.delete(wire.id!);
      if (wire.ok) waiter?.resolve({ body: wire.body, handle });
      else waiter?.reject(new Error(wire.error));
      return;
    }
    const handler = this.#handlers.get(wire.type);
    if (!handler || this.#isLate) return this.#keep(wire, handle);
    void this.#take(handler, wire, handle);
  }

  async #take(handler: Handler, wire: Wire, handle: RawHandle | undefined): Promise<void> {
    try {
      const answer = await handler(wire.body as never, handle);
      if (wire.id !== undefined) this.#send({ type: "reply", id: wire.id, ok: true, body: answer?.body }, answer?.handle, () => (answer?.handle as { close?(): void } | undefined)?.close?.());
    } catch (error) {
      if (wire.id === undefined) throw error;
      this.#send({ type: "reply", id: wire.id, ok: false, error: (error as Error).message }, undefined);
    }
  }

  /** @throws Error nobody takes what comes: a mistake of ours, which must not stay hidden */
  #keep(wire: Wire, handle: RawHandle | undefined): void {
    if (this.#early.length >= earlyMax) throw new Error(`${wire.type}: nobody has taken what came, ${earlyMax} messages by now`);
    const early = { wire, handle };
    this.#early.push(early);
    if (wire.id === undefined) return;
    setTimeout(() => {
      const at = this.#early.findIndex((one) => one.wire === wire);
      if (at < 0) return;
      this.#early.splice(at, 1);
      this.#send({ type: "reply", id: wire.id!, ok: false, error: `${wire.type}: nobody answers this` }, undefined);
    }, unansweredMs).unref();
  }
}
