import { Command } from 'commander';
import { type PipelineReport, runPipeline } from '../../training/pipeline/pipeline.ts';
import { type ClaimReport, runClaim } from '../../training/pipeline/claim/claim.ts';
import { readRecipe } from '../../training/pipeline/recipe.ts';
import type { TrainProgress } from '../../training/stage1/run-steps.ts';
import { positive } from '../input/flags.ts';
import { interruptible } from '../interrupt.ts';
import { note, printJson, table, UsageError } from '../output/print.ts';
import { ProgressByName } from '../output/progress.ts';
import { writeWordNetPairs } from '../sample/pairs.ts';

interface Flags {
  small?: boolean;
  threads?: number;
  json?: boolean;
}

/** Held-out synsets, as many as `scalingnote pairs wordnet` holds out. */
const WORDNET = { heldOut: 2_000, seed: 1 };

/** `scalingnote pipeline` */
export const pipeline = new Command('pipeline')
  .description(
    'run both stages from one recipe and compare them with end-to-end training, at one point or over a grid (claim); ' +
      'finished steps are skipped',
  )
  .argument(
    '<file>',
    'YAML: base, pairs, out, seed, stage1, stage2, endToEnd, sameSteps; or base, pairs, out, claim, small',
  )
  .option('--small', 'of a recipe with a claim: run its small grid')
  .option('--threads <n>', 'threads for training (default: one per core)', positive)
  .action(async (file: string, { small, threads, json }: Flags) => {
    const recipe = await readRecipe(file);
    if (small === true && !('claim' in recipe)) {
      throw new UsageError(`${file} has no claim: --small is for recipes that have one`);
    }
    const text = await interruptible('the same command goes on', async (signal) => {
      const bars = new ProgressByName();
      const settings = {
        makePairs: {
          wordnet: async (out: string, heldOut = WORDNET.heldOut) => {
            await writeWordNetPairs(out, { ...WORDNET, heldOut });
          },
        },
        threads,
        signal,
        log: note,
        onProgress: (step: string, { phase, done, total, loss }: TrainProgress) => {
          const unit = phase === 'training' ? 'steps' : 'texts';
          const detail = loss === undefined ? undefined : `loss ${loss.toFixed(3)}`;
          bars.update(`${step}, ${phase}`, unit, done, total, detail);
        },
      };
      if ('claim' in recipe) {
        const report = await runClaim(recipe, { ...settings, small });
        return json === true ? printJson(report) : renderClaim(report);
      }
      const report = await runPipeline(recipe, settings);
      return json === true ? printJson(report) : render(report);
    });
    if (text !== undefined) process.stdout.write(`${text}\n`);
  });

function renderClaim({ points, headroom, differences, html }: ClaimReport): string {
  const ends = (interval: readonly number[]): string => interval.map((end) => end.toFixed(4)).join(' to ');
  const skipped = headroom.filter((each) => each.skipped);
  return [
    table(
      ['student', 'arm', 'pairs', 'MRR', '95 %', 'entropy', 'operations'],
      points.map(({ student, arm, pairs, mrr, interval, entropy, operations }) => [
        student,
        arm,
        pairs,
        mrr.toFixed(4),
        ends(interval),
        entropy.toFixed(4),
        operations.toExponential(2),
      ]),
    ),
    ...differences.map(
      ({ sentence, verdict, mrr, wide }) =>
        `${sentence} ${verdict}: ${mrr.value.toFixed(4)} (${ends(mrr.interval)})${wide === undefined ? '' : `; ${wide}`}`,
    ),
    ...skipped.map(
      ({ student, pairs, value }) =>
        `${student}, ${pairs} pairs: skipped, its headroom of ${value.toFixed(4)} is below two half-widths`,
    ),
    `plot: ${html}`,
  ].join('\n');
}

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
