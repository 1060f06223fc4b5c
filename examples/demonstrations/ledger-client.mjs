// node ledger-client.mjs [PATH]          what the ledger says
// node ledger-client.mjs write TOKEN     a write with this token
const [what = "/", token] = process.argv.slice(2);
const answer = what === "write" ? await fetch("http://ledger/", { method: "PUT", body: JSON.stringify({ token: Number(token), writer: "somebody" }) }) : await fetch(`http://ledger${what}`);
console.log(`${answer.ok ? "" : `${answer.status} `}${(await answer.text()).trim()}`);
