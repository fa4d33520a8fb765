import { Command, InvalidArgumentError } from 'commander';
import { openTower } from '../../towers/open.ts';
import { distill as distillTower } from '../../training/distill/distill.ts';
import {
  DEFAULT_PAIRS,
  type DistillRequest,
  type StudentKind,
  type TextSource,
  parseStudent,
} from '../../training/distill/request.ts';
import { readSources } from '../../training/distill/sources.ts';
import type { FitProgress } from '../../training/distill/fit.ts';
import type { LossWeights } from '../../training/gradient/losses.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson, UsageError } from '../output/print.ts';
import { ProgressByName } from '../output/progress.ts';
import { DocumentClient } from '../../clients/index.ts';
import { withDocumentAddress } from '../connection.ts';
import { collect, positive, positiveNumber, wholeNumber } from '../input/flags.ts';

interface SourceFlags {
  corpus?: string | undefined;
  texts?: string | undefined;
  collection?: string | undefined;
  tenant: string;
  documentAddress: string;
}

type Inside =
  | 'teacher'
  | 'documentTower'
  | 'source'
  | 'sources'
  | 'signal'
  | 'cacheDir'
  | 'log'
  | 'onTeacher'
  | 'onProgress';

interface Flags extends SourceFlags, Omit<DistillRequest, Inside> {
  teacher: string;
  sources?: string | undefined;
  maxTokensSpent?: number;
  json?: boolean;
}

/** What a shell says of a process that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;

/** `scalingnote distill` */
export const distill = withDocumentAddress(new Command('distill'))
  .description('train a query tower for a document tower, from texts without labels')
  .option(
    '--teacher <reference>',
    'document tower; the student imitates its query vectors',
    'all-MiniLM-L6-v2',
  )
  .option(
    '--student <kind>',
    'lookup: one vector per token; transformer:N: N of the teacher’s layers, evenly spaced; transformer:0,5: these layers; ' +
      'transformer:2x192: token vectors of 192 components',
    studentKind,
    { kind: 'lookup' },
  )
  .option(
    '--corpus <path>',
    'folder in BEIR layout, or a file of documents; queries are made from their texts',
  )
  .option('--texts <file>', 'query texts, one a line')
  .option('--collection <name>', 'collection of the document service; queries are made from its passages')
  .option('--tenant <tenant>', 'tenant that owns the documents of --collection', '')
  .option(
    '--exclude <dir>',
    'BEIR folder whose queries are left out of training, as those in --corpus always are; repeatable',
    collect,
    [],
  )
  .option(
    '--sources <file>',
    'JSON list of the sources of --texts with their licences, which goes into the manifest',
  )
  .requiredOption('--out <dir>', 'folder of the new tower')
  .option(
    '--loss <terms>',
    'terms joined by +: mse, cosine, contrastive, ranking; each may have a weight: mse:0.5+cosine (default: mse+cosine)',
    lossTerms,
  )
  .option('--steps <n>', 'optimiser steps (default: depends on the student)', positive)
  .option('--batch <n>', 'texts per step (default: depends on the student)', positive)
  .option('--rate <x>', 'peak learning rate (default: depends on the student)', positiveNumber)
  .option(
    '--pairs <n>',
    `most token pairs that get a vector of their own in a lookup student (default: ${DEFAULT_PAIRS})`,
    wholeNumber,
  )
  .option(
    '--positions <n>',
    'positions in a text that get a weight of their own in a lookup student (default: none)',
    wholeNumber,
  )
  .option(
    '--width <n>',
    'components of a lookup student’s vectors; a projection leads to the teacher’s dimensions (default: the dimensions, 512 ' +
      'where there are more than 1024)',
    positive,
  )
  .option(
    '--bits <n>',
    'bits of a number in a lookup student’s tables: 8, or 4 for half the bytes (default: those of --init, else 8)',
    tableBits,
  )
  .option(
    '--init <reference>',
    'student of the same kind that it starts from, such as all-MiniLM-L6-v2-lookup: for a thousand texts, not tens of ' +
      'thousands (default: the teacher’s vectors of single tokens, or its layers)',
  )
  .option(
    '--tokenizer <reference>',
    'tower, folder or tokenizer.json that a lookup student reads with (default: the teacher’s tokenizer)',
  )
  .option(
    '--train-tables',
    'train the embedding tables of a transformer as well (default: unless they are very large)',
  )
  .option('--no-train-tables', 'keep the teacher’s embedding tables')
  .option('--threads <n>', 'threads for training (default: one per core)', positive)
  .option('--seed <n>', 'seed for the choice of texts and their order', wholeNumber, 1)
  .option(
    '--max-tokens-spent <n>',
    'of a teacher on a server: tokens that it may cost; what it has read is kept for the next run',
    positive,
  )
  .option('--resume', 'resume from the checkpoint that an interrupted run left in --out')
  .action(
    async ({
      json,
      collection,
      tenant,
      documentAddress,
      corpus,
      texts,
      teacher,
      sources: sourcesFile,
      maxTokensSpent,
      ...rest
    }: Flags) => {
      const source = sourceOf({ collection, tenant, documentAddress, corpus, texts });
      const sources = sourcesFile === undefined ? undefined : await readSources(sourcesFile);
      const report = await interruptible(
        'what the teacher has read is kept for the next run',
        async (signal) => {
          const remote = { maxTokensSpent };
          const tower = await openTower(teacher, { log: note, normalize: false, remote });
          try {
            const bars = new ProgressByName();
            return await distillTower({
              ...rest,
              teacher: tower,
              source,
              sources,
              signal,
              log: note,
              onTeacher: (done, total) => bars.update('teacher', 'texts', done, total),
              onProgress: (run) => bars.update('fitting', 'steps', run.step, run.steps, describe(run)),
            });
          } finally {
            await tower.close();
          }
        },
      );
      if (report.interrupted) {
        note(`interrupted after ${report.steps} steps; to go on: the same command with --resume`);
        process.exitCode = EXIT_INTERRUPTED;
      }
      if (json === true) printJson(report);
      else {
        process.stdout.write(
          `${report.out}: held-out cosine ${report.heldOutCosine.toFixed(4)} after ${report.texts} texts, ` +
            `${(report.bytes / 1e6).toFixed(1)} MB, ${Math.round(report.seconds)} s\n` +
            `next: npx scalingnote eval --dataset DIR --query-tower ${report.out}\n`,
        );
      }
    },
  );

function sourceOf({ corpus, texts, collection, tenant, documentAddress }: SourceFlags): TextSource {
  const given: TextSource[] = [];
  if (corpus !== undefined) given.push({ corpus });
  if (texts !== undefined) given.push({ texts });
  if (collection !== undefined) {
    const documents = () => storedDocuments(documentAddress, { collection, tenant });
    given.push({ name: `collection ${collection}`, documents });
  }
  if (given.length === 1) return given[0]!;
  throw new UsageError('give exactly one of --corpus, --texts and --collection');
}

/** Documents of a collection as a corpus. */
async function* storedDocuments(
  address: string,
  scope: { collection: string; tenant: string },
): AsyncGenerator<{ title: string; text: string }> {
  using client = new DocumentClient({ address, waitForReady: false });
  for await (const { title, passages } of client.listDocuments(scope)) {
    yield { title, text: passages.join('\n\n') };
  }
}

function describe({ loss, heldOutCosine, tokensPerSecond }: FitProgress): string {
  const rate = Math.round(tokensPerSecond).toLocaleString('en');
  return `loss ${loss.toFixed(4)}  held-out cosine ${heldOutCosine.toFixed(4)}  ${rate} tokens/s`;
}

function studentKind(value: string): StudentKind {
  const student = parseStudent(value);
  if (student !== undefined) return student;
  throw new InvalidArgumentError(
    'Give lookup, transformer:N or transformer:N,N,...; the last two may end in xWIDTH.',
  );
}

function tableBits(value: string): 4 | 8 {
  if (value === '4') return 4;
  if (value === '8') return 8;
  throw new InvalidArgumentError('It must be 4 or 8.');
}

function lossTerms(value: string): LossWeights {
  const weights: Record<string, number> = { mse: 0, cosine: 0, contrastive: 0, ranking: 0 };
  for (const term of value.split('+')) {
    const [name = '', weight = '1'] = term.split(':');
    if (weights[name] === undefined || !(Number(weight) > 0)) {
      throw new InvalidArgumentError(
        'Give mse, cosine, contrastive and ranking joined by +; each may end in :WEIGHT, above 0.',
      );
    }
    weights[name] = Number(weight);
  }
  return weights;
}
