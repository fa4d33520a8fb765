import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { sweepPage } from '../../training/scaling/sweep-page.ts';
import {
  shapeOf,
  sweep,
  type SweepPoint,
  type SweepReport,
  type SweepRequest,
} from '../../training/scaling/sweep.ts';
import { sweepTowers } from '../../training/scaling/tower-sweep.ts';
import { makeFolder } from '../../training/run-folder.ts';
import { positive, positiveNumber, positiveNumbers, wholeNumber } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson, table } from '../output/print.ts';
import { writeWordNetPairs } from '../sample/pairs.ts';
import {
  GRIDS,
  renderTowers,
  SCRATCH_RATE,
  type Shape,
  type TowerFlags,
  towersRequest,
} from '../scaling/from-scratch.ts';

interface Flags extends Pick<SweepRequest, 'base' | 'out' | 'batch' | 'seed' | 'threads'>, TowerFlags {
  fromScratch?: boolean;
  pairs?: string;
  /** Most pairs to train on. */
  data?: number;
  rate?: number;
  json?: boolean;
}

/** Defaults of a sweep of models that are cut from one. */
const CUT_DEFAULTS = { data: 8_192, rate: 3e-4 };

/** A size, as shares of the base's layers and of its width. */
type Shares = readonly [layers: number, width: number | 'full'];

/**
 * From a thirtieth of the base's weights to the base itself. All are cut from it by the same rule: fewer of its layers, and
 * where one is too many, a part of that one's width.
 */
const SIZES: readonly Shares[] = [
  [1 / 6, 1 / 8],
  [1 / 6, 1 / 4],
  [1 / 6, 'full'],
  [1 / 3, 'full'],
  [2 / 3, 'full'],
  [1, 'full'],
];

/** Those that are trained on less data as well, and on how much less. */
const SMALLER_DATA: readonly [sizes: readonly number[], share: number][] = [
  [[1, 3, 5], 1 / 2],
  [[0, 1, 2, 3, 4, 5], 1 / 4],
];

/** Kept from the fit. */
const HELD_OUT: Shares = [1 / 2, 'full'];

/** `scalingnote scaling-law` */
export const scalingLaw = new Command('scaling-law')
  .description(
    'train models of many sizes on data of many sizes, fit the scaling law, predict a held-out point; from scratch: the law ' +
      'of both towers, and the cheapest pair for each rate of queries',
  )
  .option(
    '--base <reference>',
    'tower that the models are cut from, or have the shape of',
    'all-MiniLM-L6-v2',
  )
  .option('--pairs <file>', 'JSON Lines of pairs (default: WordNet)')
  .option('--out <dir>', 'folder of the report and of finished points', '.scalingnote/scaling-law')
  .option(
    '--data <n>',
    `most pairs to train on (default: ${CUT_DEFAULTS.data}; from scratch ${GRIDS.full.data}, small ${GRIDS.small.data})`,
    positive,
  )
  .option('--batch <n>', 'pairs per step', positive, 64)
  .option(
    '--rate <x>',
    `peak learning rate (default: ${CUT_DEFAULTS.rate}; from scratch ${SCRATCH_RATE})`,
    positiveNumber,
  )
  .option('--seed <n>', 'seed for the order of pairs, and for random weights', wholeNumber, 1)
  .option('--threads <n>', 'threads for training (default: one per core)', positive)
  .option('--from-scratch', 'random weights, and sizes of document tower and query tower apart')
  .option('--small', 'from scratch: fewer and smaller points, on less data')
  .option('--max-minutes <n>', 'from scratch: refuse a plan that takes longer', positive, 240)
  .option('--documents <n>', 'from scratch: documents to choose towers for', positive, 1_000_000)
  .option('--document-tokens <n>', 'from scratch: tokens of a document', positive, 200)
  .option(
    '--query-tokens <n>',
    'from scratch: tokens of a query (default: as held-out queries have)',
    positive,
  )
  .option('--days <n>', 'from scratch: days that queries come in', positive, 365)
  .option(
    '--query-rates <list>',
    'from scratch: queries per second to choose towers for',
    positiveNumbers,
    [0.01, 0.1, 1, 10, 100, 1_000],
  )
  .option(
    '--entropies <list>',
    'from scratch: entropies to choose towers for (default: three between the best and the worst)',
    positiveNumbers,
  )
  .action(async ({ json, fromScratch, ...flags }: Flags) => {
    const out = resolve(flags.out);
    await makeFolder(out);
    const pairs = flags.pairs ?? join(out, 'pairs.jsonl');
    if (flags.pairs === undefined && !existsSync(pairs)) {
      await writeWordNetPairs(pairs, { heldOut: 2_000, seed: 1 });
    }
    const shape = await shapeOf(flags.base);
    const text = await interruptible('the same command goes on', async (signal) => {
      const given = { ...flags, pairs, out, signal, log: note };
      if (fromScratch === true) {
        const report = await sweepTowers(towersRequest(given, shape));
        return json === true ? printJson(report) : renderTowers(report);
      }
      const report = await sweep(cutRequest(given, shape));
      const html = join(out, 'report.html');
      writeFileSync(html, sweepPage(report));
      return json === true ? printJson({ ...report, html }) : `${render(report)}\nplots: ${html}`;
    });
    if (text !== undefined) process.stdout.write(`${text}\n`);
  });

function cutRequest(
  flags: Flags & { pairs: string; signal: AbortSignal; log: (message: string) => void },
  shape: Shape,
): SweepRequest {
  const { data, rate } = { ...CUT_DEFAULTS, ...flags };
  const at = ([layers, width]: Shares, share: number): SweepPoint => ({
    layers: Math.max(1, Math.round(layers * shape.layers)),
    width: width === 'full' ? width : Math.max(1, Math.round(width * shape.width)),
    pairs: Math.round(data * share),
  });
  const points = [
    ...SIZES.map((size) => at(size, 1)),
    ...SMALLER_DATA.flatMap(([sizes, share]) => sizes.map((index) => at(SIZES[index]!, share))),
  ];
  return { ...flags, rate, points, heldOut: at(HELD_OUT, 1) };
}

function render({ points, size, joint, heldOut }: SweepReport): string {
  const rows = [...points, heldOut].map((point) => [
    point.layers,
    String(point.width),
    point.parameters,
    point.pairs,
    point.entropy.toFixed(4),
    point === heldOut ? 'held out' : '',
  ]);
  const [low, high] = heldOut.predicted.interval;
  return [
    table(['layers', 'width', 'parameters', 'pairs', 'entropy', ''], rows),
    ...[size, joint].map(({ form, r2, constants }) => {
      const found = Object.entries(constants).map(
        ([name, { value, interval }]) =>
          `${name} ${value.toPrecision(3)} (${interval.map((end) => end.toPrecision(3)).join(' to ')})`,
      );
      return `${form}: ${found.join(', ')}; R² ${r2.toFixed(4)}`;
    }),
    `held out: ${heldOut.entropy.toFixed(4)}, predicted ${heldOut.predicted.value.toFixed(4)} ` +
      `(${low.toFixed(4)} to ${high.toFixed(4)})`,
  ].join('\n');
}
