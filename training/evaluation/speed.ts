import type { Tokens, Tower } from '../../towers/tower.ts';

/** How fast a tower encodes queries, tokenising included. */
export interface Speed {
  /** Latency of single queries, in milliseconds. */
  p50Ms: number;
  p99Ms: number;
  /** Throughput of queries in batches. */
  encodePerSecond: number;
  /** Throughput over that of the first tower. */
  speedup: number;
}

/** Milliseconds that each tower runs in a round: half for single queries, half for batches. */
const ROUND_MS = 600;

/** Towers take turns in this many rounds, so that other load on the machine affects all of them alike. */
const ROUNDS = 3;

/** Queries in a batch: as many as wait in a busy service. */
const TOGETHER = 256;

/** A tower, and the prompt before each query. */
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
    tokenize: (text: string): Promise<Tokens> => tower.tokenize(text, prompt === undefined ? {} : { prompt }),
    latencies: [] as number[],
    encoded: 0,
    elapsedMs: 0,
  }));
  // A model's first run allocates what later ones use.
  for (const { tower, tokenize } of runs) await tower.encode(await tokenize(queries[0]!));
  for (let round = 0; round < ROUNDS; round++) {
    for (const run of runs) {
      const { tower, tokenize } = run;
      const begun = performance.now();
      for (let index = 0, now = begun; now - begun < ROUND_MS / 2; index++) {
        await tower.encode(await tokenize(queries[index % queries.length]!));
        const after = performance.now();
        run.latencies.push(after - now);
        now = after;
      }
      const start = performance.now();
      while (performance.now() - start < ROUND_MS / 2) {
        const inputs = await Promise.all(
          Array.from({ length: TOGETHER }, (_, index) =>
            tokenize(queries[(run.encoded + index) % queries.length]!),
          ),
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
