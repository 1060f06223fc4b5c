// The page of the shop: plain DOM, no build. Text of others is only ever set as textContent.
const $ = (id) => document.getElementById(id);
const money = (cents, currency = "EUR") => new Intl.NumberFormat("en", { style: "currency", currency }).format(cents / 100);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const kept = (name) => JSON.parse(sessionStorage.getItem(name) ?? "null");
const keep = (name, value) => (value === undefined ? sessionStorage.removeItem(name) : sessionStorage.setItem(name, JSON.stringify(value)));
let session = kept("session"); // { token, user }
const basket = new Map((kept("basket") ?? []).map((line) => [line.id, line]));
const pods = new Map(); // service → pod → how many answers
const pageSize = 24;
let offset = 0;

function tell(text) {
  $("message").textContent = text;
  $("message").classList.add("shown");
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => $("message").classList.remove("shown"), 4000);
}

/** The JSON of an answer, whatever its status, and status 0 where there was none; counts whose it was. Never rejects. */
async function ask(method, path, body, headers = {}) {
  const response = await fetch(path, { method, headers: { ...(body && { "content-type": "application/json" }), ...(session && { authorization: `Bearer ${session.token}` }), ...headers }, ...(body && { body: JSON.stringify(body) }), cache: "no-store" }).catch(() => undefined);
  if (!response) return { ok: false, status: 0, json: { detail: "The shop does not answer" } };
  for (const pod of [response.headers.get("x-gateway-instance-id"), response.headers.get("x-instance-id")]) if (pod) count(pod);
  const json = await response.json().catch(() => ({}));
  if (!response.ok) json.detail ??= json.title ?? `The answer was ${response.status}`;
  if (response.status === 401 && session && path !== "/users/login") signOut();
  return { ok: response.ok, status: response.status, json };
}

function count(pod) {
  const service = /^(gateway|[a-z]+-service)/.exec(pod)?.[1] ?? pod;
  const of = pods.get(service) ?? pods.set(service, new Map()).get(service);
  of.set(pod, (of.get(pod) ?? 0) + 1);
  const most = Math.max(...[...pods.values()].flatMap((one) => [...one.values()]));
  $("pods").replaceChildren(...[...pods].sort().flatMap(([name, answers]) => [make("p", { className: "of", textContent: `${name}: ${answers.size}` }), ...[...answers].sort().map(([pod, times]) => {
    const bar = make("div", { className: "bar" });
    bar.style.width = `${(100 * times) / most}%`;
    return make("div", { className: "pod" }, make("span", { textContent: pod.slice(name.length + 1) }), make("span", { textContent: times }), bar);
  })]));
}

async function showProducts() {
  const form = new FormData($("search"));
  const query = new URLSearchParams([...form].filter(([, value]) => value !== ""));
  query.set("limit", pageSize);
  query.set("offset", offset);
  const { ok, json } = await ask("GET", `/products?${query}`);
  if (!ok) return showInstead(make("p", { role: "alert", textContent: `The catalogue cannot be read: ${json.detail}` }), make("button", { textContent: "Try again", onclick: start }));
  if (json.products.length === 0) showInstead(make("p", { textContent: "Nothing found. Try another word, or all categories." }));
  else $("products").replaceChildren(...json.products.map((product) => {
    const button = make("button", { textContent: product.stock > 0 ? "Add to basket" : "Sold out", ariaLabel: product.stock > 0 ? `Add ${product.name} to the basket` : `${product.name} is sold out`, disabled: product.stock === 0, onclick: () => put(product) });
    return make("li", {}, make("strong", { textContent: product.name }), make("small", { textContent: product.description }), make("small", { textContent: `${product.stock} in stock · ${product.sku}` }), make("div", { className: "row" }, make("span", { textContent: money(product.price_cents, product.currency) }), button));
  }));
  const total = json.total ?? 0;
  $("range").textContent = total === 0 ? "" : `${offset + 1} to ${Math.min(offset + pageSize, total)} of ${total}`;
  $("previous").disabled = offset === 0;
  $("next").disabled = offset + pageSize >= total;
}

/** In the place of products. */
function showInstead(...what) {
  $("products").replaceChildren(make("li", { className: "empty" }, ...what));
  $("range").textContent = "";
  $("previous").disabled = $("next").disabled = true;
}

async function turnTo(first) {
  offset = Math.max(0, first);
  await showProducts();
  scrollTo(0, 0);
}

function put({ id, sku, name, price_cents, currency }, by = 1) {
  const quantity = (basket.get(id)?.quantity ?? 0) + by;
  if (quantity > 0) basket.set(id, { id, sku, name, price_cents, currency, quantity });
  else basket.delete(id);
  showBasket();
}
function showBasket() {
  keep("basket", [...basket.values()]);
  $("basket").replaceChildren(...[...basket.values()].map((line) => make("li", {}, make("span", { textContent: `${line.quantity} × ${line.name}` }), make("span", {}, make("button", { textContent: "−", title: "One less", ariaLabel: `One less ${line.name}`, onclick: () => put(line, -1) }), " ", make("button", { textContent: "+", title: "One more", ariaLabel: `One more ${line.name}`, onclick: () => put(line) })))));
  const sum = [...basket.values()].reduce((all, { price_cents, quantity }) => all + price_cents * quantity, 0);
  $("total").textContent = basket.size === 0 ? "Empty" : `Together ${money(sum)}`;
  $("order").disabled = basket.size === 0;
  $("to-basket").textContent = `Basket: ${[...basket.values()].reduce((all, { quantity }) => all + quantity, 0)}`;
}

/** One key for one order, however often it has to be sent: what got lost on the way is asked for again and not ordered again. */
async function order() {
  if (!session) return showLogin();
  $("order").disabled = true;
  const key = crypto.randomUUID?.() ?? String(Math.random());
  const body = { user_id: session.user.id, items: [...basket.values()].map(({ id, quantity }) => ({ product_id: id, quantity })) };
  for (let attempt = 1; ; attempt++) {
    const answer = await ask("POST", "/orders", body, { "idempotency-key": key });
    if ((answer.status === 0 || answer.status >= 500) && attempt < 5) {
      tell("One moment …");
      await new Promise((resolve) => setTimeout(resolve, 500 * attempt));
      continue;
    }
    tell(answer.ok ? (answer.status === 202 ? "The goods are yours; the payment is under way" : "Thank you. The mail is on its way") : answer.json.detail);
    if (answer.ok) basket.clear();
    break;
  }
  showBasket();
  await Promise.all([showProducts(), showAccount()]);
}

async function showAccount() {
  if (session) {
    const { ok, json } = await ask("GET", "/users/me");
    if (ok) session.user = json;
  }
  const signed = session && make("span", { textContent: `${session.user.username}, ${money(session.user.balance_cents)} ` });
  $("account").replaceChildren(...(signed ? [signed, make("button", { textContent: "Log out", onclick: signOut })] : [make("button", { className: "main", textContent: "Log in", onclick: showLogin })]));
  const orders = session ? (await ask("GET", `/orders?limit=8&user_id=${session.user.id}`)).json.orders ?? [] : [];
  $("orders").replaceChildren(...(orders.length > 0 ? orders.map(({ created, status, total_cents, currency }) => make("li", {}, make("span", { textContent: new Date(created).toLocaleTimeString() }), make("span", { textContent: `${money(total_cents, currency)} ${status}` }))) : [make("li", {}, make("small", { textContent: session ? "None yet" : "Log in to see them" }))]));
}

function showLogin() {
  $("refused").textContent = "";
  $("dialog").showModal();
}

function signOut() {
  session = null;
  keep("session");
  void showAccount();
}

const on = (id, type, listener) => $(id).addEventListener(type, listener);
on("login", "submit", async (event) => {
  const how = event.submitter?.value;
  if (!how) return;
  event.preventDefault();
  // Beside the fields: what lies behind a dialog is not read.
  const refuse = (text) => void ($("refused").textContent = text);
  refuse("");
  const { username, password, email } = Object.fromEntries(new FormData($("login")));
  if (how === "join") {
    const joined = await ask("POST", "/users", { username, password, email });
    if (!joined.ok) return refuse(joined.json.detail);
  }
  const { ok, json } = await ask("POST", "/users/login", { username, password });
  if (!ok) return refuse(json.detail);
  session = { token: json.access_token, user: json.user };
  keep("session", session);
  $("dialog").close();
  await showAccount();
});
let typing;
on("search", "submit", (event) => event.preventDefault());
on("search", "input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => turnTo(0), 200);
});
on("previous", "click", () => turnTo(offset - pageSize));
on("next", "click", () => turnTo(offset + pageSize));
on("order", "click", order);
on("knock", "click", () => Promise.all(Array.from({ length: 20 }, (_, i) => ask("GET", ["/users?limit=1", "/products?limit=1", "/orders?limit=1", "/notifications?limit=1"][i % 4]))));

async function start() {
  showInstead(make("p", { textContent: "One moment …" }));
  await Promise.all([showCategories(), showProducts(), showAccount()]);
}
async function showCategories() {
  const { json } = await ask("GET", "/products/categories");
  for (const { name, count } of (json.categories ?? []).slice($("search").category.length - 1)) $("search").category.append(make("option", { value: name, textContent: `${name} (${count})` }));
}
showBasket();
await start();
