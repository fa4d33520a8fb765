import { hash } from 'node:crypto';
import { cpus } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { limits, type Limits } from '../../machine/limits.ts';
import { readJson, writeWhole } from '../json.ts';
import { SessionPool } from './pool.ts';
import type { Session } from './protocol.ts';

/** So many sessions, and so many threads for a run of each. */
export interface Split {
  sessions: number;
  threads: number;
}

/** Share of the machine's memory that the sessions of one model may take together. */
const MEMORY_SHARE = 1 / 4;

/** What a session takes of memory, against the file of its weights: these, and a copy in the order that the kernels read. */
const MEMORY_OF_WEIGHTS = 2;

/** More sessions than this were never faster than fewer with more threads, where somebody measured it. */
const MOST_SESSIONS = 16;

/** How long each split is measured, in milliseconds. One run of each session is measured however long it takes. */
const MEASURE_MS = 300;

/** How much faster several sessions have to be than fewer: each takes memory. */
const WORTH_IT = 1.05;

/** Ways to share the threads out, the fewest sessions first. */
export function splitsOf(
  weightBytes: number,
  { threads, memoryBytes }: Pick<Limits, 'threads' | 'memoryBytes'> = limits(),
): Split[] {
  const room = Math.floor((memoryBytes * MEMORY_SHARE) / (MEMORY_OF_WEIGHTS * Math.max(1, weightBytes)));
  const splits = [{ sessions: 1, threads }];
  for (let sessions = 2; sessions <= Math.min(threads, room, MOST_SESSIONS); sessions *= 2) {
    splits.push({ sessions, threads: Math.floor(threads / sessions) });
  }
  return splits;
}

/** What a choice is between, the hash of the weights, and the cache that has it. */
export interface ChoicePlace {
  splits: readonly Split[];
  cacheDir: string;
  weights: string;
}

/** How a choice is made, and who hears of it. */
export interface ChoiceOptions extends ChoicePlace {
  /** Starts a session with so many threads for a run. */
  start(threads: number): Promise<Session>;
  /** Keeps every session busy for a while. @returns positions a second of all together */
  measure(session: Session, split: Split): Promise<number>;
  log(message: string): void;
}

/** What an earlier start chose. */
export async function knownSplit(place: ChoicePlace): Promise<Split | undefined> {
  const known = (await readJson(choicePath(place), Choice))?.split;
  return place.splits.find(
    ({ sessions, threads }) => sessions === known?.sessions && threads === known.threads,
  );
}

/**
 * Starts as many sessions as are fastest together: as the cache has it of an earlier start, else as it is measured now.
 * Where more of them fail, for lack of memory for example, those before serve.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED`, `DEVICE_UNAVAILABLE`
 */
export async function startFastest(options: ChoiceOptions): Promise<{ session: Session; split: Split }> {
  const { splits, measure, log } = options;
  const path = choicePath(options);
  const again = await knownSplit(options);
  if (again) return { session: await startSplit(again, options), split: again };
  if (splits.length === 1) return { session: await startSplit(splits[0]!, options), split: splits[0]! };
  let best: { session: Session; split: Split; rate: number } | undefined;
  const rates: string[] = [];
  for (const split of splits) {
    let session: Session | undefined;
    let rate: number;
    try {
      session = await startSplit(split, options);
      rate = await measure(session, split);
    } catch (error) {
      await session?.close();
      if (!best) throw error;
      rates.push(`${split.sessions} with ${split.threads}: not at all (${String(error)})`);
      break;
    }
    rates.push(`${split.sessions} with ${split.threads}: ${Math.round(rate)}`);
    if (best && rate < best.rate * WORTH_IT) {
      await session.close();
      break;
    }
    await best?.session.close();
    best = { session, split, rate };
  }
  const { session, split } = best!;
  const kept = await writeWhole(path, JSON.stringify({ split, rates })).then(
    () => `kept in ${path}`,
    (error: unknown) => `not kept: ${String(error)}`,
  );
  log(
    `sessions of the model, with threads of each: ${rates.join('; ')} tokens/s; takes the fastest, ${kept}`,
  );
  return { session, split };
}

/** Keeps every session busy with runs as large as ingest makes them. */
export async function measureRate(
  session: Session,
  { slots, row, rows }: { slots: number; row: readonly number[]; rows: number },
): Promise<number> {
  const run = async (): Promise<void> => {
    await session.run({
      ids: Int32Array.from(Array.from({ length: rows }, () => row).flat()),
      lengths: new Int32Array(rows).fill(row.length),
    });
  };
  // The first run of a session makes its buffers.
  await Promise.all(Array.from({ length: slots }, run));
  const began = performance.now();
  let runs = 0;
  await Promise.all(
    Array.from({ length: slots }, async () => {
      do {
        await run();
        runs++;
      } while (performance.now() - began < MEASURE_MS);
    }),
  );
  return (runs * rows * row.length * 1000) / (performance.now() - began);
}

async function startSplit({ sessions, threads }: Split, { start }: ChoiceOptions): Promise<Session> {
  const started = await Promise.allSettled(Array.from({ length: sessions }, () => start(threads)));
  const failed = started.find((each) => each.status === 'rejected');
  const running = started.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  if (failed) {
    await Promise.all(running.map((session) => session.close()));
    throw failed.reason;
  }
  return running.length === 1 ? running[0]! : new SessionPool(running);
}

/** Another processor, other weights or another runtime may have another answer. */
function choicePath({ cacheDir, weights, splits }: ChoicePlace): string {
  const of = JSON.stringify([weights, splits, cpus()[0]?.model, process.arch, process.version]);
  return join(cacheDir, 'sessions', `${hash('sha256', of).slice(0, 12)}.json`);
}

const Choice = z.object({
  split: z.object({ sessions: z.number().int().positive(), threads: z.number().int().positive() }),
  rates: z.array(z.string()),
});
