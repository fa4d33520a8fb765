import { DocumentClient, QueryClient } from '../../clients/index.ts';
import type { Addresses } from '../connection.ts';
import { CliError, printResult, table } from '../output/print.ts';
import { Progress } from '../output/progress.ts';
import { FORMS, PROBED_HITS, PROBED_MODES, probeWords, WordSample, type WordTable } from './probe-words.ts';

/** What `eval --probe words` is given. */
export interface ProbeFlags extends Addresses {
  collection: string;
  tenant: string;
  seed: number;
  words: number;
  json?: boolean;
}

/** What is said of a collection's words. */
export interface WordProbe {
  collection: string;
  queryTower: string;
  seed: number;
  /** How many words were asked for. */
  words: number;
  table: WordTable;
}

/** `scalingnote eval --probe words`: how a running service finds the words of a collection's own titles. */
export async function runProbe(flags: ProbeFlags): Promise<void> {
  const { collection, tenant, seed } = flags;
  using documents = new DocumentClient({ address: flags.documentAddress, waitForReady: false });
  using queries = new QueryClient({ address: flags.queryAddress, waitForReady: false });
  const sample = new WordSample(seed, flags.words);
  const reading = new Progress('reading titles', 'documents');
  let read = 0;
  for await (const { title } of documents.exportDocuments({ collection, tenant })) {
    sample.add(title ?? '');
    reading.update(++read);
  }
  const words = sample.words();
  if (words.length === 0) {
    throw new CliError(
      `collection "${collection}" has no title that is one word of at least four letters; there is nothing to ask for`,
    );
  }
  const asking = new Progress('searching', 'searches');
  let queryTower = '';
  const wordTable = await probeWords(
    words,
    seed,
    async (mode, query, form) => {
      const found = await queries.search({
        collection,
        tenant,
        query,
        mode,
        ...(form === 'prefix' && { prefix: true }),
        limit: PROBED_HITS,
        omitText: true,
        omitMetadata: true,
      });
      queryTower = found.queryTower.name;
      return found.hits.map(({ title }) => title);
    },
    (done, total) => asking.update(done, total),
  );
  const probe: WordProbe = { collection, queryTower, seed, words: words.length, table: wordTable };
  printResult(flags, probe, () => render(probe));
}

function render({ collection, queryTower, words, table: cells }: WordProbe): string {
  const rows = FORMS.map((form) => [
    NAMES[form],
    ...PROBED_MODES.map((mode) => {
      const { first, firstTen } = cells[form][mode];
      return `${first.toFixed(2)} (${firstTen.toFixed(2)})`;
    }),
  ]);
  const head = `${collection}: ${words} words of its titles, ${queryTower}; right first (among the first ten)`;
  return `${head}\n${table(['query', ...PROBED_MODES], rows)}`;
}

const NAMES = {
  exact: 'exact',
  plural: 'plural',
  prefix: 'first 70 % of the letters',
  transposed: 'two letters transposed',
};
