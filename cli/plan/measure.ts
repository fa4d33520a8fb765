import { exactSearch, MetricKind } from 'usearch';
import { Estimator } from '../../towers/estimate.ts';
import type { Tower } from '../../towers/tower.ts';
import { readWordNet } from '../sample/wordnet.ts';
import { type Measured, type Range, rangeOf } from './plan.ts';

/** Tokens that are encoded to measure the rate, each time: about a second of a small model. */
const SAMPLE_TOKENS = 3000;
/** How often each rate is measured. */
const ROUNDS = 3;
const QUERIES = 200;
/** Vectors that are scanned: as many as the embedded store scans at a time. */
const SCANNED = 4096;
const SCANS = 50;

/** Measures what a plan needs, on this machine, in some seconds. */
export async function measure(
  documentTower: Tower,
  queryTower: Tower,
  tokens: number,
  signal: AbortSignal,
): Promise<Measured> {
  const glosses = (await readWordNet()).map(({ text }) => text);
  const estimator = new Estimator(documentTower);
  for (const text of await textsOf(documentTower, glosses, tokens)) await estimator.add({ title: '', text });
  const rates: number[] = [];
  let estimate = await estimator.measure({ signal });
  for (let round = 0; round < ROUNDS; round++) {
    estimate = await estimator.measure({ signal });
    rates.push(estimate.tokensPerSecond);
  }
  const { dimensions } = documentTower.manifest;
  return {
    dimensions,
    passages: estimate.passages / estimate.documents,
    encodedTokens: estimate.tokens / estimate.documents,
    tokensPerSecond: rangeOf(rates),
    queryMs: await queryCost(queryTower, glosses, signal),
    scanNs: scanCost(dimensions),
  };
}

/** Documents of about so many tokens, of the sample's glosses. @param sum tokens of all of them */
export async function textsOf(
  tower: Tower,
  glosses: readonly string[],
  tokens: number,
  sum: number = SAMPLE_TOKENS,
): Promise<string[]> {
  const texts: string[] = [];
  let next = 0;
  const documents = Math.max(1, Math.round(sum / tokens));
  for (let document = 0; document < documents; document++) {
    const parts: string[] = [];
    for (let count = 0; count < tokens;) {
      const gloss = glosses[(next++ * 7919) % glosses.length]!;
      parts.push(gloss);
      count += (await tower.countTokens(gloss, { prompt: '' })).tokens;
    }
    texts.push(parts.join('. '));
  }
  return texts;
}

async function queryCost(tower: Tower, glosses: readonly string[], signal: AbortSignal): Promise<Range> {
  const costs: number[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let query = 0; query < QUERIES; query++) {
      signal.throwIfAborted();
      const text = glosses[((round + 2) * QUERIES + query) % glosses.length]!.slice(0, 40);
      if (!tower.encodeNow?.(text)) await tower.encode(await tower.tokenize(text), { signal });
    }
    const { user, system } = process.cpuUsage(before);
    // The first round compiles.
    if (round >= 0) costs.push((user + system) / 1000 / QUERIES);
  }
  return rangeOf(costs);
}

function scanCost(dimensions: number): Range {
  const codes = new Int8Array(SCANNED * dimensions).fill(3);
  const costs: number[] = [];
  for (let round = -1; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let scan = 0; scan < SCANS; scan++) {
      exactSearch(codes, codes.subarray(0, dimensions), dimensions, 10, MetricKind.IP, 1);
    }
    const { user, system } = process.cpuUsage(before);
    if (round >= 0) costs.push((1000 * (user + system)) / SCANS / SCANNED);
  }
  return rangeOf(costs);
}
