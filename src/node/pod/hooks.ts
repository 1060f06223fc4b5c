import type { Container } from "../../api/types.ts";
import { delay } from "../../base/clock.ts";
import { askProbe, runInContainer, type Target } from "./ask.ts";

type Handler = NonNullable<NonNullable<Container["lifecycle"]>["preStop"]>;

/** Runs a postStart or preStop hook; rejects with why it failed. `signal` ends the wait, not a command. */
export async function runHook(hook: Handler, pod: string, timeoutMs: number, target: Target, signal?: AbortSignal): Promise<void> {
  if (hook.exec) {
    const command = hook.exec.command ?? [];
    const { exitCode, output, timedOut } = await runInContainer(command, timeoutMs, target);
    if (timedOut || exitCode !== 0) {
      throw new Error(
        `Exec lifecycle hook ([${command.join(" ")}]) for Container ${JSON.stringify(target.container.name)} in Pod ${JSON.stringify(pod)} failed - error: ` +
          (timedOut ? `command timed out after ${timeoutMs / 1000}s` : `command '${command.join(" ")}' exited with ${exitCode}: ${output}, message: ${JSON.stringify(output)}`),
      );
    }
  } else if (hook.sleep) await delay(target.clock, hook.sleep.seconds * 1000, signal);
  else if (hook.httpGet) {
    const { success, output } = await askProbe({ httpGet: hook.httpGet }, timeoutMs, target);
    // Any answer will do; only a request that got none has failed.
    if (!success && !/statuscode/.test(output)) throw new Error(`HTTP lifecycle hook (${hook.httpGet.path ?? "/"}) for Container ${JSON.stringify(target.container.name)} in Pod ${JSON.stringify(pod)} failed - error: ${output}`);
  } else throw new Error("cannot run handler: invalid handler");
}
