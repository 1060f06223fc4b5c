/** What a file holds is not what a backup holds. */
export class BackupDamaged extends Error {
  override name = "BackupDamaged";
}
