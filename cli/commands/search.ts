import { Command, Option } from 'commander';
import {
  type Fusion,
  type Hit,
  QueryClient,
  type SearchRequest,
  type SearchResult,
} from '../../clients/index.ts';
import { withConsoleAddress, withQueryAddress } from '../connection.ts';
import { collect, decimal, filterOf, notEmpty, within, withFilter } from '../input/flags.ts';
import { renderFate, renderReasons, renderTruncation } from '../output/explanations.ts';
import { renderResultPage, sortedBy } from '../output/result-page.ts';
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
  fusion?: Fusion['method'];
  fusionK?: number;
  denseWeight?: number;
  percentile?: boolean;
  minPercentile?: number;
  count?: boolean;
  facet: string[];
  sort?: string;
  descending?: boolean;
  candidates?: number;
  rerank?: number;
  fresh?: string;
  threshold?: number;
  /** Of one document, or of all hits. */
  explain?: string | true;
  snippet?: number;
  prefix?: boolean;
  language?: string;
  whole?: boolean;
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
  .option('-n, --limit <n>', 'number of hits', within(1, 1000), 10)
  .option('--offset <n>', 'number of best hits to skip', within(0, 10_000), 0)
  .addOption(
    new Option('--mode <mode>', 'dense: match by meaning; sparse: by wording; hybrid: by both')
      .choices(['dense', 'sparse', 'hybrid'])
      .default('dense'),
  )
  .option('--prefix', 'the last word may be unfinished')
  .option(
    '--language <code>',
    'language of the text, an ISO 639 code, or "none" (default: those of the collection)',
    notEmpty,
  )
  .addOption(
    new Option(
      '--fusion <method>',
      'in hybrid mode, what a place in a leg is worth: by rank, by score, or by the distribution of scores',
    ).choices(['ranks', 'scores', 'distribution']),
  )
  .option('--fusion-k <k>', 'of --fusion ranks: how fast ranks lose worth, 1 to 1000', within(1, 1000))
  .option(
    '--dense-weight <w>',
    'in hybrid mode, weight of the leg by meaning, 0 to 1; wording has the rest',
    decimal,
  )
  .option(
    '--fresh <token>',
    'wait for everything that was durable when ingest or delete gave this token',
    notEmpty,
  )
  .option('--threshold <score>', 'lowest score to show', decimal)
  .option(
    '--percentile',
    'show the percentile of each hit: the share of random queries whose best hit scores lower',
  )
  .option('--min-percentile <p>', 'lowest percentile to show, 0 to 1, in every mode', decimal)
  .option('--count', 'count the documents that match, or that are among the best')
  .option(
    '--facet <field>',
    'count the values of a field, such as metadata.pos; repeat for more',
    collect,
    [],
  )
  .option('--sort <field>', 'order by a field, such as metadata.year, in place of the score', notEmpty)
  .option('--descending', 'with --sort: highest first')
  .option('--rerank <n>', 'have the reranker of the service read the best n documents again', within(1, 100))
  .option('--candidates <n>', 'how many documents are counted or sorted at most', within(1, 10_000))
  .option(
    '--explain [document-id]',
    'say why each hit ranks where it does, at most 100 of them; or why this document is not among them',
    notEmpty,
  )
  .option(
    '--snippet <n>',
    'show the stretch around the best sentence, at most n characters',
    within(16, 4096),
  )
  .option('--whole', 'show the whole text of each document, where it is stored')
  .option('--trace', 'also show a trace of the search, as the console recorded it')
  .action(async (words: string[], flags: Flags, command: Command) => {
    const { collection, tenant, limit, offset, mode, fresh: atLeastAsFreshAs } = flags;
    const filter = filterOf(flags.filter);
    // The tracing packages are loaded only for those who asked for a trace.
    const { CallTracing } = flags.trace === true ? await import('../call-tracing.ts') : {};
    const tracing = CallTracing && new CallTracing(flags.consoleAddress);
    using client = new QueryClient({ address: flags.queryAddress, waitForReady: false });
    const query = words.join(' ');
    const { threshold: scoreThreshold, snippet: snippetLength, whole: withDocumentText, explain } = flags;
    const fusion = fusionOf(flags);
    const request: SearchRequest = {
      collection,
      tenant,
      query,
      limit,
      offset,
      mode,
      ...(flags.prefix === true && { prefix: true }),
      ...(flags.language !== undefined && { language: flags.language }),
      filter,
      atLeastAsFreshAs,
      ...(scoreThreshold !== undefined && { scoreThreshold }),
      ...(fusion && { fusion }),
      ...(flags.percentile === true && { withPercentile: true }),
      ...(flags.minPercentile !== undefined && { percentileThreshold: flags.minPercentile }),
      ...(flags.count === true && { withCount: true }),
      ...(flags.facet.length > 0 && { facets: flags.facet.map((field) => ({ field })) }),
      ...(flags.sort !== undefined && {
        sort: { field: flags.sort, descending: flags.descending === true },
      }),
      ...(flags.rerank !== undefined && { rerank: flags.rerank }),
      ...(flags.candidates !== undefined && { candidates: flags.candidates }),
      ...(snippetLength !== undefined && { snippetLength }),
      ...(withDocumentText === true && { withDocumentText }),
      ...(explain === true && { explain }),
      ...(typeof explain === 'string' && { explainDocumentId: explain }),
    };
    const result = await client.search(request).catch(async (error: unknown) => {
      // The trace may show why the search failed.
      const trace = await tracing?.last().catch(() => undefined);
      if (trace && flags.json !== true) note(renderWaterfall(trace));
      throw error;
    });
    if (flags.json !== true) {
      const parts = [
        ...renderReading(result),
        ...(result.noGoodAnswer ? [] : [renderHits(result, { offset, sort: flags.sort })]),
        ...renderResultPage(result, flags),
        ...renderReasons(result),
        ...renderFate(result, command),
        ...renderTruncation(result),
        renderTimings(result),
      ];
      process.stdout.write(`${parts.join('\n')}\n`);
    }
    const trace = await tracing?.last();
    if (flags.json === true) printJson(trace ? { ...result, trace } : result);
    else if (trace) process.stdout.write(`\n${renderWaterfall(trace)}\n`);
  });

function fusionOf({ fusion: method, fusionK: k, denseWeight }: Flags): SearchRequest['fusion'] {
  if (method === undefined && k === undefined && denseWeight === undefined) return undefined;
  return {
    ...(method !== undefined && { method }),
    ...(k !== undefined && { k }),
    ...(denseWeight !== undefined && { denseWeight }),
  };
}

/** Characters of a passage that are shown. */
const TEXT_WIDTH = 60;

/** Hits as a table. @param page what was asked for: how many hits were skipped, and the field that orders them */
export function renderHits(
  { hits, fusion }: SearchResult,
  { offset = 0, sort }: { offset?: number; sort?: string | undefined } = {},
): string {
  if (hits.length === 0) {
    return offset > 0
      ? `nothing comes after the first ${offset}; give a lower --offset`
      : 'nothing found; try other words, or fewer filters';
  }
  const hasPercentiles = hits.some(({ percentile }) => percentile !== undefined);
  return table(
    [
      ...(sort === undefined ? [] : [clip(sort, 24)]),
      'score',
      ...(hasPercentiles ? ['percentile'] : []),
      ...(fusion ? ['by meaning', 'by wording'] : []),
      'id',
      'title',
      'text',
    ],
    hits.map(({ score, id, title, text, snippet, legs, percentile, ...hit }) => [
      ...(sort === undefined ? [] : [clip(String(sortedBy(sort, { id, ...hit }) ?? ''), 24)]),
      score.toFixed(3),
      ...(hasPercentiles ? [percentile?.toFixed(2) ?? ''] : []),
      ...(fusion ? [placeIn(legs?.dense), placeIn(legs?.sparse)] : []),
      clip(id, 24),
      clip(title, 32),
      // A snippet is as long as its caller wants it.
      snippet ? clip(snippet.text, snippet.text.length) : clip(text, TEXT_WIDTH),
    ]),
  );
}

/** What the words were taken for, where that is not as they are written. */
export function renderReading({ didYouMean, completions = [] }: SearchResult): string[] {
  return [
    ...(didYouMean === undefined ? [] : [`did you mean: ${didYouMean}`]),
    ...(completions.length === 0 ? [] : [`may become: ${completions.join(', ')}`]),
  ];
}

/** A document's place in a leg of a hybrid search, with its score there. */
function placeIn(place: NonNullable<Hit['legs']>['dense']): string {
  return place ? `${place.rank} (${place.score.toFixed(3)})` : '';
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
