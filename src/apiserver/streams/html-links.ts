import { posix } from "node:path";
import { Transform, type TransformCallback } from "node:stream";

/** How a page's links lead back through the proxy that it came through. */
export interface Rewriting {
  /** Path of the proxied Service or pod at our side, without a slash at its end: "/api/v1/namespaces/a/services/web/proxy". */
  prefix: string;
  /** Host and port of who made the page. */
  backendHost: string;
  /** The `Host` that the client asked. */
  requestHost: string;
}

/**
 * A link to the backend's own host, from its root, goes through the proxy; others stay as they are.
 * Source: k8s.io/apimachinery/pkg/util/proxy/transport.go, rewriteURL.
 */
export function rewriteLink(link: string, { prefix, backendHost, requestHost }: Rewriting): string {
  const [, scheme = "", host = "", path = "", rest = ""] = /^(?:([a-z][a-z\d+.-]*:)?\/\/([^/?#]*))?([^?#]*)([^]*)$/i.exec(link)!;
  if (!path.startsWith("/") || (host !== "" && host !== backendHost && host !== requestHost)) return link;
  const origin = host !== "" && host === requestHost ? `${scheme}//${host}` : "";
  if (path.startsWith(prefix)) return `${origin}${path}${rest}`;
  // join() keeps the slash at the end.
  return `${origin}${posix.join(prefix, path)}${rest}`;
}

/** Attributes that hold a URL, by element. Source: https://html.spec.whatwg.org/multipage/indices.html#attributes-3, and older ones that upstream rewrites. */
const links: Readonly<Record<string, readonly string[]>> = {
  a: ["href"],
  applet: ["codebase"],
  area: ["href"],
  audio: ["src"],
  base: ["href"],
  blockquote: ["cite"],
  body: ["background"],
  button: ["formaction"],
  command: ["icon"],
  del: ["cite"],
  embed: ["src"],
  form: ["action"],
  frame: ["longdesc", "src"],
  head: ["profile"],
  html: ["manifest"],
  iframe: ["longdesc", "src"],
  img: ["longdesc", "src", "usemap"],
  input: ["src", "usemap", "formaction"],
  ins: ["cite"],
  link: ["href"],
  object: ["classid", "codebase", "data", "usemap"],
  q: ["cite"],
  script: ["src"],
  source: ["src"],
  video: ["poster", "src"],
};
/** Nothing inside them is a tag. */
const rawText = new Set(["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"]);
const tag = /^<([a-z][^\s/>]*)((?:[^>"']|"[^"]*"|'[^']*')*)>/i;
const attribute = /([^\s"'<>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)/g;
/** A "tag" that goes on for longer is none: it is passed on as it is. */
const tagMax = 64 * 1024;

/** HTML as it is, but for links in tags. Works on bytes, so that the page's encoding does not matter as long as it has ASCII in it. */
export class LinkRewriter extends Transform {
  readonly #rewriting: Rewriting;
  #pending = "";
  /** What ends that in which nothing is a tag: "-->", "</script". */
  #until: string | undefined;

  constructor(rewriting: Rewriting) {
    super();
    this.#rewriting = rewriting;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#pending += chunk.toString("latin1");
    done(null, Buffer.from(this.#take(false), "latin1"));
  }
  override _flush(done: TransformCallback): void {
    done(null, Buffer.from(this.#take(true), "latin1"));
  }

  /** All of which it is certain what it is. */
  #take(atEnd: boolean): string {
    const text = this.#pending;
    let out = "";
    let at = 0;
    while (at < text.length) {
      if (this.#until !== undefined) {
        const end = indexOfIgnoringCase(text, this.#until, at);
        // The mark may be cut in two.
        const kept = end >= 0 ? end : atEnd ? text.length : Math.max(at, text.length - this.#until.length + 1);
        out += text.slice(at, kept);
        at = kept;
        if (end < 0) break;
        this.#until = undefined;
        // It is passed on with what follows, as text.
        out += text[at++]!;
        continue;
      }
      const open = text.indexOf("<", at);
      if (open < 0) {
        out += text.slice(at);
        at = text.length;
        break;
      }
      out += text.slice(at, open);
      at = open;
      if (text.startsWith("<!--", at)) {
        this.#until = "-->";
        continue;
      }
      const isCut = text.length - at < 4;
      const rest = text.slice(at, at + tagMax);
      const found = tag.exec(rest);
      if (found) {
        const [whole, name, attributes] = found as unknown as [string, string, string];
        const known = links[name.toLowerCase()];
        out += known ? `<${name}${attributes.replace(attribute, (all: string, key: string, equals: string, value: string) => (known.includes(key.toLowerCase()) ? `${key}${equals}${this.#rewrite(value)}` : all))}>` : whole;
        at += whole.length;
        if (rawText.has(name.toLowerCase()) && !attributes.endsWith("/")) this.#until = `</${name}`;
        continue;
      }
      const mayBecomeTag = /^<[a-z]/i.test(rest);
      if (!atEnd && (isCut || (mayBecomeTag && rest.length < tagMax))) break;
      // Passed over whole: looked through again from each "<" in it, it would cost its square.
      const passed = mayBecomeTag ? rest : rest[0]!;
      out += passed;
      at += passed.length;
    }
    this.#pending = text.slice(at);
    return out;
  }

  #rewrite(value: string): string {
    const quote = /^["']/.exec(value)?.[0] ?? "";
    return `${quote}${rewriteLink(quote ? value.slice(1, -1) : value, this.#rewriting)}${quote}`;
  }
}

function indexOfIgnoringCase(text: string, mark: string, from: number): number {
  return mark === "-->" ? text.indexOf(mark, from) : text.toLowerCase().indexOf(mark.toLowerCase(), from);
}
