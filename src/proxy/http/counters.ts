/** What the engine has done since its start; read by metrics. */
export class Counters {
  /** Connections of clients that are open, and since the start. */
  connections = 0;
  connectionsTotal = 0;
  /** Refused for a bound on their number. */
  connectionsRefused = 0;
  requestsRunning = 0;
  requestsTotal = 0;
  /** By the first digit of the status; 0 where the client was gone before one. */
  readonly answers = [0, 0, 0, 0, 0, 0];
  /** Answers that are not the upstream's, by their flag. */
  readonly flags = new Map<string, number>();
  retries = 0;
  /** Copies for mirrors that were not begun: nobody was there, or they are no copies of requests (upgrades). */
  mirrorsSkipped = 0;
  /** Copies that were broken off: the mirror was too slow or failed, or the client's own body ended early. */
  mirrorsDropped = 0;
  receivedBytes = 0;
  sentBytes = 0;

  flagged(flag: string): void {
    this.flags.set(flag, (this.flags.get(flag) ?? 0) + 1);
  }
}
