import { type FSWatcher, watch } from "node:fs";
import { dirname } from "node:path";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { type Given, type GivenValue, readFile, readFolder, readText } from "./config-sources.ts";
import type { Health } from "./health.ts";
import type { ServiceLog } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { Field, Secret, type Shape, type Values } from "./schema.ts";

export { address, choice, decimal, duration, Field, flag, integer, list, optional, Secret, secret, type Shape, text, type Values } from "./schema.ts";

/**
 * The configuration of a program: typed, judged whole, and live. Files and folders are watched; an update that is wrong is
 * refused and told, and the last good one stays.
 *
 *   const config = loadConfig({ greeting: text({ default: "Hello" }), database: { password: secret() } }, { folders: ["/etc/greeter"] });
 *   config.value.greeting
 *   config.onChange(({ greeting }) => …);
 */
export interface ConfigOptions {
  /** process.env unless said. Variables go before files, as an operator's last word; files before folders. */
  env?: NodeJS.ProcessEnv;
  /** In front of each variable's name: "SHOP_". */
  prefix?: string;
  /** JSON documents; a later one goes before an earlier one. They must be there. */
  files?: readonly string[];
  /** ConfigMaps and Secrets as they are mounted, the later before the earlier; one that is not there yet holds nothing. */
  folders?: readonly string[];
  /** Keys of files and folders that no field asks for: an error unless "ignore". */
  unknown?: "refuse" | "ignore";
  /** False: read once. */
  watch?: boolean;
  clock?: Clock;
}

/** All that is wrong, a line each: where, with which value, and why. Values of secrets are not in it. */
export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join("\n"));
    this.name = "ConfigError";
    this.problems = problems;
  }
}

/** @throws ConfigError what was given is not what the schema says */
export function loadConfig<const S extends Shape>(schema: S, options: ConfigOptions = {}): Config<Values<S>> {
  return new Config<Values<S>>(schema, options);
}

/** Several files change together: they are read when it is quiet again. */
const quietMs = 50;
/** Not every file system tells of changes. */
const pollMs = 30_000;

export class Config<T> {
  readonly #schema: Shape;
  readonly #options: ConfigOptions;
  readonly #clock: Clock;
  readonly #listeners = new Set<(value: T, before: T) => void>();
  #value: T;
  #text: string;
  #error: ConfigError | undefined;
  #watchers: FSWatcher[] = [];
  #quiet: Timer | undefined;
  #poll: Timer | undefined;
  #isClosed = false;
  #told: { log?: ServiceLog; counted?: (result: "accepted" | "refused") => void } = {};

  constructor(schema: Shape, options: ConfigOptions) {
    this.#schema = schema;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    [this.#value, this.#text] = this.#read();
    if (options.watch === false) return;
    this.#watch();
    this.#pollLater();
  }

  /** As it is now; it never changes in itself, so that what belongs together is read from one. */
  get value(): T {
    return this.#value;
  }
  /** Why the latest update was refused; undefined when the value is the latest. */
  get error(): ConfigError | undefined {
    return this.#error;
  }

  /** Calls with each new value; returns what ends it. What is thrown is told in the log, and refuses nothing. */
  onChange(listener: (value: T, before: T) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells updates in the service's log and metrics, and refused ones in /health as degraded; ends with the service. */
  report(service: { log: ServiceLog; metrics: Metrics; health: Health; onClose(name: string, close: () => unknown): void }): void {
    const reloads = service.metrics.counter({ name: "config_reloads_total", help: "Changes of the configuration.", labels: ["result"] });
    const isGood = service.metrics.gauge({ name: "config_last_reload_successful", help: "Whether the configuration is the latest that was given." }).only;
    const cells = { accepted: reloads.labels("accepted"), refused: reloads.labels("refused") };
    service.metrics.onCollect(() => isGood.set(this.#error ? 0 : 1));
    this.#told = { log: service.log, counted: (result) => cells[result].add() };
    service.health.addCheck("configuration", () => {
      if (this.#error) throw this.#error;
    }, { critical: false, intervalMs: 0 });
    service.onClose("configuration", () => this.close());
  }

  /** Reads everything again, now. Returns whether what is given is in use. */
  reload(): boolean {
    let value: T;
    let text: string;
    try {
      [value, text] = this.#read();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      // Once for each update, not for each look.
      if (error.message !== this.#error?.message) {
        this.#error = error;
        this.#told.counted?.("refused");
        this.#told.log?.error({ problems: error.problems }, "the new configuration was refused, the last one stays");
      }
      return false;
    }
    const wasRefused = this.#error !== undefined;
    this.#error = undefined;
    if (text === this.#text) return true;
    const before = this.#value;
    [this.#value, this.#text] = [value, text];
    this.#told.counted?.("accepted");
    this.#told.log?.info({ after_refusal: wasRefused }, "the configuration changed");
    for (const listener of this.#listeners) {
      try {
        listener(value, before);
      } catch (error) {
        this.#told.log?.error({ err: error }, "a listener of the configuration failed");
      }
    }
    return true;
  }

  close(): void {
    this.#isClosed = true;
    this.#quiet?.cancel();
    this.#poll?.cancel();
    for (const watcher of this.#watchers.splice(0)) watcher.close();
  }

  #read(): [T, string] {
    const { files = [], folders = [], unknown = "refuse", env = process.env, prefix = "" } = this.#options;
    const problems: string[] = [];
    const given: Given = new Map();
    const add = (key: string, value: GivenValue) => void given.set(key, value);
    const attempt = (read: () => void) => {
      try {
        read();
      } catch (error) {
        problems.push((error as Error).message);
      }
    };
    for (const folder of folders) attempt(() => readFolder(folder, add));
    for (const file of files) attempt(() => readFile(file, add));
    const used = new Set<string>();
    // Secrets are told apart here, and shown nowhere.
    const seen: unknown[] = [];
    const value = this.#object(this.#schema, "", { given, used, env, prefix, problems, seen }) as T;
    if (unknown === "refuse") for (const [key, { from }] of given) if (!used.has(key)) problems.push(`${key}: no such field (${from})`);
    if (problems.length > 0) throw new ConfigError(problems);
    return [value, JSON.stringify(seen)];
  }

  #object(shape: Shape, before: string, input: Input): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    for (const [name, part] of Object.entries(shape)) {
      const path = before === "" ? name : `${before}.${name}`;
      object[name] = part instanceof Field ? this.#field(part, path, input) : this.#object(part, path, input);
    }
    return Object.freeze(object);
  }

  #field(field: Field<unknown>, path: string, { given, used, env, prefix, problems, seen }: Input): unknown {
    const variable = prefix + (field.options.env ?? variableOf(path));
    let found: GivenValue | undefined;
    for (const key of [path, variable]) {
      const value = given.get(key);
      if (!value) continue;
      used.add(key);
      found ??= value;
    }
    // An empty variable is how manifests say "none".
    if (env[variable]) found = { raw: env[variable], from: `variable ${variable}` };
    else if (field.isSecret && env[`${variable}_FILE`]) {
      const file = env[`${variable}_FILE`]!;
      try {
        found = { raw: readText(file).replace(/\r?\n$/, ""), from: file };
      } catch (error) {
        problems.push(`${path}: ${(error as Error).message} (variable ${variable}_FILE)`);
        return undefined;
      }
    }
    if (!found) {
      if (field.options.default === undefined && !field.isOptional) problems.push(`${path}: Required value: give variable ${variable}${field.isSecret ? ` or ${variable}_FILE` : ""}${given.size > 0 ? `, or ${path} in a file` : ""}`);
      seen.push(null);
      return field.options.default;
    }
    try {
      const value = field.read(found.raw);
      seen.push(value instanceof Secret ? value.reveal() : value);
      return Object.freeze(value);
    } catch (error) {
      problems.push(`${path}: Invalid value${field.isSecret ? "" : `: ${JSON.stringify(found.raw)}`}: ${(error as Error).message} (${found.from})`);
      return undefined;
    }
  }

  #watch(): void {
    const { files = [], folders = [], env = process.env } = this.#options;
    const referenced = Object.entries(env).filter(([name, value]) => name.endsWith("_FILE") && value && this.#secretVariables().has(name)).map(([, value]) => value!);
    // The folder and not the file: a file is put in place by a rename.
    for (const folder of new Set([...folders, ...[...files, ...referenced].map((file) => dirname(file))])) {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#changed());
        watcher.on("error", () => watcher.close());
        this.#watchers.push(watcher);
      } catch {
        // not there yet: seen by the poll
      }
    }
  }

  #secretVariables(shape: Shape = this.#schema, before = "", names = new Set<string>()): Set<string> {
    for (const [name, part] of Object.entries(shape)) {
      const path = before === "" ? name : `${before}.${name}`;
      if (!(part instanceof Field)) this.#secretVariables(part, path, names);
      else if (part.isSecret) names.add(`${this.#options.prefix ?? ""}${part.options.env ?? variableOf(path)}_FILE`);
    }
    return names;
  }

  #changed(): void {
    this.#quiet?.cancel();
    if (!this.#isClosed) this.#quiet = this.#clock.setTimer(quietMs, () => void this.reload());
  }

  #pollLater(): void {
    this.#poll = this.#clock.setTimer(pollMs, () => {
      for (const watcher of this.#watchers.splice(0)) watcher.close();
      this.#watch();
      this.reload();
      if (!this.#isClosed) this.#pollLater();
    });
  }
}

interface Input {
  given: Given;
  used: Set<string>;
  env: NodeJS.ProcessEnv;
  prefix: string;
  problems: string[];
  seen: unknown[];
}

/** `database.maxSize` → DATABASE_MAX_SIZE. */
function variableOf(path: string): string {
  return path.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replaceAll(/[.-]/g, "_").toUpperCase();
}
