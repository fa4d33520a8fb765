import type { Facet, Hit, SearchResult } from '../../clients/index.ts';
import { metadataPath, readPath } from '../../store/filter.ts';
import { clip, style, table } from './print.ts';

/** Characters of a value or a field that are shown. */
const VALUE_WIDTH = 40;

/** What an answer says besides its hits: that it is none, by what it was found, how many there are, and what they have. */
export function renderResultPage(
  result: SearchResult,
  { percentile: asksPercentile, sort, offset }: { percentile?: boolean; sort?: string; offset: number },
): string[] {
  const { noGoodAnswer, denseLegAbsence, resultSet, reranking, hits } = result;
  const lines: string[] = [];
  // Documents without the field come last.
  if (sort !== undefined && offset === 0 && hits[0] && sortedBy(sort, hits[0]) === undefined) {
    lines.push(
      style(
        'yellow',
        `no document has ${clip(sort, VALUE_WIDTH)} to sort by: the order is that of the scores`,
      ),
    );
  }
  if (asksPercentile === true && hits.length > 0 && hits[0]!.percentile === undefined) {
    lines.push(
      style('yellow', 'percentiles are not known: the collection has too few titles to make queries of'),
    );
  }
  if (noGoodAnswer) {
    const { bestScore, bestPercentile } = noGoodAnswer;
    const percentile = bestPercentile === undefined ? '' : `, percentile ${bestPercentile.toFixed(2)}`;
    lines.push(
      style(
        'yellow',
        `no good answer: the best is below the threshold, with score ${bestScore.toFixed(3)}${percentile}`,
      ),
    );
  }
  if (denseLegAbsence !== undefined) {
    const why =
      denseLegAbsence === 'deadline' ? 'there was no time to encode the query' : 'the query tower is away';
    lines.push(style('yellow', `found by wording alone: ${why}`));
  }
  if (reranking) {
    const { reranker, documents, skipped } = reranking;
    const why = skipped === 'deadline' ? 'the deadline left no time' : 'it is away';
    const what = skipped === undefined ? `read ${documents} documents` : `read nothing: ${why}`;
    lines.push(style(skipped === undefined ? 'dim' : 'yellow', `${clip(reranker, VALUE_WIDTH)} ${what}`));
  }
  if (!resultSet) return lines;
  const { kind, count, exact, candidates, facets } = resultSet;
  const among = kind === 'matches' ? 'those that match' : `the best ${candidates}`;
  if (count !== undefined) {
    const what = kind === 'matches' ? 'documents match' : 'documents';
    lines.push(exact ? `${count} ${what}` : `${count} ${what} were counted, and there are more`);
  }
  return [...lines, ...facets.map((facet) => renderFacet(facet, exact ? '' : ` among ${among}`))];
}

/** What a hit is sorted by; `undefined` where it has no such value. @param field as the service took it */
export function sortedBy(
  field: string,
  { id, version, metadata }: Pick<Hit, 'id' | 'version' | 'metadata'>,
): string | number | boolean | undefined {
  const path = metadataPath(field);
  const found = path ? readPath(metadata, path) : field === 'version' ? version : id;
  const value: unknown = Array.isArray(found) ? found[0] : found;
  const sorts = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  return sorts ? value : undefined;
}

function renderFacet({ field, values, missing, distinct, distinctAtLeast }: Facet, among: string): string {
  const rows = values.map(({ value, documents }) => [clip(String(value), VALUE_WIDTH), documents]);
  const more = distinct > values.length ? `, ${distinctAtLeast ? 'at least ' : ''}${distinct} values` : '';
  const without = missing > 0 ? `, ${missing} without it` : '';
  return `\n${table([`${clip(field, VALUE_WIDTH)}${among}${more}${without}`, 'documents'], rows)}`;
}
