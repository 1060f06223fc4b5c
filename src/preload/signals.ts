/**
 * In a pod without a process namespace, pid 1 is the machine's; a program that signals "1" means its own main process.
 * This is a courtesy to well-meaning programs, not a wall.
 */
export function patchKill(mainPid: number): void {
  const kill = process.kill.bind(process);
  process.kill = (pid: number, signal?: string | number) => kill(pid === 1 ? mainPid : pid, signal);
}
