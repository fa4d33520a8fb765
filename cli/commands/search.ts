import { Command, Option } from 'commander';
import { QueryClient, type SearchRequest, type SearchResult } from '../../clients/index.ts';
import { withConsoleAddress, withQueryAddress } from '../connection.ts';
import { filterOf, wholeNumber, withFilter } from '../input/flags.ts';
import { clip, note, printJson, style, table } from '../output/print.ts';
import { renderWaterfall } from '../output/waterfall.ts';
import { SAMPLE_COLLECTION } from '../sample/wordnet.ts';

interface Flags {
  collection: string;
  tenant: string;
  limit: number;
  offset: number;
  filter: string[];
  mode: SearchRequest['mode'] & string;
  fresh?: string;
  json?: boolean;
  trace?: boolean;
  queryAddress: string;
  consoleAddress: string;
}

/** `scalingnote search TEXT` */
export const search = withFilter(withConsoleAddress(withQueryAddress(new Command('search'))))
  .description('search a collection')
  .argument('<text...>', 'text to search for')
  .option('-c, --collection <name>', 'name of the collection', SAMPLE_COLLECTION)
  .option('--tenant <tenant>', 'tenant that owns the documents; empty for none', '')
  .option('-n, --limit <n>', 'number of hits', wholeNumber, 10)
  .option('--offset <n>', 'number of best hits to skip', wholeNumber, 0)
  .addOption(
    new Option('--mode <mode>', 'dense: match by meaning; sparse: by wording; hybrid: by both')
      .choices(['dense', 'sparse', 'hybrid'])
      .default('dense'),
  )
  .option('--fresh <token>', 'wait for everything that was durable when ingest or delete gave this token')
  .option('--trace', 'also show a trace of the search, as the console recorded it')
  .action(async (words: string[], flags: Flags) => {
    const { collection, tenant, limit, offset, mode, fresh: atLeastAsFreshAs } = flags;
    const filter = filterOf(flags.filter);
    // The tracing packages are loaded only for those who asked for a trace.
    const { CallTracing } = flags.trace === true ? await import('../call-tracing.ts') : {};
    const tracing = CallTracing && new CallTracing(flags.consoleAddress);
    using client = new QueryClient({ address: flags.queryAddress });
    const query = words.join(' ');
    const request = { collection, tenant, query, limit, offset, mode, filter, atLeastAsFreshAs };
    const result = await client.search(request).catch(async (error: unknown) => {
      // The trace may show why the search failed.
      const trace = await tracing?.last().catch(() => undefined);
      if (trace && flags.json !== true) note(renderWaterfall(trace));
      throw error;
    });
    if (flags.json !== true) process.stdout.write(`${renderHits(result)}\n${renderTimings(result)}\n`);
    const trace = await tracing?.last();
    if (flags.json === true) printJson(trace ? { ...result, trace } : result);
    else if (trace) process.stdout.write(`\n${renderWaterfall(trace)}\n`);
  });

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

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
