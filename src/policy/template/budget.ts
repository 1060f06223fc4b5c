import { TemplateError } from "./syntax.ts";
import type { Work } from "./values.ts";

/** For what is done beside templates with their parts, such as a JSONPath of a mapping. */
export class Budget implements Work {
  #steps: number;
  #characters: number;

  constructor(steps = 100_000, characters = 8 * 1024 * 1024) {
    this.#steps = steps;
    this.#characters = characters;
  }
  step(cost = 1): void {
    this.#steps -= cost;
    if (this.#steps < 0) this.fail("takes too many steps");
  }
  make(characters: number): void {
    this.#characters -= characters;
    if (this.#characters < 0) this.fail("makes too much text");
  }
  made(text: string): string {
    this.make(text.length);
    return text;
  }
  fail(message: string): never {
    throw new TemplateError(1, message);
  }
}
