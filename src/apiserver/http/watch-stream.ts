import type { WatchOptions } from "../../api/client.ts";
import type { Kind } from "../../api/kind.ts";
import { apiVersionOf } from "../../api/meta.ts";
import { limits } from "../../base/limits.ts";
import type { Random } from "../../base/random.ts";
import { tooManyRequestsError } from "../../api/status.ts";
import type { Entry } from "../../store/store.ts";
import type { Api } from "../api.ts";
import { bytesOf, objectOf } from "../rest/keys.ts";
import { bookmarkObject, type OpenWatch, type WatchNotice } from "../rest/watch.ts";
import type { Exchange } from "./exchange.ts";
import type { Form } from "./negotiate.ts";
import { type IncludeObject, partialMetadata, row, table } from "./table.ts";

/** Upstream's: a watch without timeoutSeconds ends after half an hour to an hour. */
const defaultTimeoutS = { least: 1_800, most: 3_600 };
const bookmarkEveryMs = 60_000;

let open = 0;

/**
 * Lines are encoded once an entry, version and event type, whoever watches; and kept while others may be about to ask for
 * the same. Kept as long as the entry, they would be all objects a second time.
 */
class RecentLines {
  readonly #lines = new Map<Entry, Map<string, Buffer>>();
  #bytes = 0;

  get(entry: Entry, name: string, make: () => Buffer): Buffer {
    let forms = this.#lines.get(entry);
    let line = forms?.get(name);
    if (line) return line;
    line = make();
    if (!forms) this.#lines.set(entry, (forms = new Map()));
    forms.set(name, line);
    this.#bytes += line.length;
    for (const [oldest, lines] of this.#lines) {
      if (this.#bytes <= limits.watchLinesBytes || oldest === entry) break;
      this.#lines.delete(oldest);
      for (const gone of lines.values()) this.#bytes -= gone.length;
    }
    return line;
  }
}
const recent = new RecentLines();

export const openWatches = (): number => open;

/** Serves a watch as a stream of JSON lines. Throws before the stream begins; later errors travel inside it. */
export function serveWatch(api: Api, kind: Kind, options: WatchOptions, exchange: Exchange, form: Form, include: IncludeObject, random: Random): void {
  if (open >= limits.watchersMax) throw tooManyRequestsError(`there are ${open} watches, as many as may be (limits.watchersMax)`, 5);
  const { response } = exchange;
  const apiVersion = apiVersionOf(kind.group, kind.version);
  const encode = encoderOf(api, kind, form, include);
  let over = false;
  let paused = false;
  let watch: OpenWatch | undefined;
  const early: (readonly WatchNotice[])[] = [];

  const write = (notices: readonly WatchNotice[]): boolean => {
    const chunks = notices.map((notice) => (notice.type === "BOOKMARK" ? bookmarkLine(kind, apiVersion, notice, form) : encode(notice.type, notice.entry)));
    response.write(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
    paused = response.writableLength > limits.watcherQueueBytes;
    return !paused;
  };
  const finish = () => {
    if (over) return;
    over = true;
    open--;
    watch?.close();
    timeout.cancel();
    clearInterval(bookmarks);
    response.end();
  };

  // Opened before the stream begins, so that 410 and 422 are answers and not events.
  watch = api.watch(kind, options, {
    onNotices: (notices) => (over ? false : watch ? write(notices) : void early.push(notices)),
    onEnd(error) {
      if (!over && error) response.write(`${JSON.stringify({ type: "ERROR", object: error.toStatus() })}\n`);
      finish();
    },
  });
  open++;
  const seconds = options.timeoutSeconds ?? defaultTimeoutS.least + Math.floor(random.next() * (defaultTimeoutS.most - defaultTimeoutS.least));
  const timeout = api.clock.setTimer(seconds * 1000, () => {
    watch?.bookmark();
    finish();
  });
  const bookmarks = setInterval(() => watch?.bookmark(), bookmarkEveryMs);
  bookmarks.unref();
  response.on("close", finish);
  response.on("drain", () => {
    if (!paused || over) return;
    paused = false;
    watch?.resume();
  });
  exchange.stream("application/json");
  for (const notices of early) write(notices);
}

function encoderOf(api: Api, kind: Kind, form: Form, include: IncludeObject): (type: string, entry: Entry) => Buffer {
  if (form.as === undefined) {
    const version = `${kind.group}/${kind.version}`;
    return (type, entry) => recent.get(entry, `${type} ${version}`, () => Buffer.concat([Buffer.from(`{"type":"${type}","object":`), bytesOf(kind, entry), Buffer.from("}\n")]));
  }
  let first = true;
  return (type, entry) => {
    const object = objectOf(kind, entry);
    // Only the first event carries the columns; clients remember them.
    const shown = form.as === "Table" ? table(kind, [row(kind, object, api.clock.now(), include, form.version!)], { resourceVersion: object.metadata.resourceVersion }, form.version!, first) : partialMetadata(object, form.version!);
    first = false;
    return Buffer.from(`${JSON.stringify({ type, object: shown })}\n`);
  };
}

function bookmarkLine(kind: Kind, apiVersion: string, notice: Extract<WatchNotice, { type: "BOOKMARK" }>, form: Form): Buffer {
  const object = bookmarkObject(kind, apiVersion, notice.revision, notice.initialEventsEnd);
  const shown = form.as === "Table" ? table(kind, [{ cells: [], object: partialMetadata(object, form.version!) }], { resourceVersion: String(notice.revision) }, form.version!, false) : form.as ? partialMetadata(object, form.version!) : object;
  return Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object: shown })}\n`);
}
