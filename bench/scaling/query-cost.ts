import type { Tokens, Tower } from '../../towers/tower.ts';
import { median } from '../report.ts';

/** Queries that a tower encodes in its turn, one after the other: some milliseconds. */
const TURN_QUERIES = 32;

/** Rounds in which every tower has a turn, so that other load on the machine affects all of them alike. */
const ROUNDS = 400;

/** What a query costs on a tower. */
export interface QueryCost {
  /** A query: the median over rounds. */
  milliseconds: number;
  /** Its time over that of the first tower: the median over rounds, each tower's turns being some milliseconds apart. */
  ratio: number;
  /** 95 %. */
  interval: [low: number, high: number];
}

/** Encodes queries one by one, tokenising included, on all towers in turns. The first tower is what the others are compared with. */
export async function measureQueryCost(
  towers: readonly Tower[],
  queries: readonly string[],
  rounds = ROUNDS,
): Promise<QueryCost[]> {
  const times = towers.map((): number[] => []);
  const turn = async (tower: Tower, from: number): Promise<number> => {
    const start = performance.now();
    for (let index = from; index < from + TURN_QUERIES; index++)
      await tower.encode(await tower.tokenize(queries[index % queries.length]!));
    return performance.now() - start;
  };
  // Code is compiled and memory is taken in the first runs.
  for (const tower of towers) for (let warmup = 0; warmup < 20; warmup++) await turn(tower, warmup);
  for (let round = 0; round < rounds; round++) {
    // Nobody is always the first after the others' garbage.
    for (let place = 0; place < towers.length; place++) {
      const at = (round + place) % towers.length;
      times[at]!.push(await turn(towers[at]!, round * TURN_QUERIES));
    }
  }
  return times.map((own) => {
    const ratios = own.map((time, round) => time / times[0]![round]!);
    return {
      milliseconds: median(own) / TURN_QUERIES,
      ratio: median(ratios),
      interval: medianInterval(ratios),
    };
  });
}

/** 95 % interval of the median: the order statistics that a binomial variable reaches with that probability. */
export function medianInterval(samples: readonly number[]): [low: number, high: number] {
  const sorted = [...samples].sort((a, b) => a - b);
  const reach = 0.98 * Math.sqrt(sorted.length);
  const at = (place: number): number => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(place)))]!;
  return [at(sorted.length / 2 - reach), at(sorted.length / 2 + reach)];
}

/** Passages that a document tower reads in its turn, and turns. */
const TURN_PASSAGES = 8;
const DOCUMENT_ROUNDS = 3;

/** Tokens a second that document towers read, in turns: the median over rounds. */
export async function measureReading(
  towers: readonly Tower[],
  documents: readonly { title: string; text: string }[],
): Promise<number[]> {
  const rates = towers.map((): number[] => []);
  for (let round = 0; round < DOCUMENT_ROUNDS; round++) {
    const read = documents.slice(round * TURN_PASSAGES, (round + 1) * TURN_PASSAGES);
    for (const [index, tower] of towers.entries()) {
      const inputs: Tokens[] = [];
      for (const document of read)
        inputs.push(...(await tower.passages(document)).slice(0, 1).map(({ tokens }) => tokens));
      const start = performance.now();
      await tower.encodeAll(inputs);
      const tokens = inputs.reduce((sum, { ids }) => sum + ids.length, 0);
      rates[index]!.push((1000 * tokens) / (performance.now() - start));
    }
  }
  return rates.map(median);
}
