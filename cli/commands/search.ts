import { Command, InvalidArgumentError, Option } from 'commander';
import type { SearchRequest, SearchResult } from '../../clients/index.ts';
import { usingQueries, withConsoleAddress, withQueryAddress } from '../connection.ts';
import { filterOf, withFilter } from '../input/filter-flags.ts';
import { clip, note, printJson, style, table } from '../output/print.ts';
import { renderWaterfall } from '../output/waterfall.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';
import type { CallTracing } from '../call-tracing.ts';

interface Flags {
  collection: string;
  tenant: string;
  limit: number;
  offset: number;
  filter: string[];
  mode: SearchRequest['mode'] & string;
  json?: boolean;
  trace?: boolean;
  queryAddress: string;
  consoleAddress: string;
}

/** `scalingnote search TEXT` */
export const search = withFilter(withConsoleAddress(withQueryAddress(new Command('search'))))
  .description('search a collection')
  .argument('<text...>', 'what to search for')
  .option('-c, --collection <name>', 'collection', SAMPLE_COLLECTION)
  .option('--tenant <tenant>', 'whose documents', '')
  .option('-n, --limit <n>', 'how many documents', wholeNumber, 10)
  .option('--offset <n>', 'how many of the best to skip', wholeNumber, 0)
  .addOption(
    new Option('--mode <mode>', 'meaning, wording, or both')
      .choices(['dense', 'sparse', 'hybrid'])
      .default('dense'),
  )
  .option('--trace', 'show where the time went, from here through the service')
  .option('--json', 'print one JSON document')
  .action(async (words: string[], flags: Flags) => {
    const filter = filterOf(flags.filter);
    const tracing = flags.trace === true ? await startTracing(flags.consoleAddress) : undefined;
    const result = await usingQueries(flags.queryAddress, (client) =>
      client.search({
        collection: flags.collection,
        tenant: flags.tenant,
        query: words.join(' '),
        limit: flags.limit,
        offset: flags.offset,
        mode: flags.mode,
        ...(filter === undefined ? {} : { filter }),
      }),
    ).catch(async (error: unknown) => {
      // Why it failed may be seen there.
      const trace = await tracing?.last().catch(() => undefined);
      if (trace && flags.json !== true) note(renderWaterfall(trace));
      throw error;
    });
    if (flags.json !== true) process.stdout.write(`${renderHits(result)}\n${renderTimings(result)}\n`);
    const trace = await tracing?.last();
    if (flags.json === true) printJson(trace ? { ...result, trace } : result);
    else if (trace) process.stdout.write(`\n${renderWaterfall(trace)}\n`);
  });

/** Nobody else waits for these packages to be loaded. */
async function startTracing(consoleAddress: string): Promise<CallTracing> {
  const { CallTracing } = await import('../call-tracing.ts');
  return new CallTracing(consoleAddress);
}

/** Hits as a table. */
export function renderHits({ hits }: SearchResult, textWidth = 60): string {
  if (hits.length === 0) return 'nothing found; try other words, or fewer filters';
  return table(
    ['score', 'id', 'title', 'text'],
    hits.map(({ score, id, title, text }) => [
      score.toFixed(3),
      clip(id, 24),
      clip(title, 32),
      clip(text, textWidth),
    ]),
  );
}

/** Where the time went, in one line. */
export function renderTimings({ timings, queryTower }: SearchResult): string {
  const { tokenizeMs, queueMs, encodeMs, searchMs, totalMs, cached } = timings;
  const stages = `tokenize ${ms(tokenizeMs)}, queue ${ms(queueMs)}, encode ${ms(encodeMs)}, search ${ms(searchMs)}`;
  return style(
    'dim',
    `${ms(totalMs)} on the server: ${stages}${cached ? ' (vector cached)' : ''}; ${queryTower.name}`,
  );
}

/** A flag's whole number; whether it is in bounds is the service's to say. */
export function wholeNumber(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(value);
}

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
