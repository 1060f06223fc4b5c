import { unescapeName } from "./names.ts";
import { CelMap } from "./values.ts";

/**
 * A JSON object of which no schema is known, as expressions about tokens see it: keys that are no names are written
 * escaped (`claims.example__dot__com__slash__roles`) at any depth, and every number is a double.
 * Source: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go (unescapeMapper).
 */
export class UnescapingMap extends CelMap {
  readonly #raw: Readonly<Record<string, unknown>>;

  constructor(raw: Readonly<Record<string, unknown>>) {
    super();
    this.#raw = raw;
  }
  get size(): number {
    return Object.keys(this.#raw).length;
  }
  keys(): Iterable<unknown> {
    return Object.keys(this.#raw);
  }
  get(key: unknown): unknown {
    if (typeof key !== "string") return undefined;
    const name = unescapeName(key);
    return Object.hasOwn(this.#raw, name) ? valueOf(this.#raw[name]) : undefined;
  }
}

function valueOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(valueOf);
  return typeof value === "object" && value !== null ? new UnescapingMap(value as Record<string, unknown>) : value;
}
