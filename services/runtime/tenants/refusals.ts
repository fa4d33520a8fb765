import { status } from '@grpc/grpc-js';
import { DEFAULT_RETRY_DELAY_MS, ServiceError } from '../errors.ts';
import type { QuotaLimit, QuotaName } from './quotas.ts';

/** Longest name of a tenant that a message repeats. */
const MAX_QUOTED_CHARS = 100;

/** What is counted, in words after its number. */
const WORDS: Readonly<Record<QuotaName, string>> = {
  documents: 'documents',
  bytes: 'bytes of texts, metadata and vectors',
  requestsPerSecond: 'requests per second',
  tokensPerSecond: 'tokens encoded per second',
  ingestStreams: 'ingest streams at a time',
};

/** A tenant has used what it may have. @param retryDelayMs where waiting helps */
export function quotaExceeded(
  tenant: string,
  quota: QuotaName,
  { limit, setBy }: QuotaLimit,
  { retryDelayMs, used, fix }: { retryDelayMs?: number; used?: number; fix?: string } = {},
): ServiceError {
  const has = used === undefined ? '' : `, and has ${used}`;
  const then = fix ?? (retryDelayMs === undefined ? 'delete some' : `try again in ${retryDelayMs} ms`);
  return new ServiceError(
    status.RESOURCE_EXHAUSTED,
    'QUOTA_EXCEEDED',
    `tenant ${shown(tenant)} may have ${limit} ${WORDS[quota]}${has}; the file of --tenant-quotas says so at ${setBy}; ${then}, ` +
      'or ask for more',
    {
      metadata: {
        quota,
        limit: String(limit),
        set_by: setBy,
        ...(used !== undefined && { used: String(used) }),
      },
      retryDelayMs,
    },
  );
}

/** A stream has to give its place to a tenant that has fewer. */
export function shareTaken(own: number, most: number): ServiceError {
  return new ServiceError(
    status.UNAVAILABLE,
    'STREAM_SHARE',
    `this tenant has ${own} of ${most} ingest streams, and another one, which has fewer, needs a place; everything that was ` +
      'taken has its outcome; connect again, or send more through each stream',
    { retryDelayMs: DEFAULT_RETRY_DELAY_MS },
  );
}

/** Everything of the tenant is being removed. */
export function tenantDropped(): ServiceError {
  return new ServiceError(
    status.ABORTED,
    'TENANT_DROPPED',
    'everything of this tenant is being removed; what this stream has sent may be gone; begin at the beginning',
  );
}

function shown(tenant: string): string {
  return JSON.stringify(tenant.length > MAX_QUOTED_CHARS ? `${tenant.slice(0, MAX_QUOTED_CHARS)}…` : tenant);
}
