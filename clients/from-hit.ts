import type { DocumentExplanation__Output } from '../proto/generated/scalingnote/v1/DocumentExplanation.ts';
import type { DocumentOrigin__Output } from '../proto/generated/scalingnote/v1/DocumentOrigin.ts';
import type { Explanation__Output } from '../proto/generated/scalingnote/v1/Explanation.ts';
import type { Hit__Output } from '../proto/generated/scalingnote/v1/Hit.ts';
import type { Legs__Output } from '../proto/generated/scalingnote/v1/Legs.ts';
import type { RankingPlace__Output } from '../proto/generated/scalingnote/v1/RankingPlace.ts';
import { fromStruct } from '../proto/struct.ts';
import type { DocumentExplanation, DocumentOrigin, Explanation, Hit, Legs, RankingPlace } from './answers.ts';
import { fromTimestamp } from './timestamp.ts';

/** Hits and explanations of the wire as this package answers with them. */

export function fromHit(hit: Hit__Output): Hit {
  const { documentId, score, title, passage, text, explanation, snippet } = hit;
  const { documentText, documentTextAbsence, legs } = hit;
  return {
    id: documentId,
    score,
    title,
    passage,
    text,
    metadata: fromStruct(hit.metadata),
    version: Number(hit.version),
    ...(explanation && { explanation: fromExplanation(explanation) }),
    ...(snippet && { snippet }),
    ...(documentText !== '' && { documentText }),
    ...(documentTextAbsence === 'TEXT_ABSENCE_NOT_STORED' && { documentTextAbsence: 'not stored' }),
    ...(documentTextAbsence === 'TEXT_ABSENCE_TOO_LARGE' && { documentTextAbsence: 'too large' }),
    ...(legs && { legs: fromLegs(legs) }),
    ...(hit.percentile !== undefined && { percentile: hit.percentile }),
    ...(hit.rerankScore !== undefined && { rerankScore: hit.rerankScore }),
  };
}

function fromLegs({ dense, sparse }: Legs__Output): Legs {
  return { ...(dense && { dense }), ...(sparse && { sparse }) };
}

export function fromDocumentExplanation(message: DocumentExplanation__Output): DocumentExplanation {
  const { documentId, filterPath, explanation, score, offset } = message;
  const name = message.fate.slice(FATE_PREFIX.length);
  return {
    documentId,
    // A newer server may know a fate that we do not.
    fate: FATES.find((fate) => fate === name) ?? 'UNKNOWN',
    message: message.message,
    version: Number(message.version),
    ...(filterPath !== '' && { filterPath }),
    ...(explanation && { explanation: fromExplanation(explanation) }),
    ...(score !== undefined && { score }),
    ...(offset !== undefined && { offset }),
  };
}

const FATE_PREFIX = 'DOCUMENT_FATE_';

const FATES = [
  'IN_ANSWER',
  'NOT_STORED',
  'DELETED',
  'FILTERED_OUT',
  'BELOW_THRESHOLD',
  'RANKED_LOWER',
  'SKIPPED_BY_OFFSET',
  'NO_SHARED_TERM',
  'NOT_A_CANDIDATE',
  'MISSED',
] as const satisfies readonly DocumentExplanation['fate'][];

function fromExplanation(message: Explanation__Output): Explanation {
  const { rank, passages, dense, sparse, terms, teacher, teacherName, origin } = message;
  return {
    ...(rank !== 0 && { rank }),
    passages,
    ...(dense && { dense: fromPlace(dense) }),
    ...(sparse && { sparse: fromPlace(sparse) }),
    terms,
    ...(teacher && { teacher: { ...fromPlace(teacher), name: teacherName } }),
    ...(origin && { origin: fromOrigin(origin) }),
  };
}

function fromOrigin(message: DocumentOrigin__Output): DocumentOrigin {
  const { ingestedAt, traceId, sequence, position, coverage, unknown } = message;
  return {
    ...(ingestedAt && { ingestedAt: fromTimestamp(ingestedAt) }),
    ...(traceId !== '' && { traceId }),
    ...(sequence !== '0' && { sequence: Number(sequence) }),
    ...(position !== '' && { position }),
    ...(coverage === 'FRESHNESS_COVERAGE_COVERED' && { coverage: 'covered' }),
    ...(coverage === 'FRESHNESS_COVERAGE_LATER' && { coverage: 'later' }),
    ...(unknown !== '' && { unknown }),
  };
}

function fromPlace({ rank, ...place }: RankingPlace__Output): RankingPlace {
  return { ...place, ...(rank !== 0 && { rank }) };
}
