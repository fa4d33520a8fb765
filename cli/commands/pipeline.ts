import { Command } from 'commander';
import { type PipelineReport, runPipeline } from '../../training/pipeline/pipeline.ts';
import { readRecipe } from '../../training/pipeline/recipe.ts';
import { positive } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson, table } from '../output/print.ts';
import { ProgressByName } from '../output/progress.ts';
import { writeWordNetPairs } from '../sample/pairs.ts';

interface Flags {
  threads?: number;
  json?: boolean;
}

/** Held-out synsets, as many as `scalingnote pairs wordnet` holds out. */
const WORDNET = { heldOut: 2_000, seed: 1 };

/** `scalingnote pipeline` */
export const pipeline = new Command('pipeline')
  .description(
    'run both stages from one recipe and compare them with end-to-end training; finished steps are skipped',
  )
  .argument('<file>', 'YAML: base, pairs, out, seed, stage1, stage2, endToEnd, sameSteps')
  .option('--threads <n>', 'threads for training (default: one per core)', positive)
  .action(async (file: string, { threads, json }: Flags) => {
    const recipe = await readRecipe(file);
    const report = await interruptible('the same command goes on', (signal) => {
      const bars = new ProgressByName();
      return runPipeline(recipe, {
        makePairs: {
          wordnet: async (out) => {
            await writeWordNetPairs(out, WORDNET);
          },
        },
        threads,
        signal,
        log: note,
        onProgress: (step, { phase, done, total, loss }) => {
          const unit = phase === 'mining' ? 'texts' : 'steps';
          const detail = loss === undefined ? undefined : `loss ${loss.toFixed(3)}`;
          bars.update(`${step}, ${phase}`, unit, done, total, detail);
        },
      });
    });
    if (json === true) printJson(report);
    else process.stdout.write(`${render(report)}\n`);
  });

function render({ stage1, twoStage, endToEnd, difference, sameSteps, out }: PipelineReport): string {
  const row = (name: string, recall: number, seconds: number, flops: number): (string | number)[] => [
    name,
    recall.toFixed(4),
    Math.round(seconds),
    flops.toExponential(2),
  ];
  const rows = [
    row('base', stage1.heldOut.recall10.base, 0, 0),
    row('teacher, both sides full', stage1.recall10, stage1.seconds, stage1.flops),
  ];
  const seconds = stage1.seconds + twoStage.seconds;
  rows.push(row(`two-stage, ${twoStage.student}`, twoStage.recall10, seconds, twoStage.flops));
  for (const [name, run] of [
    ['end to end, as many operations', endToEnd],
    ["end to end, the teacher's steps", sameSteps],
  ] as const) {
    if (run !== undefined) rows.push(row(name, run.recall10, run.seconds, run.flops));
  }
  const kept = twoStage.kept;
  const lines = [
    table(['query tower', 'Recall@10', 'seconds', 'operations'], rows),
    `two-stage keeps ${kept.recall10.toFixed(3)} of its teacher (${kept.interval.map((end) => end.toFixed(3)).join(' to ')})`,
  ];
  for (const [what, found] of [
    ['at as many operations', difference],
    ['in the same steps', sameSteps?.difference],
  ] as const) {
    if (found === undefined) continue;
    const [low, high] = found.interval.map((end) => end.toFixed(4));
    lines.push(`two-stage minus end to end, ${what}: ${found.recall10.toFixed(4)} (${low} to ${high})`);
  }
  lines.push(
    `next: npx scalingnote up --document-tower file:${stage1.towers.document} --query-tower file:${twoStage.tower}`,
    `everything is in ${out}`,
  );
  return lines.join('\n');
}
