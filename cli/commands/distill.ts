import { Command, InvalidArgumentError } from 'commander';
import { openTower } from '../../towers/open.ts';
import { distill as distillTower } from '../../training/distill/distill.ts';
import { DEFAULT_PAIRS, type StudentKind, type TextSource } from '../../training/distill/request.ts';
import type { RunProgress } from '../../training/distill/run.ts';
import type { LossWeights } from '../../training/gradient/losses.ts';
import { CliError, note, printJson, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { DocumentClient } from '../../clients/index.ts';
import { withDocumentAddress } from '../connection.ts';
import { collect } from '../input/filter-flags.ts';
import { positive, positiveNumber, wholeNumber } from '../input/numbers.ts';

interface Flags {
  teacher: string;
  student: StudentKind;
  corpus?: string;
  texts?: string;
  collection?: string;
  tenant: string;
  documentAddress: string;
  exclude: string[];
  out: string;
  loss?: LossWeights;
  steps?: number;
  batch?: number;
  rate?: number;
  pairs?: number;
  positions?: number;
  trainTables?: boolean;
  threads?: number;
  seed: number;
  resume?: boolean;
  json?: boolean;
}

/** What a shell says of a process that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;

/** `scalingnote distill` */
export const distill = withDocumentAddress(new Command('distill'))
  .description('make a query tower for a document tower, from texts without labels')
  .option('--teacher <reference>', 'document tower whose query vectors are imitated', 'all-MiniLM-L6-v2')
  .option(
    '--student <kind>',
    'lookup: a vector per token; transformer:N: N of the teacher’s layers, evenly spaced; transformer:0,5: these; ' +
      'transformer:2x192: with 192 components a token',
    studentKind,
    { kind: 'lookup' },
  )
  .option('--corpus <path>', 'folder in BEIR layout, or a file of documents: queries are made from its texts')
  .option('--texts <file>', 'query texts, one a line')
  .option('--collection <name>', 'a collection of the document service: queries are made from its passages')
  .option('--tenant <tenant>', 'whose documents of --collection', '')
  .option(
    '--exclude <dir>',
    'BEIR folder whose queries must not be trained on (those in --corpus never are); repeat for more',
    collect,
    [],
  )
  .requiredOption('--out <dir>', 'folder of the new tower')
  .option(
    '--loss <terms>',
    'mse, cosine, contrastive, joined by +, with weights as in mse:0.5+cosine (default: mse+cosine)',
    lossTerms,
  )
  .option('--steps <n>', 'optimiser steps (default: by student)', positive)
  .option('--batch <n>', 'texts of a step (default: by student)', positive)
  .option('--rate <x>', 'largest learning rate (default: by student)', positiveNumber)
  .option(
    '--pairs <n>',
    `neighbouring tokens with a vector of their own in a lookup student, at the most (default: ${DEFAULT_PAIRS})`,
    wholeNumber,
  )
  .option(
    '--positions <n>',
    'positions in a text with a weight of their own in a lookup student (default: none)',
    wholeNumber,
  )
  .option(
    '--train-tables',
    'train a transformer’s embedding tables as well (default: unless they are very large)',
  )
  .option('--no-train-tables', 'keep them as the teacher’s')
  .option('--threads <n>', 'threads of training (default: one for each core)', positive)
  .option('--seed <n>', 'for choosing texts and for their order', wholeNumber, 1)
  .option('--resume', 'go on from the checkpoint that an interrupted run left in --out')
  .action(async (flags: Flags) => {
    const source = sourceOf(flags);
    const interrupted = new AbortController();
    const interrupt = (): void => {
      // Once is a request, twice is an order.
      if (interrupted.signal.aborted) process.exit(EXIT_INTERRUPTED);
      note('ending: the student is saved as it is (Ctrl-C again: at once, without)');
      interrupted.abort(
        new CliError('interrupted before there was a student; what the teacher read is kept'),
      );
    };
    process.on('SIGINT', interrupt);
    process.on('SIGTERM', interrupt);
    const teacher = await openTower(flags.teacher, { log: note, normalize: false });
    try {
      const reading = new Progress('teacher', 'texts');
      const fitting = new Progress('fitting', 'steps');
      const { steps, batch, rate, loss, pairs, positions, threads } = flags;
      const report = await distillTower({
        teacher,
        student: flags.student,
        source,
        out: flags.out,
        exclude: flags.exclude,
        seed: flags.seed,
        ...(steps !== undefined && { steps }),
        ...(batch !== undefined && { batch }),
        ...(rate !== undefined && { rate }),
        ...(loss !== undefined && { loss }),
        ...(pairs !== undefined && { pairs }),
        ...(positions !== undefined && { positions }),
        ...(threads !== undefined && { threads }),
        ...(flags.trainTables !== undefined && { trainTables: flags.trainTables }),
        resume: flags.resume === true,
        signal: interrupted.signal,
        log: note,
        onTeacher: (done, total) => reading.update(done, total),
        onProgress: (run) => fitting.update(run.step, run.steps, describe(run)),
      });
      if (report.interrupted) {
        note(`interrupted after ${report.steps} steps; to go on: the same command with --resume`);
        process.exitCode = EXIT_INTERRUPTED;
      }
      if (flags.json === true) printJson(report);
      else {
        process.stdout.write(
          `${report.out}: held-out cosine ${report.heldOutCosine.toFixed(4)} after ${report.texts} texts, ` +
            `${(report.bytes / 1e6).toFixed(1)} MB, ${Math.round(report.seconds)} s\n` +
            `next: npx scalingnote eval --dataset DIR --query-tower ${report.out}\n`,
        );
      }
    } finally {
      await teacher.close();
      process.off('SIGINT', interrupt);
      process.off('SIGTERM', interrupt);
    }
  });

function sourceOf({ corpus, texts, collection, tenant, documentAddress }: Flags): TextSource {
  const given = [
    ...(corpus === undefined ? [] : [{ corpus }]),
    ...(texts === undefined ? [] : [{ texts }]),
    ...(collection === undefined
      ? []
      : [
          {
            name: `collection ${collection}`,
            documents: () => storedDocuments(documentAddress, { collection, tenant }),
          },
        ]),
  ];
  if (given.length === 1) return given[0]!;
  throw new UsageError('give --corpus, --texts or --collection, one of the three');
}

/** Documents of a collection as a corpus. */
async function* storedDocuments(
  address: string,
  scope: { collection: string; tenant: string },
): AsyncGenerator<{ title: string; text: string }> {
  const client = new DocumentClient({ address });
  try {
    for await (const { title, passages } of client.listDocuments(scope)) {
      yield { title, text: passages.join('\n\n') };
    }
  } finally {
    client.close();
  }
}

function describe({ loss, heldOutCosine, tokensPerSecond }: RunProgress): string {
  const rate = Math.round(tokensPerSecond).toLocaleString('en');
  return `loss ${loss.toFixed(4)}  held-out cosine ${heldOutCosine.toFixed(4)}  ${rate} tokens/s`;
}

function studentKind(value: string): StudentKind {
  if (value === 'lookup') return { kind: 'lookup' };
  const [, layers, width] = /^transformer:(\d+(?:,\d+)*)(?:x(\d+))?$/.exec(value) ?? [];
  if (layers === undefined) {
    throw new InvalidArgumentError(
      'It is lookup, transformer:N or transformer:N,N,..., the latter two with xWIDTH behind it if wanted.',
    );
  }
  return {
    kind: 'transformer',
    layers: layers.includes(',') ? layers.split(',').map(Number) : Number(layers),
    ...(width !== undefined && { width: Number(width) }),
  };
}

function lossTerms(value: string): LossWeights {
  const weights: Record<string, number> = { mse: 0, cosine: 0, contrastive: 0 };
  for (const term of value.split('+')) {
    const [name = '', weight = '1'] = term.split(':');
    if (weights[name] === undefined || !(Number(weight) > 0)) {
      throw new InvalidArgumentError(
        'It is mse, cosine, contrastive, joined by +, each with :WEIGHT above 0 if wanted.',
      );
    }
    weights[name] = Number(weight);
  }
  return weights;
}
