import { builtinSchema } from "./kinds/table.ts";
import type { KindRegistry } from "./registry.ts";
import type { Schema } from "./schema.ts";
import { badRequestError } from "./status.ts";

/**
 * Reads request bodies of type application/vnd.kubernetes.protobuf into the JSON form of the same object: typed
 * Go clients since 1.32 send nothing else. A body is `k8s\0` and a runtime.Unknown{typeMeta, raw}; raw is the
 * message of the kind, whose field numbers the tables of the built-in kinds hold.
 *
 * Go writes every field that is no pointer, zero or not; zeros that JSON would leave out are left out here too.
 * Fields that the tables do not know are skipped, as protobuf wants it. The result still goes through the walker.
 * Throws a StatusError 400 for bytes that are no such message.
 */
export function decodeProtobuf(body: Uint8Array, registry?: KindRegistry): Record<string, unknown> & { apiVersion: string; kind: string } {
  if (!isProtobuf(body)) throw badRequestError("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
  const unknown = { apiVersion: "", kind: "", contentType: "", raw: new Uint8Array() };
  const reader = new Reader(body, prefix.length, body.length);
  while (reader.more()) {
    const { number, wire } = reader.tag();
    if (number === 1 && wire === 2) {
      const typeMeta = reader.message();
      while (typeMeta.more()) {
        const tag = typeMeta.tag();
        if (tag.number === 1 && tag.wire === 2) unknown.apiVersion = typeMeta.text();
        else if (tag.number === 2 && tag.wire === 2) unknown.kind = typeMeta.text();
        else typeMeta.skip(tag.wire);
      }
    } else if (number === 2 && wire === 2) unknown.raw = reader.bytes();
    else if (number === 4 && wire === 2) unknown.contentType = reader.text();
    else reader.skip(wire);
  }
  const { apiVersion, kind, raw } = unknown;
  const at = apiVersion.indexOf("/");
  const [group, version] = at < 0 ? ["", apiVersion] : [apiVersion.slice(0, at), apiVersion.slice(at + 1)];
  const schema = registry?.byKind(group, version, kind)?.schema ?? builtinSchema(group, version, kind);
  if (!schema?.protobuf) throw badRequestError(`no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(apiVersion)}`);
  const object = { apiVersion, kind };
  decodeMessage(new Reader(raw, 0, raw.length), planOf(schema), object, 0);
  return object;
}

const prefix = [0x6b, 0x38, 0x73, 0x00];

export function isProtobuf(body: Uint8Array): boolean {
  return prefix.every((byte, index) => body[index] === byte);
}

const malformed = (why: string) => badRequestError(`proto: ${why}`);
/** Only JSONSchemaProps nest without end. */
const depthMax = 1000;
const decoder = new TextDecoder();

class Reader {
  readonly #bytes: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }
  more(): boolean {
    return this.#at < this.#end;
  }
  tag(): { number: number; wire: number } {
    const tag = this.varint();
    const number = Math.floor(tag / 8);
    if (number < 1 || number > 536_870_911) throw malformed(`illegal tag ${number}`);
    return { number, wire: tag % 8 };
  }
  /** Two's complement of 64 bits, as int32, int64 and bool are written; exact up to 2^53. */
  varint(): number {
    let low = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.#byte();
      low += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return low;
    }
    let value = BigInt(low);
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.#byte();
      value += BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
    throw malformed("integer overflow");
  }
  double(): number {
    this.#need(8);
    const value = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, 8).getFloat64(0, true);
    this.#at += 8;
    return value;
  }
  bytes(): Uint8Array<ArrayBuffer> {
    const start = this.#span();
    return this.#bytes.slice(start, this.#at) as Uint8Array<ArrayBuffer>;
  }
  text(): string {
    const start = this.#span();
    return decoder.decode(this.#bytes.subarray(start, this.#at));
  }
  message(): Reader {
    const start = this.#span();
    return new Reader(this.#bytes, start, this.#at);
  }
  skip(wire: number): void {
    if (wire === 0) this.varint();
    else if (wire === 2) this.#span();
    else if (wire === 1 || wire === 5) {
      const width = wire === 1 ? 8 : 4;
      this.#need(width);
      this.#at += width;
    } else throw malformed(`illegal wireType ${wire}`);
  }
  #span(): number {
    const length = this.varint();
    if (length < 0) throw malformed("negative length found during unmarshaling");
    this.#need(length);
    const start = this.#at;
    this.#at += length;
    return start;
  }
  #byte(): number {
    this.#need(1);
    return this.#bytes[this.#at++]!;
  }
  #need(count: number): void {
    if (this.#at + count > this.#end) throw malformed("unexpected EOF");
  }
}

/** Field number → what to do; an inlined message leads to the numbers inside it. */
type Plan = Map<number, { field: Field; inlined?: undefined } | { inlined: Plan }>;
interface Field {
  readonly name: string;
  readonly schema: Schema;
  readonly shape: Shape;
  readonly pointer: boolean;
}
type Shape = "string" | "int32" | "int64" | "bool" | "double" | "bytes" | "array" | "map" | "object" | "quantity" | "int-or-string" | "date-time" | "micro-time" | "json" | "schema-or-array" | "schema-or-bool" | "schema-or-strings";

const plans = new WeakMap<Schema, Plan>();

function planOf(schema: Schema): Plan {
  let plan = plans.get(schema);
  if (plan) return plan;
  plans.set(schema, (plan = new Map()));
  for (const [name, { path, pointer }] of Object.entries(schema.protobuf ?? {})) {
    if (path[0] === 0) continue;
    const property = schema.properties![name]!;
    let level = plan;
    for (const number of path.slice(0, -1)) {
      const entry = level.get(number) ?? { inlined: new Map() as Plan };
      level.set(number, entry);
      level = entry.inlined!;
    }
    level.set(path.at(-1)!, { field: { name, schema: property, shape: shapeOf(property), pointer } });
  }
  return plan;
}

function shapeOf(schema: Schema): Shape {
  switch (schema.format) {
    case "quantity":
    case "int-or-string":
    case "date-time":
    case "micro-time":
    case "json":
    case "schema-or-array":
    case "schema-or-bool":
    case "schema-or-strings":
      return schema.format;
    case "raw":
    case "fields-v1":
      return "json";
    case "byte":
      return "bytes";
  }
  switch (schema.type) {
    case "array":
    case "string":
      return schema.type;
    case "integer":
      return schema.format === "int64" ? "int64" : "int32";
    case "number":
      return "double";
    case "boolean":
      return "bool";
    default:
      return schema.additionalProperties ? "map" : "object";
  }
}

function decodeMessage(reader: Reader, plan: Plan, target: Record<string, unknown>, depth: number): void {
  if (depth > depthMax) throw malformed("exceeded max depth");
  while (reader.more()) {
    const { number, wire } = reader.tag();
    const entry = plan.get(number);
    if (!entry) reader.skip(wire);
    else if (entry.inlined) {
      expectWire(wire, 2, number);
      decodeMessage(reader.message(), entry.inlined, target, depth + 1);
    } else decodeField(reader, wire, number, entry.field, target, depth);
  }
}

function decodeField(reader: Reader, wire: number, number: number, { name, schema, shape, pointer }: Field, target: Record<string, unknown>, depth: number): void {
  if (shape === "array") {
    const items = (target[name] ??= []) as unknown[];
    const itemShape = shapeOf(schema.items!);
    if (wire === 2 && (itemShape === "int32" || itemShape === "int64")) {
      const packed = reader.message();
      while (packed.more()) items.push(decodeValue(packed, 0, number, schema.items!, itemShape, depth));
    } else items.push(decodeValue(reader, wire, number, schema.items!, itemShape, depth) ?? null);
  } else if (shape === "map") {
    expectWire(wire, 2, number);
    const map = (target[name] ??= {}) as Record<string, unknown>;
    const [key, value] = decodeEntry(reader.message(), schema.additionalProperties!, depth);
    Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true });
  } else if (shape === "object") {
    expectWire(wire, 2, number);
    const object = (target[name] ?? {}) as Record<string, unknown>;
    decodeMessage(reader.message(), planOf(schema), object, depth + 1);
    if (pointer || Object.keys(object).length > 0) target[name] = object;
  } else {
    const value = decodeValue(reader, wire, number, schema, shape, depth);
    const isZero = value === "" || value === 0 || value === false;
    if (value === undefined || (isZero && schema.omitZero)) delete target[name];
    else target[name] = value;
  }
}

function decodeEntry(reader: Reader, schema: Schema, depth: number): [key: string, value: unknown] {
  let key = "";
  let value: unknown;
  const shape = shapeOf(schema);
  while (reader.more()) {
    const { number, wire } = reader.tag();
    if (number === 1 && wire === 2) key = reader.text();
    else if (number === 2) {
      if (shape === "array") value = decodeItems(reader.message(), schema.items!, depth);
      else value = decodeValue(reader, wire, number, schema, shape, depth);
    } else reader.skip(wire);
  }
  return [key, value ?? zeroOf(shape)];
}

/** A list as the value of a map (ExtraValue) is a message with one repeated field. */
function decodeItems(reader: Reader, schema: Schema, depth: number): unknown[] {
  const items: unknown[] = [];
  while (reader.more()) {
    const { number, wire } = reader.tag();
    if (number === 1) items.push(decodeValue(reader, wire, number, schema, shapeOf(schema), depth));
    else reader.skip(wire);
  }
  return items;
}

function zeroOf(shape: Shape): unknown {
  if (shape === "object" || shape === "map") return {};
  if (shape === "array") return [];
  if (shape === "date-time" || shape === "micro-time" || shape === "json") return null;
  return shape === "string" || shape === "bytes" ? "" : shape === "bool" ? false : shape === "quantity" ? "0" : 0;
}

/** One value; undefined for a time that is not set. */
function decodeValue(reader: Reader, wire: number, number: number, schema: Schema, shape: Shape, depth: number): unknown {
  switch (shape) {
    case "int32":
    case "int64":
      expectWire(wire, 0, number);
      return shape === "int32" ? reader.varint() | 0 : reader.varint();
    case "bool":
      expectWire(wire, 0, number);
      return reader.varint() !== 0;
    case "double":
      expectWire(wire, 1, number);
      return reader.double();
  }
  expectWire(wire, 2, number);
  switch (shape) {
    case "string":
      return reader.text();
    case "bytes":
      return Buffer.from(reader.bytes()).toString("base64");
    case "object": {
      const object = {};
      decodeMessage(reader.message(), planOf(schema), object, depth + 1);
      return object;
    }
    case "date-time":
    case "micro-time":
      return decodeTime(reader.message(), shape === "micro-time" ? 6 : 0);
    case "quantity": {
      const { texts } = decodeSimple(reader.message());
      return texts.get(1) || "0";
    }
    case "int-or-string": {
      const { numbers, texts } = decodeSimple(reader.message());
      return numbers.get(1) === 1 ? (texts.get(3) ?? "") : (numbers.get(2) ?? 0) | 0;
    }
    case "json": {
      const { texts } = decodeSimple(reader.message());
      return parseJson(texts.get(1));
    }
    case "schema-or-array":
    case "schema-or-bool":
    case "schema-or-strings":
      return decodeSchemaOr(reader.message(), shape, depth);
    default:
      throw malformed(`field ${number} cannot stand alone`);
  }
}

function expectWire(wire: number, wanted: number, number: number): void {
  if (wire !== wanted) throw malformed(`wrong wireType = ${wire} for field ${number}`);
}

/** The numbers and texts of a message without inner messages. */
function decodeSimple(reader: Reader): { numbers: Map<number, number>; texts: Map<number, string> } {
  const numbers = new Map<number, number>();
  const texts = new Map<number, string>();
  while (reader.more()) {
    const { number, wire } = reader.tag();
    if (wire === 0) numbers.set(number, reader.varint());
    else if (wire === 2) texts.set(number, reader.text());
    else reader.skip(wire);
  }
  return { numbers, texts };
}

function decodeTime(reader: Reader, digits: 0 | 6): string | undefined {
  const { numbers } = decodeSimple(reader);
  const seconds = numbers.get(1);
  if (seconds === undefined) return undefined;
  if (Math.abs(seconds) > 8.64e12) throw malformed("time out of range");
  const text = new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, "");
  const micros = String(Math.floor((numbers.get(2) ?? 0) / 1000)).padStart(6, "0");
  return digits === 0 ? `${text}Z` : `${text}.${micros}Z`;
}

function parseJson(text: string | undefined): unknown {
  if (text === undefined || text === "") return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw malformed((error as Error).message);
  }
}

/** JSONSchemaPropsOrArray{schema=1, jSONSchemas=2}, OrBool{allows=1, schema=2}, OrStringArray{schema=1, property=2}. */
function decodeSchemaOr(reader: Reader, shape: "schema-or-array" | "schema-or-bool" | "schema-or-strings", depth: number): unknown {
  const props = builtinSchema("apiextensions.k8s.io", "v1", "CustomResourceDefinition")!.properties!.spec!.properties!.versions!.items!.properties!.schema!.properties!.openAPIV3Schema!;
  const schemaNumber = shape === "schema-or-bool" ? 2 : 1;
  let schema: Record<string, unknown> | undefined;
  let allows = false;
  const list: unknown[] = [];
  while (reader.more()) {
    const { number, wire } = reader.tag();
    if (number === schemaNumber && wire === 2) decodeMessage(reader.message(), planOf(props), (schema ??= {}), depth + 1);
    else if (shape === "schema-or-bool" && number === 1 && wire === 0) allows = reader.varint() !== 0;
    else if (shape === "schema-or-array" && number === 2 && wire === 2) {
      const item = {};
      decodeMessage(reader.message(), planOf(props), item, depth + 1);
      list.push(item);
    } else if (shape === "schema-or-strings" && number === 2 && wire === 2) list.push(reader.text());
    else reader.skip(wire);
  }
  if (shape === "schema-or-bool") return schema ?? allows;
  return list.length > 0 ? list : (schema ?? []);
}
