/**
 * A container's live output, handed to whoever is attached. Nothing is kept: who comes later sees what comes
 * later (the log has the rest). A listener that cannot keep up drops its own connection, never the container.
 */
export class OutputHub {
  readonly #listeners = new Set<OutputListener>();

  add(listener: OutputListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
  write(stream: "stdout" | "stderr", chunk: Buffer): void {
    for (const listener of this.#listeners) listener.data(stream, chunk);
  }
  /** The program ended; later listeners belong to the next one. */
  end(exitCode: number): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener.end(exitCode);
  }
}

export interface OutputListener {
  data(stream: "stdout" | "stderr", chunk: Buffer): void;
  end(exitCode: number): void;
}
