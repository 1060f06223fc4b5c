import { createHash } from "node:crypto";

/** A document, or the knowledge of how to make it again. */
export interface OpenApiDocument {
  readonly contentType: string;
  readonly body: Buffer;
  /** Upper-case hexadecimal; the `hash` parameter of the index's addresses. A document asked for by its hash never changes. */
  readonly hash: string;
  /** The hash in quotes, as the header wants it. */
  readonly etag: string;
}

/**
 * Keeps a few bodies of documents: clients ask for each once and hold it themselves, by its hash. What was not asked
 * for lately is made again when somebody does.
 */
export class Shelf {
  readonly #bytesMax: number;
  /** The one that was asked for last comes last. */
  readonly #bodies = new Map<object, Buffer>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** `hash` says what `make` will make; without it, it is made now to know. `make` must make the same each time. */
  document(contentType: string, make: () => Buffer, hash?: string): OpenApiDocument {
    const bodyOf = (of: object) => this.#bodyOf(of, make);
    const document = {
      contentType,
      get body(): Buffer {
        return bodyOf(document);
      },
      hash: hash ?? "",
      etag: "",
    };
    if (hash === undefined) document.hash = digest(document.body);
    document.etag = `"${document.hash}"`;
    return document;
  }

  #bodyOf(document: object, make: () => Buffer): Buffer {
    const kept = this.#bodies.get(document);
    const body = kept ?? make();
    if (kept) this.#bodies.delete(document);
    else if (body.length > this.#bytesMax) return body;
    else this.#bytes += body.length;
    this.#bodies.set(document, body);
    for (const [oldest, { length }] of this.#bodies) {
      if (this.#bytes <= this.#bytesMax) break;
      this.#bodies.delete(oldest);
      this.#bytes -= length;
    }
    return body;
  }
}

export const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex").toUpperCase();
