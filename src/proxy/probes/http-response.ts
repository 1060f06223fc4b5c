const headBytesMax = 64 * 1024;
/** As kubelet: more of a body is not read. */
const bodyBytesMax = 10 * 1024;

/**
 * Reads one HTTP/1 response, byte by byte from the wire (latin1 text), no further than a probe needs: head, then
 * the body's first 10 KB. Everything a hostile pod may send ends in `done` or `malformed`.
 */
export class HttpResponse {
  /** 0 until the head has been read. */
  status = 0;
  readonly headers = new Map<string, string>();
  body = "";
  done = false;
  malformed: string | undefined;
  #text = "";
  #chunked = false;
  /** Bytes of body or chunk still to come; undefined: until the connection ends. */
  #left: number | undefined;
  #inChunk = false;

  push(text: string): void {
    if (this.done || this.malformed !== undefined) return;
    this.#text += text;
    while (this.status === 0) {
      const end = this.#text.indexOf("\r\n\r\n");
      if (end < 0) {
        if (this.#text.length > headBytesMax) this.malformed = "net/http: server response headers exceeded 65536 bytes; aborted";
        else if (this.#text.length >= 5 && !this.#text.startsWith("HTTP/")) this.#badHead(this.#text);
        return;
      }
      const head = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 4);
      this.#readHead(head);
      if (this.malformed !== undefined) return;
    }
    this.#readBody();
  }

  /** The connection ended. */
  end(): void {
    if (this.status !== 0 && !this.#chunked && this.#left === undefined) this.done = true;
    else if (this.status === 0 && this.#text !== "") this.#badHead(this.#text);
  }

  #badHead(text: string): void {
    this.malformed = `net/http: HTTP/1.x transport connection broken: malformed HTTP response ${JSON.stringify(text.split("\r\n")[0]!.slice(0, 100))}`;
  }

  #readHead(head: string): void {
    const lines = head.split("\r\n");
    const match = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(lines[0]!);
    if (!match) return this.#badHead(head);
    const status = Number(match[1]);
    // 100 Continue and its kin only announce the real answer.
    if (status >= 100 && status < 200) return;
    for (const line of lines.slice(1)) {
      const colon = line.indexOf(":");
      if (colon > 0) this.headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
    }
    this.status = status;
    this.#chunked = /chunked/i.test(this.headers.get("transfer-encoding") ?? "");
    const length = this.headers.get("content-length");
    if (status === 204 || status === 304) this.#left = 0;
    else if (!this.#chunked && length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) this.malformed = `net/http: HTTP/1.x transport connection broken: bad Content-Length ${JSON.stringify(length)}`;
      else this.#left = Number(length);
    }
  }

  #take(text: string): void {
    this.body += text.slice(0, bodyBytesMax - this.body.length);
    if (this.body.length >= bodyBytesMax) this.done = true;
  }

  #readBody(): void {
    if (!this.#chunked) {
      const text = this.#text;
      this.#text = "";
      this.#take(text);
      if (this.#left !== undefined && (this.#left -= text.length) <= 0) this.done = true;
      return;
    }
    while (!this.done) {
      if (this.#inChunk) {
        const part = this.#text.slice(0, this.#left);
        this.#text = this.#text.slice(part.length);
        this.#left! -= part.length;
        this.#take(part);
        if (this.#left! > 0) return;
        this.#inChunk = false;
      }
      const end = this.#text.indexOf("\r\n", this.#text.startsWith("\r\n") ? 2 : 0);
      if (end < 0) {
        if (this.#text.length > 1024) this.malformed = "malformed chunked encoding";
        return;
      }
      const size = /^(?:\r\n)?([0-9a-fA-F]{1,8})\s*(?:;.*)?$/s.exec(this.#text.slice(0, end));
      if (!size) {
        this.malformed = "malformed chunked encoding";
        return;
      }
      this.#text = this.#text.slice(end + 2);
      this.#left = Number.parseInt(size[1]!, 16);
      if (this.#left === 0) this.done = true;
      else this.#inChunk = true;
    }
  }
}
