import { WherryError } from "../base/errors.ts";
import { apiVerbs } from "./api/index.ts";
import { connect } from "./connect.ts";
import { dataDirOf, dataDirOption, parseOptions } from "./options.ts";

export async function run(argv: string[]): Promise<number | void> {
  const options = parseOptions(
    {
      line: `${apiVerbs.map(({ line }) => `api ${line}`).join(" | ")} [-n NAMESPACE] [--data-dir DIR]`,
      about: apiVerbs.map(({ name, about }) => `${name}: ${about}`).join("\n"),
      options: {
        namespace: { type: "string", short: "n", value: "NAMESPACE", help: "where the API is (default: default; list: all)" },
        to: { type: "string", value: "STAGE|NUMBER", help: "promote: the stage that gets the deployment; rollback: the number of the deployment" },
        from: { type: "string", value: "STAGE", help: "promote: the deployment that is live there (default: the newest)" },
        add: { type: "string", value: "CLIENT", help: "keys: make a key for this client, and print it once" },
        remove: { type: "string", value: "CLIENT", help: "keys: this client's key is good no longer" },
        plan: { type: "string", value: "PLAN", help: "keys: of this usage plan of the stage's" },
        path: { type: "string", value: "PREFIX", help: "purge: only what begins with this path, as clients write it" },
        "data-dir": dataDirOption,
      },
      examples: ["wherry api list", "wherry api promote pets --from dev --to prod -n shop", "wherry api rollback pets prod -n shop", "wherry api rollback pets prod --to 4 -n shop", "wherry api keys pets prod -n shop", "wherry api keys pets prod --add alice -n shop", "wherry api purge pets prod --path /pets/7 -n shop"],
      positionals: true,
    },
    argv,
  );
  if (!options) return;
  const { positionals, values } = options;
  const [name = "", ...words] = positionals;
  const verb = apiVerbs.find((candidate) => candidate.name === name);
  if (!verb) throw new WherryError("USAGE", `say: wherry api ${apiVerbs.map((candidate) => candidate.name).join(", ")}; see wherry api --help`);
  const given = Object.keys(values).filter((option) => option !== "data-dir" && option !== "namespace" && !verb.options.includes(option));
  if (given.length > 0) throw new WherryError("USAGE", `--${given[0]} is not an option of wherry api ${name}`);
  if (words.length > verb.words || words.length < verb.words - (verb.optionalWords ?? 0)) throw new WherryError("USAGE", `say: wherry api ${verb.line}`);
  const { namespace, to, from, add, remove, plan, path } = values as Record<string, string | undefined>;
  const client = await connect(dataDirOf(values));
  process.stdout.write(await verb.run(client, { words, namespace, to, from, add, remove, plan, path }));
}
