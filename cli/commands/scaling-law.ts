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
import { makeFolder } from '../../training/run-folder.ts';
import { positive, positiveNumber, wholeNumber } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson, table } from '../output/print.ts';
import { writeWordNetPairs } from '../sample/pairs.ts';

interface Flags extends Pick<SweepRequest, 'base' | 'out' | 'batch' | 'rate' | 'seed' | 'threads'> {
  pairs?: string;
  /** Most pairs to train on. */
  data: number;
  json?: boolean;
}

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
    'train models of many sizes on data of many sizes, fit the scaling law, predict a held-out point',
  )
  .option('--base <reference>', 'tower that the models are cut from', 'all-MiniLM-L6-v2')
  .option('--pairs <file>', 'JSON Lines of pairs (default: WordNet)')
  .option('--out <dir>', 'folder of the report and of finished points', '.scalingnote/scaling-law')
  .option('--data <n>', 'most pairs to train on', positive, 8_192)
  .option('--batch <n>', 'pairs per step', positive, 64)
  .option('--rate <x>', 'peak learning rate', positiveNumber, 3e-4)
  .option('--seed <n>', 'seed for the order of pairs', wholeNumber, 1)
  .option('--threads <n>', 'threads for training (default: one per core)', positive)
  .action(async ({ json, ...flags }: Flags) => {
    const out = resolve(flags.out);
    await makeFolder(out);
    const pairs = flags.pairs ?? join(out, 'pairs.jsonl');
    if (flags.pairs === undefined && !existsSync(pairs)) {
      await writeWordNetPairs(pairs, { heldOut: 2_000, seed: 1 });
    }
    const shape = await shapeOf(flags.base);
    const at = ([layers, width]: Shares, share: number): SweepPoint => ({
      layers: Math.max(1, Math.round(layers * shape.layers)),
      width: width === 'full' ? width : Math.max(1, Math.round(width * shape.width)),
      pairs: Math.round(flags.data * share),
    });
    const points = [
      ...SIZES.map((size) => at(size, 1)),
      ...SMALLER_DATA.flatMap(([sizes, share]) => sizes.map((index) => at(SIZES[index]!, share))),
    ];
    const report = await interruptible('the same command goes on', (signal) =>
      sweep({ ...flags, pairs, out, points, heldOut: at(HELD_OUT, 1), signal, log: note }),
    );
    const html = join(out, 'report.html');
    writeFileSync(html, sweepPage(report));
    if (json === true) printJson({ ...report, html });
    else process.stdout.write(`${render(report)}\nplots: ${html}\n`);
  });

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
