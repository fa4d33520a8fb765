import { Command, Option } from 'commander';
import { openTower } from '../../towers/open.ts';
import { distillLookup } from '../../training/lookup/distill.ts';
import { note, printJson, UsageError } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { wholeNumber } from './search.ts';

interface Flags {
  teacher: string;
  student: 'lookup';
  corpus?: string;
  texts?: string;
  out: string;
  seed: number;
  json?: boolean;
}

/** `scalingnote distill` */
export const distill = new Command('distill')
  .description('make a query tower for a document tower, from texts without labels')
  .option('--teacher <reference>', 'document tower whose query vectors are imitated', 'all-MiniLM-L6-v2')
  .addOption(
    new Option('--student <kind>', 'lookup: a vector per token').choices(['lookup']).default('lookup'),
  )
  .option('--corpus <path>', 'folder in BEIR layout, or a file of documents: queries are made from its texts')
  .option('--texts <file>', 'query texts, one a line')
  .requiredOption('--out <dir>', 'folder of the new tower')
  .option('--seed <n>', 'for choosing texts', wholeNumber, 1)
  .option('--json', 'print one JSON document')
  .action(async (flags: Flags) => {
    if ((flags.corpus === undefined) === (flags.texts === undefined)) {
      throw new UsageError('give --corpus or --texts, one of the two');
    }
    const teacher = await openTower(flags.teacher, { log: note });
    try {
      const progress = new Progress('teacher', 'texts');
      const report = await distillLookup({
        teacher,
        ...(flags.corpus === undefined ? {} : { corpus: flags.corpus }),
        ...(flags.texts === undefined ? {} : { texts: flags.texts }),
        out: flags.out,
        seed: flags.seed,
        log: note,
        onProgress: (done, total) => progress.update(done, total),
      });
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
    }
  });
