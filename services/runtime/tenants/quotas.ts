import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import * as z from 'zod';
import { WatchedFiles } from '../access/watched-file.ts';
import { repeatedKey } from '../listener/repeated-key.ts';
import { ConfigError } from '../setting-types.ts';
import { showLimits } from '../telemetry/limits.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { quotaExceeded } from './refusals.ts';
import { Rates } from './rates.ts';

/** Tenants that a file may name. */
const MAX_TENANTS = 100_000;
/** Longest name of a tenant, in bytes, as requests have it. */
const MAX_TENANT_BYTES = 256;

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER).nullable();
const rate = z.number().positive().max(1e12).nullable();

const Limits = z.strictObject({
  documents: count.optional(),
  bytes: count.optional(),
  requestsPerSecond: rate.optional(),
  tokensPerSecond: rate.optional(),
  ingestStreams: count.optional(),
  weight: z.number().min(0.01).max(100).optional(),
});
const QuotaFile = z.strictObject({
  version: z.literal(1),
  default: Limits.optional(),
  tenants: z
    .record(
      z.string().refine((name) => Buffer.byteLength(name) <= MAX_TENANT_BYTES, {
        message: `is no tenant: a name has ${MAX_TENANT_BYTES} bytes at most`,
      }),
      Limits,
    )
    .refine((tenants) => Object.keys(tenants).length <= MAX_TENANTS, {
      message: `has more than ${MAX_TENANTS} tenants`,
    })
    .optional(),
});

type Limits = z.infer<typeof Limits>;

/** What a tenant may have: what is absent or `null` has no limit. */
export type Quota = Readonly<Limits>;

/** What a quota limits. */
export type QuotaName = Exclude<keyof Limits, 'weight'>;

const QUOTA_NAMES = Object.keys(Limits.shape).filter((name) => name !== 'weight') as QuotaName[];

/** What quotas are for: a size, and where the file has it. */
export interface QuotaLimit {
  limit: number;
  setBy: string;
}

/** What a file says. */
interface Read {
  fallback: Limits;
  tenants: ReadonlyMap<string, Limits>;
}

const NOTHING: Read = { fallback: {}, tenants: new Map() };

/**
 * How much each tenant may have and do. The file is read again when it changes. What is counted in seconds is counted here;
 * what is stored, in `storage.ts`.
 */
export class Quotas {
  readonly #file: WatchedFiles<Read> | undefined;
  readonly #requests: Rates;
  readonly #tokens: Rates;
  #onSpent: ((quota: QuotaName, tenant: string, amount: number) => void) | undefined;

  /** @throws {ConfigError} where the file can't be used */
  constructor(path?: string, log?: Logger, now?: () => number) {
    this.#file = path === undefined ? undefined : new WatchedFiles([path], () => readQuotas(path), log!);
    this.#requests = new Rates(now);
    this.#tokens = new Rates(now);
  }

  /** Whether anybody has any quota. */
  get any(): boolean {
    return this.#file !== undefined;
  }

  /** The limit of a tenant for something; `undefined` for none. */
  limit(tenant: string, quota: QuotaName): QuotaLimit | undefined {
    const { fallback, tenants } = this.#file?.value ?? NOTHING;
    const own = tenants.get(tenant)?.[quota];
    // `null` takes the default away.
    const limit = own === undefined ? fallback[quota] : own;
    if (limit === undefined || limit === null) return undefined;
    return { limit, setBy: own === undefined ? `default.${quota}` : `tenants.${shown(tenant)}.${quota}` };
  }

  /** Shows what a tenant may have that the file does not name. */
  measure(metrics: Metrics): void {
    if (!this.any) return;
    const shown = QUOTA_NAMES.map((name) => [
      `quota.${name}`,
      () => this.#file?.value.fallback[name] ?? Infinity,
    ]);
    showLimits(metrics, Object.fromEntries(shown) as Record<string, () => number>);
  }

  /** How many turns the tenant has where another one has one. */
  weight(tenant: string): number {
    const { fallback, tenants } = this.#file?.value ?? NOTHING;
    return tenants.get(tenant)?.weight ?? fallback.weight ?? 1;
  }

  /** Counts a request. @throws {ServiceError} `QUOTA_EXCEEDED` */
  request(tenant: string): void {
    const known = this.limit(tenant, 'requestsPerSecond');
    if (!known) return;
    const waitMs = this.#requests.take(tenant, known.limit, 1);
    if (waitMs > 0) throw quotaExceeded(tenant, 'requestsPerSecond', known, { retryDelayMs: waitMs });
    this.#onSpent?.('requestsPerSecond', tenant, 1);
  }

  /** Counts tokens that are about to be encoded for somebody who waits. @throws {ServiceError} `QUOTA_EXCEEDED` */
  tokens(tenant: string, tokens: number): void {
    const known = this.limit(tenant, 'tokensPerSecond');
    if (!known) return;
    const waitMs = this.#tokens.take(tenant, known.limit, tokens);
    if (waitMs > 0) throw quotaExceeded(tenant, 'tokensPerSecond', known, { retryDelayMs: waitMs });
    this.#onSpent?.('tokensPerSecond', tenant, tokens);
  }

  /** @param listener is told what is let through here, of what is counted in seconds */
  onSpent(listener: (quota: QuotaName, tenant: string, amount: number) => void): void {
    this.#onSpent = listener;
  }

  /** Takes out what another process of the service let through: over time nobody gets more than the quota from all of them. */
  spend(quota: QuotaName, tenant: string, amount: number): void {
    const known = this.limit(tenant, quota);
    const rates = quota === 'requestsPerSecond' ? this.#requests : this.#tokens;
    if (known) rates.spend(tenant, known.limit, amount);
  }

  /** Counts tokens of documents, which {@link tokensReady} let in. */
  spendTokens(tenant: string, tokens: number): void {
    const known = this.limit(tenant, 'tokensPerSecond');
    if (known) this.#tokens.spend(tenant, known.limit, tokens);
  }

  /** Waits until a tenant has tokens left; `undefined` where it has. Ends early, without a word, when the signal is aborted. */
  tokensReady(tenant: string, signal: AbortSignal): Promise<void> | undefined {
    if (this.#tokensWaitMs(tenant) === 0) return undefined;
    return (async () => {
      while (!signal.aborted) {
        const wait = this.#tokensWaitMs(tenant);
        if (wait === 0) return;
        // A quota that is raised meanwhile counts within this time.
        await sleep(Math.min(wait, LOOK_AGAIN_MS), undefined, { signal }).catch(() => {});
      }
    })();
  }

  close(): void {
    this.#file?.close();
  }

  #tokensWaitMs(tenant: string): number {
    const known = this.limit(tenant, 'tokensPerSecond');
    return known ? this.#tokens.waitMs(tenant, known.limit) : 0;
  }
}

const LOOK_AGAIN_MS = 1000;

/** @throws {ConfigError} that names the file and what is wrong in it */
export function readQuotas(path: string): Read {
  let text: string;
  let parsed: unknown;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError(`can't read the quotas of tenants: ${(error as Error).message}`, { cause: error });
  }
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  const twice = repeatedKey(text);
  if (twice !== undefined)
    throw new ConfigError(`${path} has the key ${JSON.stringify(twice)} twice; keep one`);
  const checked = QuotaFile.safeParse(parsed);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const where = issue?.path.join('.') || 'the whole';
    throw new ConfigError(`${path}: ${where}: ${issue?.message}; docs/tenants.md has an example`);
  }
  const { default: fallback = {}, tenants = {} } = checked.data;
  return { fallback, tenants: new Map(Object.entries(tenants)) };
}

function shown(tenant: string): string {
  return JSON.stringify(tenant.length > 64 ? `${tenant.slice(0, 64)}…` : tenant);
}
