import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Browser, chromium } from "../browser.ts";
import { startWherry } from "../harness.ts";
import { needs } from "../needs.ts";
import { until } from "./gateway-stack.ts";
import { applyFolders, directUrl, examples } from "./stack.ts";

const shop = join(examples, "shop");
const skip = !process.env["WHERRY_CONFORMANCE"] ? "takes a minute; npm run conformance runs it" : chromium() ? false : "needs Chromium (the package chromium)";

/** SCREENSHOTS=FOLDER keeps what was seen. */
async function look(browser: Browser, name: string): Promise<void> {
  const folder = process.env["SCREENSHOTS"];
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await browser.screenshot(join(folder, `${name}.png`));
}
const text = (selector: string) => `document.querySelector(${JSON.stringify(selector)})?.textContent`;
const shown = (words: string) => `document.body?.innerText.includes(${JSON.stringify(words)}) && ${JSON.stringify(words)}`;

/** Puts words into a field as a person does: a click, then keys. */
async function fill(browser: Browser, selector: string, words: string): Promise<void> {
  await browser.click(selector);
  await browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).select?.()`);
  await browser.type(words);
}

/** Each begins where the one before has left the page, so the first that fails is the last. */
async function step(name: string, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => Promise.reject(new Error(`${name}: ${(error as Error).message}`, { cause: error })));
}

/** What the page's console says, but for answers that were not in time: a machine that is busy is no fault of the page, which has said so to its user. */
const faults = (browser: Browser): string[] => browser.complaints.filter((line) => !/^Failed to load resource: .* status of 50[34] /.test(line));

async function useTheShop( url: string, service: { stop(name: string): Promise<void> }): Promise<void> {
  const name = `grace-${process.pid}`;
  await using browser = await Browser.start();
  await step("who comes finds products, a page at a time, and what he searches for", async () => {
    await browser.open(url);
    await browser.until(`document.querySelectorAll("#products li").length === 24`);
    assert.equal(await browser.evaluate(text("#range")), "1 to 24 of 240");
    await look(browser, "1-first");
    const first = await browser.evaluate<string>(text("#products strong"));
    await browser.click("#next");
    await browser.until(`${text("#range")} === "25 to 48 of 240"`);
    assert.notEqual(await browser.evaluate(text("#products strong")), first);
    assert.equal(await browser.evaluate("scrollY"), 0, "a new page is read from its top");
    await browser.click("#previous");
    await browser.until(`${text("#range")} === "1 to 24 of 240"`);
    await fill(browser, "#search input", "kettle");
    await browser.until(`/^1 to \\d+ of \\d+$/.test(${text("#range")}) && !${text("#range")}.endsWith("of 240")`);
    assert.match(await browser.evaluate<string>(text("#products strong")), /kettle/i);
    await fill(browser, "#search input", "nobody sells this");
    await browser.until(shown("Nothing found."));
    await look(browser, "2-nothing");
    await fill(browser, "#search input", "kettle");
    await browser.until(`document.querySelectorAll("#products li").length > 0`);
  });
  await step("who wants to order is asked who he is, by keyboard alone, and told what was wrong", async () => {
    await browser.click("#products li button:not([disabled])");
    await browser.until(`${text("#total")}.startsWith("Together")`);
    await browser.click("#order");
    await browser.until(`document.querySelector("dialog").open`);
    assert.equal(await browser.evaluate("document.activeElement.name"), "username");
    await browser.type(name);
    await browser.press("Tab");
    await browser.type("too short");
    await browser.press("Tab");
    await browser.type(`${name}@example.com`);
    await look(browser, "3-dialog");
    await browser.press("Tab");
    await browser.press("Tab");
    assert.equal(await browser.evaluate("document.activeElement.value"), "join");
    await browser.press("Enter");
    assert.equal(await browser.evaluate(`document.querySelector("dialog").open && document.querySelector("[name=password]").validity.tooShort`), true);
    await fill(browser, "[name=password]", "correct horse battery");
    // Enter in a field logs in, and there is no such account yet.
    await browser.press("Enter");
    await browser.until(`document.querySelector("dialog [role=alert]")?.textContent`);
    await look(browser, "4-refused");
    assert.ok((await browser.evaluate<string>(text("dialog [role=alert]"))).length > 5);
    await browser.click("dialog button[value=join]");
    await browser.until(`!document.querySelector("dialog").open && ${text("#account")}.includes(${JSON.stringify(name)})`);
    assert.match(await browser.evaluate<string>(text("#account")), /€1,000\.00/);
    // That a login is refused is told by the browser as well, and is all that it told.
    assert.deepEqual(faults(browser).filter((line) => !/status of 401 .*\/users\/login$/.test(line)), []);
    browser.complaints.length = 0;
  });
  await step("an order is placed, paid, and told by mail; the page says who answered", async () => {
    await browser.click("#order");
    await browser.until(shown("Thank you"));
    await browser.until(`/€[\\d.,]+ placed/.test(${text("#orders")})`);
    assert.equal(await browser.evaluate(text("#total")), "Empty");
    assert.doesNotMatch(await browser.evaluate<string>(text("#account")), /€1,000\.00/);
    for (const service of ["gateway", "user-service", "product-service", "order-service"]) assert.match(await browser.evaluate<string>(text("#pods")), new RegExp(`${service}: \\d`));
    await look(browser, "5-ordered");
    await browser.click("#knock");
    await browser.until(`${text("#pods")}.includes("notification-service: ")`);
    assert.deepEqual(await browser.faintTexts(), []);
    assert.deepEqual(faults(browser), []);
    await browser.until(`fetch("/mail").then((answer) => answer.text()).then((mails) => mails.includes(${JSON.stringify(`${name}@example.com`)}))`);
    await browser.click("a[href='/mail']");
    await browser.until(`location.pathname === "/mail" && ${shown(`to ${name}@example.com`)}`);
    await look(browser, "6-mail");
    assert.deepEqual(await browser.faintTexts(), []);
  });
  await step("in the dark, and in a narrow window: everything is read, nothing is wider than the window", async () => {
    await browser.open(url);
    await browser.until(`document.querySelectorAll("#products li").length === 24 && ${text("#account")}.includes(${JSON.stringify(name)})`);
    for (const [width, height] of [[360, 740], [768, 1024], [1920, 1080]] as const) {
      await browser.resize(width, height);
      for (const colours of ["dark", "light"] as const) {
        await browser.prefer(colours);
        assert.equal(await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, `at ${width}`);
        assert.deepEqual(await browser.faintTexts(), [], `${colours} at ${width}`);
        await look(browser, `7-${width}-${colours}`);
      }
    }
    assert.deepEqual(faults(browser), []);
  });
  await step("keys alone: everything that can be pressed is reached, has a name, and shows that it is meant", async () => {
    await browser.resize(1280, 800);
    await browser.evaluate("document.activeElement.blur()");
    const reached = new Set<string>();
    for (let i = 0; i < 60; i++) {
      await browser.press("Tab");
      const at = await browser.evaluate<{ what: string; name: string; outline: string } | null>(`(() => {
        const element = document.activeElement;
        if (element === document.body) return null;
        return { what: element.id || element.name || element.tagName, name: element.ariaLabel || element.textContent.trim() || element.title, outline: getComputedStyle(element).outlineStyle };
      })()`);
      if (!at) break;
      assert.notEqual(at.name, "", at.what);
      assert.notEqual(at.outline, "none", at.what);
      reached.add(at.what);
    }
    for (const what of ["q", "category", "sort", "BUTTON", "next", "A", "knock"]) assert.ok(reached.has(what), `${what} among ${[...reached].join(", ")}`);
  });
  await step("when a service is away the page says so", async () => {
    await service.stop("product-service");
    // Pods that end answer for a while.
    await until("the catalogue is away", async () => !(await fetch(`${url}/products?limit=1`, { signal: AbortSignal.timeout(10_000) })).ok, 120_000);
    await browser.open(url);
    await browser.until(`document.querySelector("#products [role=alert]")?.textContent.length > 10`, 120_000);
    await look(browser, "8-away");
    assert.ok(browser.complaints.splice(0).every((line) => /status of 50\d/.test(line)));
  });
}

test("the shop's page in a real browser", { timeout: 300_000, skip }, async (t) => {
  if (!needs(t, "kubectl")) return;
  await using wherry = await startWherry({ test: t, hostPathRoots: [shop] });
  await applyFolders(wherry, [shop]);
  await useTheShop(directUrl(wherry, "ecommerce", "gateway"), {
    async stop(name) {
      const { code, stderr } = await wherry.kubectl("scale", `deployment/${name}`, "-n", "ecommerce", "--replicas=0");
      assert.equal(code, 0, stderr);
    },
  });
});
