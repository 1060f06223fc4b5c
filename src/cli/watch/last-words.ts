import type { HttpClient } from "../../api/http-client.ts";
import type { Pod } from "../../api/types.ts";

const linesMax = 30;

/** What a program that failed wrote since `since`: the end of its log, which for a crash is the stack trace. */
export async function lastWords(client: HttpClient, pod: Pod, container: string, since: Date): Promise<string> {
  const { namespace, name } = pod.metadata;
  const read = async (previous: boolean): Promise<string[]> => {
    const query = new URLSearchParams({ container, timestamps: "true", tailLines: "200", ...(previous && { previous: "true" }) });
    const { text } = await client.raw("GET", `/api/v1/namespaces/${namespace}/pods/${name}/log?${query}`).catch(() => ({ text: "" }));
    return text.split("\n").flatMap((line) => {
      const space = line.indexOf(" ");
      return space > 0 && Date.parse(line.slice(0, space)) >= since.getTime() ? [line.slice(space + 1)] : [];
    });
  };
  // A program that ended has been started again by now: its words are those of the one before.
  for (const lines of [await read(true), await read(false)]) if (lines.some((line) => line.trim() !== "")) return lines.slice(-linesMax).join("\n").trim();
  return "";
}
