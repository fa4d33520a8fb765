import { randomUUID } from 'node:crypto';
import type { BulkLoad, CallOptions } from '../store.ts';
import type { Collections } from './collections.ts';
import type { Described } from './described.ts';

/** How long a bulk load counts as alive without renewing its lease, in milliseconds. */
const LEASE_MS = 60_000;

/**
 * Prefix of the leases in a collection's metadata; the value is a lease's end, in milliseconds since the
 * epoch.
 */
const LEASE_PREFIX = 'bulk_';

/** Key in a collection's metadata of the threshold to restore after the last bulk load. */
const THRESHOLD_KEY = 'indexing_threshold';

/** Size of a segment, in kilobytes, from which Qdrant builds an index for it: Qdrant's default. */
const DEFAULT_THRESHOLD = 10_000;

/**
 * Puts off index building in a collection while a bulk load holds a lease, which it renews. The lease of a
 * process that dies runs out; the next process that looks then restores indexing with {@link endExpired}.
 */
export async function beginBulk(
  collections: Collections,
  physical: string,
  closed: AbortSignal,
  options: CallOptions,
): Promise<BulkLoad> {
  const lease = LEASE_PREFIX + randomUUID();
  const { indexingThreshold, metadata } = await collections.describe(physical, options);
  const threshold = indexingThreshold || metadata[THRESHOLD_KEY] || DEFAULT_THRESHOLD;
  const hold = (bounds: CallOptions) =>
    collections.configure(
      physical,
      {
        optimizers_config: { indexing_threshold: 0 },
        metadata: { [THRESHOLD_KEY]: threshold, [lease]: Date.now() + LEASE_MS },
      },
      bounds,
    );
  await hold(options);
  const renewal = setInterval(() => {
    // The next renewal makes up for one that fails. If all fail, indexing begins early: slow, not wrong.
    void hold({ signal: closed }).catch(() => undefined);
  }, LEASE_MS / 3).unref();
  const stop = () => clearInterval(renewal);
  closed.addEventListener('abort', stop, { once: true });
  return {
    end: async (bounds = {}) => {
      stop();
      closed.removeEventListener('abort', stop);
      await collections.configure(physical, { metadata: { [lease]: null } }, bounds);
      await endExpired(collections, await collections.describe(physical, bounds), bounds);
    },
  };
}

/** Restores indexing if it was put off and no bulk load is alive. */
export async function endExpired(
  collections: Collections,
  { physical, metadata, indexingThreshold }: Described,
  options: CallOptions,
): Promise<void> {
  if (indexingThreshold !== 0 || metadata[THRESHOLD_KEY] === undefined) return;
  const leases = Object.entries(metadata).filter(([key]) => key.startsWith(LEASE_PREFIX));
  if (leases.some(([, until]) => Number(until) > Date.now())) return;
  await collections.configure(
    physical,
    {
      optimizers_config: { indexing_threshold: Number(metadata[THRESHOLD_KEY]) },
      metadata: Object.fromEntries([...leases.map(([key]) => [key, null]), [THRESHOLD_KEY, null]]),
    },
    options,
  );
}
