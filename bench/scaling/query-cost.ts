import type { Tokens, Tower } from '../../towers/tower.ts';
import { median } from '../report.ts';

/** Queries that a student encodes in its turn, one after the other: some milliseconds. */
const TURN_QUERIES = 32;

/** Rounds in which every student has a turn, and those before that do not count: code is compiled in them. */
const ROUNDS = 400;
const WARMUP_ROUNDS = 20;

/** What a query costs, tokenising included. */
export interface QueryCost {
  /** Of CPU, the median over rounds. */
  milliseconds: number;
  /** Over that of the first tower in the same round: the median over rounds. */
  ratio: number;
  /** 95 %. */
  interval: [low: number, high: number];
}

/** What a document tower takes, of CPU. */
export interface TeacherTimes {
  /** Tokens of documents in a second. */
  tokensPerSecond: number;
  /** Milliseconds of a query, alone. */
  queryMs: number;
}

/**
 * Encodes queries one by one on all students in turns, so that other load on the machine affects all of them alike. It counts
 * CPU time: others take the machine away, but not that.
 */
export async function measureQueryCost(
  students: readonly Tower[],
  queries: readonly string[],
): Promise<QueryCost[]> {
  const times = students.map((): number[] => []);
  for (let round = -WARMUP_ROUNDS; round < ROUNDS; round++) {
    const asked = Array.from(
      { length: TURN_QUERIES },
      (_, index) => queries[(Math.abs(round) * TURN_QUERIES + index) % queries.length]!,
    );
    for (let place = 0; place < students.length; place++) {
      // Each is the first as often as any other.
      const at = (Math.abs(round) + place) % students.length;
      const student = students[at]!;
      const spent = await cpuTime(async () => {
        for (const query of asked) await student.encode(await student.tokenize(query));
      });
      if (round >= 0) times[at]!.push(spent / TURN_QUERIES);
    }
  }
  return times.map((own) => {
    const ratios = own.map((time, round) => time / times[0]![round]!);
    return { milliseconds: median(own), ratio: median(ratios), interval: medianInterval(ratios) };
  });
}

/** 95 % interval of the median: the order statistics that a binomial variable reaches with that probability. */
export function medianInterval(samples: readonly number[]): [low: number, high: number] {
  const sorted = [...samples].sort((a, b) => a - b);
  const reach = 0.98 * Math.sqrt(sorted.length);
  const at = (place: number): number => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(place)))]!;
  return [at(sorted.length / 2 - reach), at(sorted.length / 2 + reach)];
}

/** Passages that a document tower reads in its turn, queries that it reads, and turns. */
const TURN_PASSAGES = 4;
const TURN_TEACHER_QUERIES = 4;
const TEACHER_ROUNDS = 5;

/** Times document towers on passages and on queries, in turns: medians over rounds. */
export async function measureTeachers(
  towers: readonly Tower[],
  documents: readonly { title: string; text: string }[],
  queries: readonly string[],
): Promise<TeacherTimes[]> {
  const measured = towers.map(() => ({ rates: [] as number[], times: [] as number[] }));
  for (let round = 0; round < TEACHER_ROUNDS; round++) {
    const read = documents.slice(round * TURN_PASSAGES, (round + 1) * TURN_PASSAGES);
    const asked = queries.slice(round * TURN_TEACHER_QUERIES, (round + 1) * TURN_TEACHER_QUERIES);
    for (const [index, tower] of towers.entries()) {
      const { prompt, queryPrompt = prompt } = tower.manifest;
      const inputs: Tokens[] = [];
      for (const document of read) inputs.push((await tower.passages(document))[0]!.tokens);
      const tokens = inputs.reduce((sum, { ids }) => sum + ids.length, 0);
      const reading = await cpuTime(() => tower.encodeAll(inputs));
      measured[index]!.rates.push((1000 * tokens) / reading);
      const asking = await cpuTime(async () => {
        for (const query of asked) await tower.encode(await tower.tokenize(query, { prompt: queryPrompt }));
      });
      measured[index]!.times.push(asking / asked.length);
    }
  }
  return measured.map(({ rates, times }) => ({ tokensPerSecond: median(rates), queryMs: median(times) }));
}

/** Milliseconds of CPU that the process spends on something, on all threads. */
async function cpuTime(run: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
