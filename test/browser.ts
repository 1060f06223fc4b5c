import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import WebSocket from "ws";
import { find } from "./needs.ts";

/** Chromium of this machine; undefined: there is none. */
export const chromium = (): string | undefined => ["chromium", "chromium-browser", "google-chrome"].map(find).find((path) => path !== undefined);

export interface BrowserOptions {
  width?: number;
  height?: number;
  /** What the page is told that the user likes. Default "light". */
  colours?: "light" | "dark";
}

type Params = Record<string, unknown>;

/**
 * One tab of a headless Chromium with a profile of its own, driven by the DevTools protocol: a page is used as people use it, by
 * clicks at places and by keys. Everything it complains about is kept in `complaints`.
 */
export class Browser implements AsyncDisposable {
  /** Uncaught errors, console.error and console.warn, and requests of the page that came to nothing, as the console shows them. */
  readonly complaints: string[] = [];
  readonly #socket: WebSocket;
  readonly #end: () => Promise<void>;
  readonly #waiting = new Map<number, PromiseWithResolvers<any>>();
  #session = "";
  #lastId = 0;

  private constructor(socket: WebSocket, end: () => Promise<void>) {
    this.#socket = socket;
    this.#end = end;
    socket.on("message", (data) => this.#hear(JSON.parse(String(data)) as { id?: number; method?: string; params?: Params; result?: unknown; error?: { message: string } }));
    socket.on("close", () => this.#waiting.forEach(({ reject }) => reject(new Error("the browser is gone"))));
  }

  static async start({ width = 1280, height = 800, colours = "light" }: BrowserOptions = {}): Promise<Browser> {
    const program = chromium();
    if (!program) throw new Error("this machine has no Chromium");
    const profile = mkdtempSync(join(tmpdir(), "wherry-browser-"));
    const flags = ["--headless=new", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", `--window-size=${width},${height}`];
    // Its own sandbox does not run as root.
    const child = spawn(program, [...flags, ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), "about:blank"], { stdio: ["ignore", "ignore", "pipe"], detached: true, env: { ...process.env, HOME: profile } });
    const end = async (): Promise<void> => {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, "exit");
        // With its helpers: the group is its own.
        process.kill(-child.pid!, "SIGKILL");
        await gone;
      }
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    };
    try {
      const url = await new Promise<string>((resolve, reject) => {
        let said = "";
        child.stderr.on("data", (chunk: Buffer) => {
          said += chunk.toString();
          const found = /DevTools listening on (\S+)/.exec(said);
          if (found) resolve(found[1]!);
        });
        child.once("error", reject);
        child.once("exit", (code) => reject(new Error(`Chromium ended with ${code}: ${said}`)));
      });
      const socket = new WebSocket(url, { perMessageDeflate: false });
      await once(socket, "open");
      const browser = new Browser(socket, end);
      const { targetInfos } = (await browser.send("Target.getTargets")) as { targetInfos: { targetId: string; type: string }[] };
      const { sessionId } = (await browser.send("Target.attachToTarget", { targetId: targetInfos.find(({ type }) => type === "page")!.targetId, flatten: true })) as { sessionId: string };
      browser.#session = sessionId;
      for (const domain of ["Page", "Runtime", "Log"]) await browser.send(`${domain}.enable`);
      await browser.resize(width, height);
      await browser.prefer(colours);
      return browser;
    } catch (error) {
      await end();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#socket.terminate();
    await this.#end();
  }

  send(method: string, params: Params = {}): Promise<unknown> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<unknown>();
    this.#waiting.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params, ...(this.#session && { sessionId: this.#session }) }));
    return answer.promise;
  }

  #hear({ id, method, params, result, error }: { id?: number; method?: string; params?: any; result?: unknown; error?: { message: string } }): void {
    if (id !== undefined) {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) waiting?.reject(new Error(error.message));
      else waiting?.resolve(result);
    }
    if (method === "Runtime.exceptionThrown") this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && ["error", "warning", "assert"].includes(params.type)) this.complaints.push(params.args.map((arg: { value?: unknown; description?: string }) => String(arg.value ?? arg.description)).join(" "));
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) this.complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`.trim());
  }

  async resize(width: number, height: number): Promise<void> {
    await this.send("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  }
  async prefer(colours: "light" | "dark"): Promise<void> {
    await this.send("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: colours }] });
  }

  async open(url: string): Promise<void> {
    const { errorText } = (await this.send("Page.navigate", { url })) as { errorText?: string };
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await this.until(`document.readyState === "complete" && location.href !== "about:blank"`);
  }

  /** The value of an expression in the page; promises are waited for. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true, userGesture: true })) as { result: { value: T }; exceptionDetails?: { text: string; exception?: { description?: string } } };
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Until an expression holds; gives its value. */
  async until<T = unknown>(expression: string, withinMs = 60_000): Promise<T> {
    let last: unknown;
    for (const began = performance.now(); performance.now() - began < withinMs; ) {
      // A page that is being left has no context for a moment.
      last = await this.evaluate<T>(expression).catch((error: unknown) => ((error as Error).message.startsWith(expression) ? Promise.reject(error as Error) : undefined));
      if (last) return last as T;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    throw new Error(`not within ${withinMs} ms: ${expression}; the page says: ${await this.evaluate<string>("document.body.innerText.slice(0, 800)")}`);
  }

  /** At the middle of the first element that fits the selector; it must be what lies on top there, as it must for people. */
  async click(selector: string): Promise<void> {
    const spot = await this.until<{ x: number; y: number; under?: string }>(`(() => {
      const element = document.querySelector(${JSON.stringify(selector)});
      if (!element || element.disabled) return undefined;
      element.scrollIntoView({ block: "center", behavior: "instant" });
      const { x, y, width, height } = element.getBoundingClientRect();
      const [left, top] = [x + width / 2, y + height / 2];
      const hit = document.elementFromPoint(left, top);
      return { x: left, y: top, ...(!(hit && (element.contains(hit) || hit.contains(element))) && { under: hit?.outerHTML.slice(0, 200) ?? "nothing" }) };
    })()`);
    if (spot.under !== undefined) throw new Error(`${selector} is under ${spot.under}`);
    for (const type of ["mousePressed", "mouseReleased"]) await this.send("Input.dispatchMouseEvent", { type, x: spot.x, y: spot.y, button: "left", clickCount: 1 });
  }

  /** Into what has the focus. */
  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text });
  }
  async press(key: "Tab" | "Enter" | "Escape" | "Space"): Promise<void> {
    const [name, code, text] = ({ Tab: ["Tab", 9], Enter: ["Enter", 13, "\r"], Escape: ["Escape", 27], Space: [" ", 32, " "] } as const)[key];
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", key: name, code: key, windowsVirtualKeyCode: code, ...(text && { text }) });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", key: name, code: key, windowsVirtualKeyCode: code });
  }

  /** PNG of what is seen. */
  async screenshot(file: string): Promise<void> {
    const { data } = (await this.send("Page.captureScreenshot", { format: "png" })) as { data: string };
    writeFileSync(file, Buffer.from(data, "base64"));
  }

  /**
   * Texts that are seen and stand out too little from what is behind them, by WCAG 2.2 §1.4.3: below 4.5, or 3 for large ones;
   * disabled ones are exempt there. Each as "RATIO TEXT".
   */
  async faintTexts(): Promise<string[]> {
    return await this.evaluate(`(${faintTexts.toString()})()`);
  }
}

/* In the page. */
declare const document: any;
declare const getComputedStyle: any;
function faintTexts(): string[] {
  const parts = (colour: string): number[] => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([red, green, blue]: number[]): number => {
    const [r, g, b] = [red!, green!, blue!].map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  const behind = (element: any): number[] => {
    for (let at = element; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255];
  };
  const faint: string[] = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent).join("").trim();
    const style = getComputedStyle(element);
    if (text === "" || element.closest("[disabled], option") || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const [dark, light] = [luminance(parts(style.color)), luminance(behind(element))].sort((a, b) => a - b) as [number, number];
    const ratio = (light + 0.05) / (dark + 0.05);
    const size = Number.parseFloat(style.fontSize);
    if (ratio < (size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${text.slice(0, 60)}`);
  }
  return faint;
}
