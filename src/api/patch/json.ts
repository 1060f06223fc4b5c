import { isDeepStrictEqual } from "node:util";
import { isObject } from "../../base/is-object.ts";
import { limits } from "../../base/limits.ts";
import { requestTooLargeError } from "../status.ts";
import { malformedPatch, unfittingPatch } from "./error.ts";
import { inOrder, type JsonObject, setOwn } from "./object.ts";

/**
 * Applies a JSON patch (RFC 6902, pointers by RFC 6901). `original` may be frozen and is not changed; the result
 * shares with it whatever the patch did not touch. All operations hold, or none (the error is thrown).
 */
export function applyJsonPatch(original: JsonObject, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw malformedPatch("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  if (patch.length > limits.jsonPatchOperationsMax) {
    throw requestTooLargeError(`The allowed maximum operations in a JSON patch is ${limits.jsonPatchOperationsMax}, got ${patch.length}`);
  }
  const document = new Patched(original);
  for (const operation of patch) document.apply(operation);
  document.sort();
  // What is left must be an object to be one of any kind; of a list the decoder says so.
  if (typeof document.root !== "object" || document.root === null) throw unfittingPatch("nothing is left of the object");
  return document.root;
}

class Patched {
  root: unknown;
  /** Containers made here, which nobody else sees yet: changed in place, so that many operations stay linear. */
  #own = new Set<object>();
  #copiedBytes = 0;

  constructor(root: unknown) {
    this.root = root;
  }

  apply(operation: unknown): void {
    if (!isObject(operation)) throw malformedPatch("json: cannot unmarshal JSON patch operation");
    const path = pointerOf(operation, "path");
    switch (operation.op) {
      case "add":
        return this.#add(within(path), operation.value ?? null);
      case "remove":
        this.#remove(path);
        return;
      case "replace":
        // Of a member that is not there it makes one, as the library behind the real server does; of an element it cannot.
        if (path.length > 0) this.#get(path.slice(0, -1));
        return this.#set(path, operation.value ?? null);
      case "move": {
        const from = within(pointerOf(operation, "from"));
        if (from.length < path.length && from.every((part, index) => part === path[index])) throw unfittingPatch("cannot move a value into itself");
        const value = this.#get(from);
        if (from.length === path.length && from.every((part, index) => part === path[index])) return;
        this.#remove(from);
        return this.#add(within(path), value);
      }
      case "copy": {
        // A member that is not there is copied as null, as the library behind the real server does.
        const value = this.#get(within(pointerOf(operation, "from")), true);
        // A value that is copied into itself doubles each time: bounded by what a request may weigh.
        this.#copiedBytes += JSON.stringify(value).length;
        if (this.#copiedBytes > limits.apiBodyBytesMax) throw unfittingPatch("the copies of the patch exceed the size of a request");
        this.#own.clear();
        return this.#add(within(path), value);
      }
      case "test":
        if (!isDeepStrictEqual(this.#get(path, true), operation.value ?? null)) throw unfittingPatch(`testing value ${String(operation.path)} failed`);
        return;
      default:
        throw unfittingPatch(`unexpected operation ${JSON.stringify(operation.op)}`);
    }
  }

  /** Keys of what was opened are in order, as after the library behind the real server. */
  sort(): void {
    for (const object of this.#own) {
      if (Array.isArray(object)) continue;
      const sorted = inOrder(object as JsonObject);
      if (sorted === object) continue;
      for (const key of Object.keys(object)) delete (object as JsonObject)[key];
      for (const key of Object.keys(sorted)) setOwn(object as JsonObject, key, sorted[key]);
    }
  }

  #get(path: readonly string[], absentIsNull = false): unknown {
    let value = this.root;
    for (const [depth, part] of path.entries()) {
      if (Array.isArray(value)) value = value[indexOf(part, value.length)];
      else if (isObject(value) && Object.hasOwn(value, part)) value = value[part];
      else if (isObject(value) && absentIsNull && depth === path.length - 1) return null;
      else throw missing(path);
    }
    return value;
  }

  #add(path: readonly string[], value: unknown): void {
    const parent = this.#get(path.slice(0, -1));
    if (!Array.isArray(parent)) return this.#set(path, value);
    const last = path.at(-1)!;
    const index = last === "-" ? parent.length : indexOf(last, parent.length + 1);
    (this.#ownParent(path) as unknown[]).splice(index, 0, value);
  }

  #set(path: readonly string[], value: unknown): void {
    if (path.length === 0) {
      this.root = value;
      return;
    }
    const parent = this.#ownParent(path);
    if (Array.isArray(parent)) parent[indexOf(path.at(-1)!, parent.length)] = value;
    else setOwn(parent, path.at(-1)!, value);
  }

  #remove(path: readonly string[]): void {
    this.#get(within(path));
    const parent = this.#ownParent(path);
    if (Array.isArray(parent)) parent.splice(indexOf(path.at(-1)!, parent.length), 1);
    else delete parent[path.at(-1)!];
  }

  /** The container that holds the path's last part, with every container above it copied if it is shared. */
  #ownParent(path: readonly string[]): JsonObject | unknown[] {
    let container = (this.root = this.#owned(this.root, path));
    for (const part of path.slice(0, -1)) {
      if (Array.isArray(container)) {
        const index = indexOf(part, container.length);
        container = container[index] = this.#owned(container[index], path);
      } else {
        if (!Object.hasOwn(container, part)) throw missing(path);
        const owned = this.#owned(container[part], path);
        setOwn(container, part, owned);
        container = owned;
      }
    }
    return container;
  }

  #owned(value: unknown, path: readonly string[]): JsonObject | unknown[] {
    if (typeof value !== "object" || value === null) throw missing(path);
    if (this.#own.has(value)) return value as JsonObject;
    const copy = Array.isArray(value) ? value.slice() : { ...(value as JsonObject) };
    this.#own.add(copy);
    return copy;
  }
}

function missing(path: readonly string[]) {
  return unfittingPatch(`doc is missing path: ${JSON.stringify(`/${path.join("/")}`)}`);
}

function pointerOf(operation: JsonObject, field: "path" | "from"): string[] {
  const pointer = operation[field];
  if (typeof pointer !== "string") throw unfittingPatch(`operation is missing required ${JSON.stringify(field)}`);
  return parsePointer(pointer);
}

/** RFC 6901: "/a~1b/0" → ["a/b", "0"]; "" is the whole document. A tilde that escapes nothing is one. */
export function parsePointer(pointer: string): string[] {
  if (pointer === "") return [];
  if (!pointer.startsWith("/")) throw unfittingPatch(`a JSON pointer starts with "/": ${JSON.stringify(pointer)}`);
  return pointer
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** Only `replace` and `test` take the whole document. */
function within(path: readonly string[]): readonly string[] {
  if (path.length === 0) throw missing(path);
  return path;
}

/** A negative one counts from the end, as the library behind the real server lets it. */
function indexOf(part: string, length: number): number {
  const number = /^[+-]?\d{1,9}$/.test(part) ? Number(part) : length;
  const index = number < 0 ? number + length : number;
  if (index < 0 || index >= length) throw unfittingPatch(`invalid array index ${JSON.stringify(part)}`);
  return index;
}
