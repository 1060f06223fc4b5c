import { CelCompileError } from "./errors.ts";
import { codePoints } from "./values.ts";

/** Dots up to a column and a mark below it: wide ones below what is more than a byte. */
function pointer(line: string, column: number): string {
  const characters = [...line];
  const isWide = (index: number): boolean => (characters[index]?.codePointAt(0) ?? 0) > 0x7f;
  return characters.slice(0, column).map((_, index) => (isWide(index) ? "\uff0e" : ".")).join("") + ".".repeat(Math.max(0, column - characters.length)) + (isWide(column) ? "\uff3e" : "^");
}

/** The text of an expression, and what is wrong with it. */
export class Source {
  readonly text: string;
  readonly #problems: { offset: number; message: string }[] = [];

  constructor(text: string) {
    this.text = text;
  }

  report(offset: number, message: string): void {
    // One hundred, as cel-go: a long expression of nonsense needs no book.
    if (this.#problems.length < 100) this.#problems.push({ offset: Math.min(offset, this.text.length), message });
  }

  get failed(): boolean {
    return this.#problems.length > 0;
  }

  /** Throws what was reported, each with its line and a caret below the place, in the order of the text. */
  throwProblems(): void {
    if (!this.failed) return;
    throw new CelCompileError(
      this.#problems
        .toSorted((a, b) => a.offset - b.offset)
        .map(({ offset, message }) => {
          const before = this.text.slice(0, offset);
          const line = before.split("\n").length;
          const start = before.lastIndexOf("\n") + 1;
          const end = this.text.indexOf("\n", start);
          const column = codePoints(before.slice(start));
          return `ERROR: <input>:${line}:${column + 1}: ${message}\n | ${this.text.slice(start, end < 0 ? undefined : end)}\n | ${pointer(this.text.slice(start, end < 0 ? undefined : end), column)}`;
        })
        .join("\n"),
    );
  }
}
