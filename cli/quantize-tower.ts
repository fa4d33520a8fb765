import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { QuantizedWeights } from '../towers/manifest.ts';
import { quantizeTower } from '../training/quantize-tower.ts';
import { collect } from './input/flags.ts';
import { note, printResult, table, UsageError } from './output/print.ts';
import { readWordNet } from './sample/wordnet.ts';

/** Texts of the sample that towers are compared on, where nobody gives others. */
const TEXTS = 400;

interface Flags {
  out: string;
  weights: QuantizedWeights;
  texts?: string;
  dataset: string[];
  json?: boolean;
}

/** `scalingnote towers quantize` */
export const quantize = new Command('quantize')
  .description(
    'make a document tower with smaller weights, which has a space of its own, and measure what it keeps',
  )
  .argument('<reference>', 'document tower, as for "towers pull"')
  .requiredOption('--out <dir>', 'folder to write the new tower to')
  .addOption(
    new Option(
      '--weights <kind>',
      'int8: eight bits, and inputs in eight bits as they come; int8-weights: eight bits in the file, computed with in ' +
        'single precision; fp16: half precision, for GPUs',
    )
      .choices(QuantizedWeights.options)
      .makeOptionMandatory(),
  )
  .option('--texts <file>', `texts to compare both towers on, one a line (default: ${TEXTS} of WordNet)`)
  .option('--dataset <dir>', 'folder in BEIR layout to measure both towers on; repeat for more', collect, [])
  .action(async (reference: string, { out, weights, texts, dataset, json }: Flags) => {
    const report = await quantizeTower({
      reference,
      out: resolve(out),
      weights,
      texts: await sampleOf(texts),
      datasets: dataset.map((folder) => resolve(folder)),
      log: note,
    });
    const { cosine, ndcg10 = [] } = report.quantization;
    printResult({ json: json === true }, report, () =>
      [
        `cosine to ${report.quantization.of} on ${cosine.texts} texts: median ${cosine.median.toFixed(4)}, one in ` +
          `twenty below ${cosine.percentile5.toFixed(4)}, lowest ${cosine.lowest.toFixed(4)}`,
        ...(ndcg10.length === 0
          ? []
          : [
              table(
                ['nDCG@10', 'before', 'after'],
                ndcg10.map((each) => [each.dataset, each.before.toFixed(4), each.after.toFixed(4)]),
              ),
            ]),
        `${report.name} is in ${report.out}, space ${report.space}`,
      ].join('\n'),
    );
  });

async function sampleOf(file: string | undefined): Promise<string[]> {
  if (file === undefined) {
    const all = await readWordNet();
    return Array.from({ length: TEXTS }, (_, index) => all[Math.floor((index * all.length) / TEXTS)]!.text);
  }
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`--texts: ${file} can't be read: ${String(error)}`);
  });
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new UsageError(`--texts: ${file} has no text; give one a line`);
  return lines;
}
