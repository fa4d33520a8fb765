import type { Command } from 'commander';
import type { DocumentOrigin, Explanation, RankingPlace, SearchResult } from '../../clients/index.ts';
import { conditionOf } from '../strict.ts';
import { clip, printable, style } from './print.ts';

/** Characters of an identifier that are shown. */
const ID_WIDTH = 64;

/** Why each hit ranks where it does, and its whole text, as far as the search asked for them. */
export function renderReasons({ hits }: SearchResult): string[] {
  return hits.flatMap(({ id, explanation, documentText, documentTextAbsence }) => {
    const lines: string[] = [];
    if (explanation) lines.push(...reasons(explanation));
    if (documentText !== undefined) lines.push(printable(documentText));
    if (documentTextAbsence === 'not stored') lines.push(style('dim', '(its whole text is not stored)'));
    if (documentTextAbsence === 'too large') {
      const name = JSON.stringify(clip(id, ID_WIDTH));
      lines.push(style('dim', `(its text is too much for this answer: "scalingnote get ${name}" prints it)`));
    }
    return lines.length === 0 ? [] : [`\n${style('bold', clip(id, ID_WIDTH))}`, ...lines];
  });
}

/** What became of the document that the search asked about. */
export function renderFate({ explainedDocument }: SearchResult, command: Command): string[] {
  if (!explainedDocument) return [];
  const { documentId, message, explanation, filterPath } = explainedDocument;
  const condition = filterPath === undefined ? undefined : conditionOf(filterPath, command);
  const words = condition === undefined ? message : message.replace(filterPath!, condition);
  return [
    `\n${style('bold', JSON.stringify(clip(documentId, ID_WIDTH)))}: ${clip(words, Infinity)}`,
    ...(explanation ? reasons(explanation) : []),
  ];
}

/** That a query was cut. */
export function renderTruncation({ queryTruncation, queryTower }: SearchResult): string[] {
  if (!queryTruncation) return [];
  const { tokensRead, maxTokens, queryTokens, queryTokensAtLeast } = queryTruncation;
  const all = queryTokens === 0 ? '' : ` of ${queryTokensAtLeast ? 'at least ' : ''}${queryTokens}`;
  const line = `the query was cut: ${queryTower.name} reads ${maxTokens} tokens, and read ${tokensRead}${all}`;
  return [style('yellow', line)];
}

function reasons({ dense, sparse, teacher, terms, passages, origin }: Explanation): string[] {
  const parts = [
    ...(dense ? [`by meaning ${place(dense, passages)}`] : []),
    ...(sparse ? [`by wording ${place(sparse, passages)}`] : []),
    ...(teacher ? [`by the teacher ${clip(teacher.name, ID_WIDTH)} ${place(teacher, passages)}`] : []),
  ];
  if (terms.length > 0) {
    parts.push(
      `terms ${terms.map(({ term, score }) => `${clip(term, ID_WIDTH)} ${score.toFixed(2)}`).join(', ')}`,
    );
  }
  const lines = [...(parts.length > 0 ? [parts.join('; ')] : []), ...(origin ? [originOf(origin)] : [])];
  return lines.map((line) => style('dim', line));
}

function originOf({ ingestedAt, traceId, sequence, position, coverage, unknown }: DocumentOrigin): string {
  const parts = [
    ingestedAt ? `ingested at ${ingestedAt.toISOString()}` : `ingested: unknown (${unknown ?? ''})`,
  ];
  if (traceId !== undefined) parts.push(`in trace ${clip(traceId, ID_WIDTH)}`);
  if (sequence !== undefined) parts.push(`as sequence ${sequence}`);
  if (position !== undefined) parts.push(`there from position ${clip(position, ID_WIDTH)} on`);
  if (coverage === 'covered') parts.push('which your freshness token covers');
  if (coverage === 'later') parts.push('which is later than your freshness token');
  return parts.join(', ');
}

function place({ score, rank, rankBound, passage, fusedShare }: RankingPlace, passages: number): string {
  const where = rank === undefined ? `past place ${rankBound}` : `place ${rank}`;
  const share = fusedShare > 0 ? `, adds ${fusedShare.toFixed(4)}` : '';
  const which = passages > 1 ? `, passage ${passage + 1} of ${passages}` : '';
  return `${score.toFixed(3)} (${where}${share}${which})`;
}
