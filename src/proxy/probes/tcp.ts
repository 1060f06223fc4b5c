import type { ProbeRequest, ProbeResult } from "../../api/network.ts";
import { dial, dialErrorText } from "../dial.ts";

/** Success is an accepted connection; it is closed at once. */
export function probeTcp({ ip, port, timeoutMs }: ProbeRequest): Promise<ProbeResult> {
  return new Promise((resolve) => {
    dial(ip, port, timeoutMs, (status, handle) => {
      handle?.close();
      resolve(handle ? { success: true, output: "" } : { success: false, output: dialErrorText(ip, port, status) });
    });
  });
}
