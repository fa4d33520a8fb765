import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../testing/tiny-tower.ts';
import { type ChoiceOptions, splitsOf, startFastest } from './choose.ts';
import { SessionPool } from './pool.ts';
import type { Session } from './protocol.ts';

const GIB = 2 ** 30;
const SPLITS = [
  { sessions: 1, threads: 4 },
  { sessions: 2, threads: 2 },
  { sessions: 4, threads: 1 },
];

/** Sessions that say how many are open, with how many threads. */
function fakes(): { open: number[]; start: (threads: number) => Promise<Session> } {
  const open: number[] = [];
  const start = async (threads: number): Promise<Session> => {
    open.push(threads);
    return {
      device: 'cpu',
      run: async () => new Float32Array(1),
      close: async () => void open.splice(open.indexOf(threads), 1),
    };
  };
  return { open, start };
}

function options(
  context: TestContext,
  rates: readonly number[],
  changes: Partial<ChoiceOptions> = {},
): { options: ChoiceOptions; open: number[]; measured: number[] } {
  const { open, start } = fakes();
  const measured: number[] = [];
  const measure = async (_: Session, split: (typeof SPLITS)[number]): Promise<number> => {
    measured.push(split.sessions);
    return rates[SPLITS.indexOf(split)]!;
  };
  const cacheDir = temporaryFolder(context);
  const log = (): void => {};
  return {
    options: { splits: SPLITS, start, measure, cacheDir, weights: 'w', log, ...changes },
    open,
    measured,
  };
}

test('threads are shared out as far as there is memory for copies of the weights', () => {
  const of = (weightBytes: number, threads: number, memoryBytes: number): number[][] =>
    splitsOf(weightBytes, { threads, memoryBytes }).map((split) => [split.sessions, split.threads]);
  assert.deepEqual(of(0.1 * GIB, 2, 8 * GIB), [
    [1, 2],
    [2, 1],
  ]);
  // Two copies of each are 2 GiB, and a quarter of the memory is 4.
  assert.deepEqual(of(GIB, 8, 16 * GIB), [
    [1, 8],
    [2, 4],
  ]);
  assert.deepEqual(of(4 * GIB, 8, 16 * GIB), [[1, 8]]);
  assert.deepEqual(of(0.1 * GIB, 1, 16 * GIB), [[1, 1]]);
  assert.equal(of(1, 256, 1024 * GIB).at(-1)![0], 16);
});

test('the fastest sessions stay, all others are closed, and the next start does not measure', async (context) => {
  const { options: all, open, measured } = options(context, [100, 150, 140]);
  const { session, split } = await startFastest(all);
  assert.deepEqual(split, SPLITS[1]);
  assert.equal(session.slots, 2);
  assert.deepEqual(open, [2, 2]);
  assert.deepEqual(measured, [1, 2, 4]);
  await session.close();
  const again = await startFastest(all);
  assert.deepEqual(again.split, SPLITS[1]);
  assert.deepEqual(measured, [1, 2, 4]);
  // Other weights are measured by themselves.
  await startFastest({ ...all, weights: 'others' });
  assert.deepEqual(measured, [1, 2, 4, 1, 2, 4]);
});

test('several sessions that win little are not worth their memory', async (context) => {
  const { options: all, open, measured } = options(context, [100, 104, 200]);
  assert.deepEqual((await startFastest(all)).split, SPLITS[0]);
  assert.deepEqual([open, measured], [[4], [1, 2]]);
});

test('a choice that nobody can read is made again, one that can not be kept is made', async (context) => {
  const { options: all, measured } = options(context, [100, 90, 0]);
  await startFastest(all);
  const folder = join(all.cacheDir, 'sessions');
  const [file] = readdirSync(folder);
  assert.match(readFileSync(join(folder, file!), 'utf8'), /"sessions":1,"threads":4/);
  writeFileSync(join(folder, file!), '{"split":{"sessions":3,"threads":1},"rates":[]}');
  assert.deepEqual((await startFastest(all)).split, SPLITS[0]);
  assert.equal(measured.length, 4);
  writeFileSync(join(all.cacheDir, 'file'), '');
  const lines: string[] = [];
  const elsewhere = {
    ...all,
    cacheDir: join(all.cacheDir, 'file'),
    log: (line: string) => void lines.push(line),
  };
  assert.deepEqual((await startFastest(elsewhere)).split, SPLITS[0]);
  assert.match(lines.join(), /1 with 4: 100; 2 with 2: 90 tokens\/s.*not kept/);
});

test('where more sessions do not start, those before serve; where the first does not, nothing stays', async (context) => {
  const { options: all, open } = options(context, [100, 150, 400]);
  const failing = (after: number): ChoiceOptions['start'] => {
    let started = 0;
    return (threads) => (++started > after ? Promise.reject(new Error('no memory')) : all.start(threads));
  };
  const { split, session } = await startFastest({ ...all, start: failing(4) });
  assert.deepEqual([split, open], [SPLITS[1], [2, 2]]);
  await session.close();
  await assert.rejects(startFastest({ ...all, weights: 'others', start: failing(0) }), /no memory/);
  const broken = { ...all, weights: 'broken', measure: () => Promise.reject(new Error('bad graph')) };
  await assert.rejects(startFastest(broken), /bad graph/);
  assert.deepEqual(open, []);
});

test('a pool runs as many batches at once as it has sessions, and others in their order', async () => {
  const running: { name: string; end: () => void }[] = [];
  const session = (name: string): Session => ({
    device: 'cpu',
    run: async ({ lengths }) => {
      await new Promise<void>((end) => running.push({ name: `${name}${lengths[0]}`, end }));
      return Float32Array.of(lengths[0]!);
    },
    close: async () => {},
  });
  const pool = new SessionPool([session('a'), session('b')]);
  assert.equal(pool.slots, 2);
  const batch = (length: number) => ({ ids: new Int32Array(length), lengths: Int32Array.of(length) });
  const runs = [1, 2, 3, 4].map((length) => pool.run(batch(length)));
  assert.deepEqual(running.map(({ name }) => name).toSorted(), ['a2', 'b1']);
  running.find(({ name }) => name === 'a2')!.end();
  assert.deepEqual([...(await runs[1]!)], [2]);
  assert.equal(running.at(-1)!.name, 'a3');
  for (const { end } of running) end();
  await runs[2]!;
  running.at(-1)!.end();
  assert.deepEqual(
    (await Promise.all(runs)).map(([first]) => first),
    [1, 2, 3, 4],
  );
});
