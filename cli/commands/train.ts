import { Command, Option } from 'commander';
import { TRAIN_DEFAULTS, type TrainRequest } from '../../training/stage1/request.ts';
import { train as trainTowers, type TrainReport } from '../../training/stage1/train.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson } from '../output/print.ts';
import { ProgressByName } from '../output/progress.ts';
import { decimal, positive, positiveNumber, wholeNumber } from '../input/flags.ts';

interface Flags extends Omit<TrainRequest, 'signal' | 'cacheDir' | 'log' | 'onProgress'> {
  queryLayers?: number;
  json?: boolean;
}

const { epochs, batch, rate, temperature, negatives, mined, margin, maxTokens, heldOutDocuments } =
  TRAIN_DEFAULTS;

/** `scalingnote train` */
export const train = new Command('train')
  .description(
    'stage 1: train a document tower and its teacher query tower on pairs of queries and documents',
  )
  .option('--base <reference>', 'tower to start from', 'all-MiniLM-L6-v2')
  .requiredOption('--pairs <file>', 'JSON Lines: {"query", "document", "negatives"?, "split"?: "held-out"}')
  .requiredOption('--out <dir>', 'folder of the new towers')
  .option('--epochs <x>', `passes over all pairs (default: ${epochs})`, positiveNumber)
  .option('--steps <n>', 'optimiser steps, instead of --epochs', positive)
  .option('--limit <n>', 'most pairs to train on', positive)
  .option('--batch <n>', 'pairs per step; memory does not limit it', positive, batch)
  .option('--rate <x>', 'peak learning rate; larger models need a smaller one', positiveNumber, rate)
  .option('--temperature <x>', 'divisor of the similarities', positiveNumber, temperature)
  .option('--negatives <n>', 'negatives per pair that are taken from the file', wholeNumber, negatives)
  .option('--mined <n>', 'negatives per pair that are mined anew in every epoch', wholeNumber, mined)
  .option(
    '--margin <x>',
    "a mined negative scores at least this much below the pair's own document",
    decimal,
    margin,
  )
  .option('--separate', 'give query and document tower separate weights')
  .option('--query-layers <n>', 'layers of the query tower; implies --separate', positive)
  .option('--train-tables', 'train embedding tables as well')
  .option('--query-prompt <text>', 'prefix of queries (default: that of the base)')
  .option('--document-prompt <text>', 'prefix of documents (default: that of the base)')
  .addOption(
    new Option(
      '--precision <type>',
      'precision of the towers; int8 has a quarter of the size and can not be trained further',
    )
      .choices(['fp32', 'int8'])
      .default('fp32'),
  )
  .option('--max-tokens <n>', 'longest text in training, in tokens', positive, maxTokens)
  .option('--held-out-documents <n>', 'documents that held-out queries search in', positive, heldOutDocuments)
  .option('--seed <n>', 'seed for the order of pairs and for the choice of held-out pairs', wholeNumber, 1)
  .option('--workers <n>', 'processes that share the work of each step', positive, 1)
  .option('--threads <n>', 'threads per process (default: one per core)', positive)
  .option('--resume', 'resume from the checkpoint that an interrupted run left in --out')
  .action(async ({ json, queryLayers: layers, ...flags }: Flags) => {
    const report = await interruptible('the same command with --resume goes on', (signal) => {
      const bars = new ProgressByName();
      return trainTowers({
        ...flags,
        ...(layers !== undefined && { queryStudent: { kind: 'transformer', layers } }),
        signal,
        log: note,
        onProgress: ({ phase, done, total, loss }) => {
          const unit = phase === 'training' ? 'steps' : 'texts';
          bars.update(phase, unit, done, total, loss === undefined ? undefined : `loss ${loss.toFixed(3)}`);
        },
      });
    });
    if (json === true) printJson(report);
    else process.stdout.write(`${render(report)}\n`);
  });

function render({ heldOut, pairs, steps, seconds, towers }: TrainReport): string {
  const { base, trained, interval } = heldOut.recall10;
  const [low, high] = interval.map((end) => (end < 0 ? '' : '+') + end.toFixed(4));
  return [
    `Recall@10 ${base.toFixed(4)} → ${trained.toFixed(4)} (${low} to ${high}) on ${heldOut.queries} held-out queries ` +
      `over ${heldOut.documents} documents`,
    `${pairs} pairs, ${steps} steps, ${Math.round(seconds)} s`,
    `space ${towers.space}`,
    `next: npx scalingnote up --document-tower file:${towers.document} --query-tower file:${towers.query}`,
    `or:   npx scalingnote distill --teacher file:${towers.query} --texts FILE --out DIR`,
  ].join('\n');
}
