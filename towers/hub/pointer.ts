import { open } from 'node:fs/promises';
import { TowerError } from '../errors.ts';

/** What is first in a file that Git LFS has not fetched. */
const LFS_POINTER = 'version https://git-lfs.github.com/spec/';

/** @param called what to call the file @throws {TowerError} `TOWER_INTEGRITY` for a pointer of Git LFS */
export async function refusePointer(file: string, called: string): Promise<void> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LFS_POINTER.length), 0);
    if (buffer.toString('latin1', 0, bytesRead) !== LFS_POINTER) return;
  } finally {
    await handle.close();
  }
  throw new TowerError(
    'TOWER_INTEGRITY',
    `${called} is a pointer of Git LFS, not the file itself; run "git lfs pull" in the folder`,
  );
}
