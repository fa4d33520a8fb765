import { Command } from 'commander';
import { positive, wholeNumber } from '../input/flags.ts';
import { printJson } from '../output/print.ts';
import { writeWordNetPairs } from '../sample/pairs.ts';

interface Flags {
  out: string;
  heldOut: number;
  seed: number;
  json?: boolean;
}

const wordnet = new Command('wordnet')
  .description("use WordNet's definitions as queries for its words and examples")
  .requiredOption('--out <file>', 'file to write, JSON Lines')
  .option('--held-out <n>', 'pairs to hold out from training', positive, 2_000)
  .option('--seed <n>', 'seed for the choice of held-out pairs', wholeNumber, 1)
  .action(async (flags: Flags) => {
    const written = await writeWordNetPairs(flags.out, flags);
    if (flags.json === true) printJson(written);
    else {
      process.stdout.write(
        `${written.out}: ${written.train} pairs to train on, ${written.heldOut} held out\n` +
          `next: npx scalingnote train --pairs ${written.out} --out DIR\n`,
      );
    }
  });

/** `scalingnote pairs` */
export const pairs = new Command('pairs')
  .description('make pairs of queries and documents to train on')
  .addCommand(wordnet);
