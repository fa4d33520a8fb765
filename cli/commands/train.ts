import { Command, Option } from 'commander';
import { DEFAULTS, type Precision } from '../../training/stage1/plan.ts';
import { train as trainTowers, type TrainReport } from '../../training/stage1/train.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson } from '../output/print.ts';
import { ProgressByName } from '../output/progress.ts';
import { decimal, positive, positiveNumber, wholeNumber } from '../input/numbers.ts';

interface Flags {
  base: string;
  pairs: string;
  out: string;
  epochs?: number;
  steps?: number;
  limit?: number;
  batch: number;
  rate: number;
  temperature: number;
  negatives: number;
  mined: number;
  margin: number;
  separate?: boolean;
  queryLayers?: number;
  trainTables?: boolean;
  queryPrompt?: string;
  documentPrompt?: string;
  precision: Precision;
  maxTokens: number;
  heldOutDocuments: number;
  seed: number;
  workers: number;
  threads?: number;
  resume?: boolean;
  json?: boolean;
}

/** `scalingnote train` */
export const train = new Command('train')
  .description(
    'stage 1: train a document tower and its teacher query tower on pairs of queries and documents',
  )
  .option('--base <reference>', 'tower to start from', 'all-MiniLM-L6-v2')
  .requiredOption('--pairs <file>', 'JSON Lines: {"query", "document", "negatives"?, "split"?: "held-out"}')
  .requiredOption('--out <dir>', 'folder of the new towers')
  .option('--epochs <x>', `how often each pair is seen (default: ${DEFAULTS.epochs})`, positiveNumber)
  .option('--steps <n>', 'steps, instead of epochs', positive)
  .option('--limit <n>', 'take no more than so many pairs to train on', positive)
  .option('--batch <n>', 'pairs of a step, whatever memory there is', positive, DEFAULTS.batch)
  .option('--rate <x>', 'largest learning rate; larger models take less', positiveNumber, DEFAULTS.rate)
  .option('--temperature <x>', 'what similarities are divided by', positiveNumber, DEFAULTS.temperature)
  .option('--negatives <n>', 'given negatives of each pair', wholeNumber, DEFAULTS.negatives)
  .option('--mined <n>', 'negatives of each pair, mined in every epoch', wholeNumber, DEFAULTS.mined)
  .option(
    '--margin <x>',
    "no document is mined above the own one's score less this",
    decimal,
    DEFAULTS.margin,
  )
  .option('--separate', 'query and document tower keep weights of their own')
  .option('--query-layers <n>', 'layers that the query tower keeps, with weights of its own', positive)
  .option('--train-tables', 'train embedding tables as well')
  .option('--query-prompt <text>', 'put before queries (default: as the base does)')
  .option('--document-prompt <text>', 'put before documents (default: as the base does)')
  .addOption(
    new Option(
      '--precision <type>',
      'of the towers: int8 is a quarter of the size, and can be trained no further',
    )
      .choices(['fp32', 'int8'])
      .default('fp32'),
  )
  .option('--max-tokens <n>', 'longest text in training', positive, DEFAULTS.maxTokens)
  .option(
    '--held-out-documents <n>',
    'documents that held-out queries search',
    positive,
    DEFAULTS.heldOutDocuments,
  )
  .option('--seed <n>', 'for the order of pairs, and for what is held out', wholeNumber, 1)
  .option('--workers <n>', 'processes that share each step', positive, 1)
  .option('--threads <n>', 'threads of each process (default: one for each core)', positive)
  .option('--resume', 'go on from the checkpoint in the folder')
  .action(async ({ json, ...flags }: Flags) => {
    const report = await interruptible('the same command with --resume goes on', (signal) => {
      const bars = new ProgressByName();
      return trainTowers({
        ...flags,
        signal,
        log: note,
        onProgress: ({ phase, done, total, loss }) => {
          const unit = phase === 'mining' ? 'texts' : 'steps';
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
