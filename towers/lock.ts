import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** Times of a lock, in milliseconds. */
export interface LockTimes {
  /** How often the holder says that it lives. */
  heartbeatMs: number;
  /** How long a holder may be silent until it counts as dead; some heartbeats, for machines that are busy. */
  staleMs: number;
  /** How often a waiter looks. */
  pollMs: number;
}

const TIMES: LockTimes = { heartbeatMs: 2_000, staleMs: 15_000, pollMs: 100 };

/**
 * Does something while no other process does it, by a lock file. What a process that died has left is taken over: a
 * waiter calls a lock stale when the file's time has stood still for `staleMs` on its own clock, so that clocks of
 * machines that share a folder need not agree.
 *
 * The lock saves work and no more: two holders at once (possible while a stale lock changes hands) must do no harm.
 *
 * @param path of the lock file, in a folder that is there
 * @param onWait called once where another process has the lock
 */
export async function withLock<T>(
  path: string,
  action: () => Promise<T>,
  { onWait, times = TIMES }: { onWait?: () => void; times?: LockTimes } = {},
): Promise<T> {
  const token = randomUUID();
  await acquire(path, token, times, onWait);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, times.heartbeatMs);
  try {
    return await action();
  } finally {
    clearInterval(heartbeat);
    if ((await readFile(path, 'utf8').catch(() => undefined)) === token) await rm(path, { force: true });
  }
}

async function acquire(
  path: string,
  token: string,
  { staleMs, pollMs }: LockTimes,
  onWait: (() => void) | undefined,
): Promise<void> {
  let seen: { mark: string; since: number } | undefined;
  for (;;) {
    try {
      await writeFile(path, token, { flag: 'wx' });
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const mark = await stat(path, { bigint: true }).then(
      ({ ino, mtimeNs }) => `${ino}:${mtimeNs}`,
      () => undefined,
    );
    if (mark === undefined) continue;
    const now = performance.now();
    if (seen?.mark !== mark) {
      if (seen === undefined) onWait?.();
      seen = { mark, since: now };
    } else if (now - seen.since > staleMs) {
      const grave = `${path}.${token}`;
      await rename(path, grave).catch(() => undefined);
      await rm(grave, { force: true });
      continue;
    }
    await delay(pollMs);
  }
}
