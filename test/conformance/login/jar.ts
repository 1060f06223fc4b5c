import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";

export interface Page {
  url: string;
  status: number;
  location: string | undefined;
  body: string;
  setCookies: string[];
}

/** A client that does as browsers do: cookies by host, redirects, forms that it fills in. Names are other people's addresses here. */
export class CookieClient {
  readonly jars = new Map<string, Map<string, string>>();
  readonly #addresses: Record<string, string>;

  /** `addresses`: where a host name is reached. */
  constructor(addresses: Record<string, string>) {
    this.#addresses = addresses;
  }
  /** Cookies know no ports (RFC 6265 §8.5). */
  jar(url: string): Map<string, string> {
    const { hostname } = new URL(url);
    const jar = this.jars.get(hostname) ?? new Map<string, string>();
    this.jars.set(hostname, jar);
    return jar;
  }
  /** By a connection of its own, so that the workers share them. */
  async ask(url: string, { form, headers = {} }: { form?: Record<string, string>; headers?: Record<string, string> } = {}): Promise<Page> {
    const jar = this.jar(url);
    const { host, hostname, port } = new URL(url);
    const body = form && new URLSearchParams(form).toString();
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    // As it was written: URL would take a second slash for another host's name.
    const path = url.slice(url.indexOf(host) + host.length) || "/";
    const asked = request({ host: this.#addresses[hostname] ?? hostname, port: port || 80, path, method: body === undefined ? "GET" : "POST", agent: false, headers: { host, ...(cookie !== "" && { cookie }), ...(body !== undefined && { "content-type": "application/x-www-form-urlencoded", "content-length": body.length }), ...headers } }).end(body);
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    const setCookies = answer.headers["set-cookie"] ?? [];
    for (const line of setCookies) {
      const [pair] = line.split(";");
      const at = pair!.indexOf("=");
      if (/max-age=0\b|expires=Thu, 01 Jan 1970/i.test(line)) jar.delete(pair!.slice(0, at));
      else jar.set(pair!.slice(0, at), pair!.slice(at + 1));
    }
    const { location } = answer.headers;
    return { url, status: answer.statusCode!, location: location === undefined ? undefined : new URL(location, url).href, body: await text(answer), setCookies };
  }
  /** Goes where it is sent, and fills in the forms on the way, until a page says otherwise or `stop` says so. */
  async go(url: string, stop: (url: string) => boolean = () => false, login = "ann"): Promise<Page> {
    let at = url;
    let form: Record<string, string> | undefined;
    for (let steps = 0; steps < 20; steps++) {
      if (stop(at)) return { url: at, status: 0, location: undefined, body: "", setCookies: [] };
      const page = await this.ask(at, form && { form });
      form = undefined;
      const action = /<form[^>]*action="([^"]+)"/.exec(page.body)?.[1];
      const prompt = /name="prompt" value="(\w+)"/.exec(page.body)?.[1];
      if (page.location !== undefined) at = page.location;
      else if (action !== undefined && prompt !== undefined) {
        at = new URL(action, at).href;
        form = { prompt, login, password: "x" };
      } else return page;
    }
    throw new Error(`sent around for ever: ${at}`);
  }
}
