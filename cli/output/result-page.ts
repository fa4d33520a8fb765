import type { Facet, SearchResult } from '../../clients/index.ts';
import { clip, style, table } from './print.ts';

/** Characters of a value or a field that are shown. */
const VALUE_WIDTH = 40;

/** What an answer says besides its hits: that it is none, by what it was found, how many there are, and what they have. */
export function renderResultPage(result: SearchResult): string[] {
  const { noGoodAnswer, denseLegAbsence, resultSet, reranking } = result;
  const lines: string[] = [];
  if (noGoodAnswer) {
    const { bestScore, bestPercentile } = noGoodAnswer;
    const percentile = bestPercentile === undefined ? '' : `, percentile ${bestPercentile.toFixed(2)}`;
    lines.push(style('yellow', `no good answer: the best has score ${bestScore.toFixed(3)}${percentile}`));
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

function renderFacet({ field, values, missing, distinct, distinctAtLeast }: Facet, among: string): string {
  const rows = values.map(({ value, documents }) => [clip(String(value), VALUE_WIDTH), documents]);
  const more = distinct > values.length ? `, ${distinctAtLeast ? 'at least ' : ''}${distinct} values` : '';
  const without = missing > 0 ? `, ${missing} without it` : '';
  return `\n${table([`${clip(field, VALUE_WIDTH)}${among}${more}${without}`, 'documents'], rows)}`;
}
