import type { Place } from '../../../machine/limits.ts';
import type { Config } from '../config.ts';
import { ConfigError } from '../setting-types.ts';

/** Settings that all processes of a service share. What is 0 is without a limit, or off, in each of them. */
const SHARED = ['querySlots', 'queryQueue', 'queryCache', 'maxTokensSpent', 'threads'] as const;

/** Of these each process needs one, where there are any. */
const NEEDED = {
  querySlots: '--query-slots',
  maxTokensSpent: '--max-tokens-spent',
  threads: '--threads',
} as const satisfies Partial<Record<(typeof SHARED)[number], string>>;

/** By name in `scalingnote.limit`: what each process has a share of. Other limits are the same in all, or kept by their parent. */
export const SHARED_LIMITS: ReadonlySet<string> = new Set([
  'calls.running',
  'calls.waiting',
  'streams',
  'streams.address',
  'requests.bytes',
  'bodies.bytes',
  'answers.bytes',
]);

/** @throws {ConfigError} where there is not one for each process */
export function requireShares(config: Pick<Config, keyof typeof NEEDED>, processes: number): void {
  for (const [name, flag] of Object.entries(NEEDED)) {
    const all = config[name as keyof typeof NEEDED];
    if (all === 0 || all >= processes) continue;
    throw new ConfigError(
      `${flag} is ${all}, which ${processes} processes can't share; give ${processes} or more, or fewer --processes`,
    );
  }
}

/** The settings of one process: the shares of all make the whole. */
export function ownShares(
  config: Config,
  { number, processes }: Pick<Place, 'number' | 'processes'>,
): Config {
  const own = SHARED.map((name) => {
    const all = config[name];
    const rest = all % processes;
    return [name, Math.floor(all / processes) + Number(number <= rest)] as const;
  });
  return { ...config, ...Object.fromEntries(own) };
}
