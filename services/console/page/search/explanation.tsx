import type { DocumentOrigin, Explanation, RankingPlace, Snippet } from '../../../../clients/answers.ts';
import type { Column } from './state.ts';

/** What an answer says besides its hits: that the query was cut, and what became of a document. */
export function Notices({ found }: { found: NonNullable<Column['found']> }) {
  const { queryTruncation, explainedDocument, queryTower, denseLegAbsence } = found;
  return (
    <>
      {queryTruncation && (
        <p class="muted" role="note">
          The query was cut: {queryTower.name} reads {queryTruncation.maxTokens} tokens, and the query has{' '}
          {queryTruncation.queryTokensAtLeast ? 'at least ' : ''}
          {queryTruncation.queryTokens}.
        </p>
      )}
      {denseLegAbsence && (
        <p class="muted" role="note">
          Found by wording alone:{' '}
          {denseLegAbsence === 'deadline'
            ? 'there was no time to encode the query'
            : 'the query tower is away'}
          .
        </p>
      )}
      {explainedDocument && (
        <div role="note" class="fate">
          <p>
            <code>{explainedDocument.documentId}</code>: {explainedDocument.message}
          </p>
          {explainedDocument.explanation && <Reasons explanation={explainedDocument.explanation} />}
        </div>
      )}
    </>
  );
}

/** A snippet with the words of the query marked. */
export function Marked({ snippet: { text, highlights } }: { snippet: Snippet }) {
  let last = 0;
  const parts = highlights.flatMap(({ start, end }) => {
    const before = text.slice(last, start);
    last = end;
    return [before, <mark key={start}>{text.slice(start, end)}</mark>];
  });
  return (
    <>
      {parts}
      {text.slice(last)}
    </>
  );
}

/** Why a document ranks where it does. */
export function Reasons({ explanation }: { explanation: Explanation }) {
  const { dense, sparse, teacher, terms, passages, origin } = explanation;
  const parts = [
    ...(dense ? [`by meaning ${place(dense)}`] : []),
    ...(sparse ? [`by wording ${place(sparse)}`] : []),
    ...(teacher ? [`by ${teacher.name} ${place(teacher)}`] : []),
    ...(terms.length > 0 ? [terms.map(({ term, score }) => `${term} ${score.toFixed(2)}`).join(', ')] : []),
    ...(passages > 1 ? [`${passages} passages`] : []),
    ...(origin ? [cameIn(origin)] : []),
  ];
  return <p class="muted reasons">{parts.join(' · ')}</p>;
}

function cameIn({ ingestedAt, traceId, unknown }: DocumentOrigin): string {
  if (!ingestedAt) return `ingested: unknown (${unknown ?? ''})`;
  // The page has it as JSON.
  const time = new Date(ingestedAt).toISOString();
  return `ingested ${time}${traceId === undefined ? '' : `, trace ${traceId}`}`;
}

function place({ score, rank, rankBound }: RankingPlace): string {
  return `${score.toFixed(3)}, ${rank === undefined ? `past place ${rankBound}` : `place ${rank}`}`;
}
