import type { Tokens, Tower } from '../../towers/tower.ts';

/** How fast a tower encodes queries, tokenising included. */
export interface Speed {
  /** Of one query after the other, in milliseconds. */
  p50Ms: number;
  p99Ms: number;
  /** Of many queries in batches. */
  encodePerSecond: number;
  /** The latter over that of the first tower that was measured. */
  speedup: number;
}

/** Each tower has the machine to itself for so long in a round, in milliseconds; half of it one by one. */
const ROUND_MS = 600;

/** Rounds over all towers, so that what else the machine does meanwhile hits all alike. */
const ROUNDS = 3;

/** Queries that are encoded together: as many as a busy service has waiting. */
const TOGETHER = 256;

/** A tower, and what it puts before a query. */
export interface TimedTower {
  tower: Tower;
  prompt?: string | undefined;
}

/**
 * Times towers on the same queries in turns: latency of single queries, and throughput of many.
 *
 * @param towers - the first is what the others are compared with
 * @returns in the order of the towers
 */
export async function measureSpeed(
  towers: readonly TimedTower[],
  queries: readonly string[],
): Promise<Speed[]> {
  const runs = towers.map(({ tower, prompt }) => ({
    tower,
    tokenize: (text: string): Tokens => tower.tokenize(text, prompt === undefined ? {} : { prompt }),
    latencies: [] as number[],
    encoded: 0,
    elapsedMs: 0,
  }));
  // A model's first run allocates what later ones use.
  for (const { tower, tokenize } of runs) await tower.encode(tokenize(queries[0]!));
  for (let round = 0; round < ROUNDS; round++) {
    for (const run of runs) {
      const { tower, tokenize } = run;
      const begun = performance.now();
      for (let index = 0, now = begun; now - begun < ROUND_MS / 2; index++) {
        await tower.encode(tokenize(queries[index % queries.length]!));
        const after = performance.now();
        run.latencies.push(after - now);
        now = after;
      }
      const start = performance.now();
      while (performance.now() - start < ROUND_MS / 2) {
        const inputs = Array.from({ length: TOGETHER }, (_, index) =>
          tokenize(queries[(run.encoded + index) % queries.length]!),
        );
        await tower.encodeAll(inputs);
        run.encoded += TOGETHER;
      }
      run.elapsedMs += performance.now() - start;
    }
  }
  const rates = runs.map(({ encoded, elapsedMs }) => (1000 * encoded) / elapsedMs);
  return runs.map(({ latencies }, index) => {
    latencies.sort((a, b) => a - b);
    return {
      p50Ms: latencies[Math.floor(latencies.length * 0.5)]!,
      p99Ms: latencies[Math.floor(latencies.length * 0.99)]!,
      encodePerSecond: rates[index]!,
      speedup: rates[index]! / rates[0]!,
    };
  });
}
