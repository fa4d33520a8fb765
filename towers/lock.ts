import { randomUUID } from 'node:crypto';
import { rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import * as z from 'zod';
import { readJson } from './json.ts';

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

/** What a lock file says of its holder. */
const Holder = z.object({ host: z.string(), pid: z.int(), token: z.string() });
type Holder = z.infer<typeof Holder>;

/**
 * Does something while no other process does it, by a lock file. What a dead process has left is taken over: at once
 * where the process was one of this machine, else when the file's time has stood still for `staleMs` on the waiter's
 * own clock, so that clocks of machines that share a folder need not agree.
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
  const me: Holder = { host: hostname(), pid: process.pid, token: randomUUID() };
  await acquire(path, me, times, onWait);
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, times.heartbeatMs);
  try {
    return await action();
  } finally {
    clearInterval(heartbeat);
    if ((await readJson(path, Holder))?.token === me.token) await rm(path, { force: true });
  }
}

async function acquire(
  path: string,
  me: Holder,
  { staleMs, pollMs }: LockTimes,
  onWait: (() => void) | undefined,
): Promise<void> {
  let seen: { mark: string; since: number } | undefined;
  for (;;) {
    try {
      await writeFile(path, JSON.stringify(me), { flag: 'wx' });
      return;
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const found = await stat(path, { bigint: true }).catch(() => undefined);
    if (found === undefined) continue;
    const mark = `${found.ino}:${found.mtimeNs}`;
    const holder = await readJson(path, Holder);
    const now = performance.now();
    if (isDead(holder) || (seen?.mark === mark && now - seen.since > staleMs)) {
      const grave = `${path}.${me.token}`;
      await rename(path, grave).catch(() => undefined);
      await rm(grave, { force: true });
      continue;
    }
    if (seen === undefined) onWait?.();
    if (seen?.mark !== mark) seen = { mark, since: now };
    await delay(pollMs);
  }
}

/** Whether we know that a holder is no more. Of another machine's processes we know nothing. */
function isDead(holder: Holder | undefined): boolean {
  if (holder === undefined || holder.host !== hostname()) return false;
  try {
    process.kill(holder.pid, 0);
    return false;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ESRCH';
  }
}
