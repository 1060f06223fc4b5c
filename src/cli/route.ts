import { WherryError } from "../base/errors.ts";
import { connect } from "./connect.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    {
      line: "route explain URL [-H 'NAME: VALUE'] [-X METHOD] [--data-dir DIR]",
      about: "Which listener, route, rule, filters and endpoints would serve a request, and why the others would not. Nothing is sent. Exit code 1 when nobody would serve it.",
      options: {
        header: { type: "string", multiple: true, short: "H", value: "'NAME: VALUE'", help: "a header of the request; may be repeated" },
        request: { type: "string", short: "X", value: "METHOD", help: "the method (default: GET)" },
        "data-dir": dataDirOption,
      },
      examples: ["wherry route explain http://shop.example.com:8080/users", "wherry route explain http://127.99.0.1:8080/users -H 'Host: shop.example.com' -H 'X-Canary: yes'", "wherry route explain https://shop.example.com/orders -X POST"],
      positionals: true,
    },
    argv,
  );
  if (!options) return;
  const [action, url, ...more] = options.positionals;
  if (action !== "explain" || url === undefined || more.length > 0) throw new WherryError("USAGE", "say: wherry route explain URL; see wherry route --help");
  const headers = ((options.values["header"] as string[] | undefined) ?? []).map((line): [string, string] => {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw new WherryError("USAGE", `${JSON.stringify(line)} is not a header; for example -H 'X-Canary: yes'`);
    return [name, value!];
  });
  const { explainRoute } = await import("../wherry.ts");
  const client = await connect(dataDirOf(options.values));
  const { served, text } = await explainRoute(client, { url, method: (options.values["request"] as string | undefined) ?? "GET", headers });
  process.stdout.write(text);
  return served ? 0 : 1;
}
