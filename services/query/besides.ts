import type { DocumentExplanation } from '../../proto/generated/scalingnote/v1/DocumentExplanation.ts';
import type { DocumentOrigin } from '../../proto/generated/scalingnote/v1/DocumentOrigin.ts';
import type { Explanation as ExplanationMessage } from '../../proto/generated/scalingnote/v1/Explanation.ts';
import type { Hit } from '../../proto/generated/scalingnote/v1/Hit.ts';
import type { RankingPlace } from '../../proto/generated/scalingnote/v1/RankingPlace.ts';
import {
  type Explained,
  type ExplainedOrigin,
  type Explanation,
  explanationsOf,
  type FusedPlace,
} from '../../store/explain/explain.ts';
import { fateOf } from '../../store/explain/fate.ts';
import { RANK_BOUND } from '../../store/explain/places.ts';
import { termWords } from '../../towers/terms.ts';
import type { Call } from '../runtime/handler.ts';
import type { QueryTower } from './encoder.ts';
import type { LiveQuality } from './live-quality.ts';
import { NearWords } from './near-words.ts';
import type { SearchPlan } from './search-plan.ts';
import type { Found, QueryStore } from './searcher.ts';
import { type Snippet, snippetOf } from './snippet.ts';

/**
 * Most text of whole documents in one answer, in bytes of UTF-8: with it an answer stays below the 4 MiB that gRPC clients
 * take by default.
 */
export const MAX_DOCUMENT_TEXT_BYTES = 2 * 1024 * 1024;

/** Why nobody knows when a document came in. */
const WRITTEN_BEFORE =
  'ingested before this version: documents say when they came in once they are sent again';
const WRITTEN_BY_OTHERS = 'the collection was adopted: others write it';

/** Documents that are read together: each may be 8 MiB, and most answers need only a few of them. */
const DOCUMENTS_PER_READ = 4;

/** A search that was answered, and what it takes to say more about it. */
export interface AnsweredSearch {
  plan: SearchPlan;
  found: Found;
  store: QueryStore;
  tower: QueryTower;
  live: LiveQuality | undefined;
  call: Call;
}

/**
 * Adds to the hits of an answer what the search asks for besides them: snippets, whole texts, explanations. It does nothing
 * where the search asks for nothing.
 *
 * @returns what became of the document that the search asks about; null where it asks about none
 */
export async function addBesides(search: AnsweredSearch, hits: Hit[]): Promise<DocumentExplanation | null> {
  const { plan, found, store, call } = search;
  const { explain, explainDocumentId, snippetLength, documentText } = plan.besides;
  if (snippetLength > 0) addSnippets(search, hits);
  if (documentText) await addTexts(search, hits);
  if (!explain && explainDocumentId === undefined) return null;
  const started = performance.now();
  const teacher = await search.live?.teach(plan.text, call.signal);
  const { collection, query } = found;
  const explained = { store, collection, query, teacher: teacher?.vector, options: call };
  const words =
    plan.mode === 'dense' ? new Map<number, string>() : (found.reading?.words ?? termWords(plan.text));
  const message = (explanation: Explanation, rank: number): ExplanationMessage =>
    explanationMessage(explanation, rank, words, teacher?.name);
  if (explain) await addExplanations(explained, found, hits, message);
  const answer =
    explainDocumentId === undefined
      ? null
      : await explainDocument(search, explained, explainDocumentId, message);
  call.span?.record('explain', started, performance.now());
  return answer;
}

/** Where the words of a snippet are none of the query's, those that are near it in meaning are marked. */
function addSnippets({ plan, found, tower }: AnsweredSearch, hits: readonly Hit[]): void {
  const { snippetLength } = plan.besides;
  const marks = found.reading ?? found.marks;
  const terms = marks
    ? { has: (word: string) => marks.matches(word) }
    : new Set(termWords(plan.text).values());
  const { vector } = found.query;
  const near = vector && tower.manifest.lookup && new NearWords(tower, vector);
  const bestOf = (text: string): Snippet => {
    const snippet = snippetOf(text, terms, snippetLength);
    return near && snippet.highlights.length === 0 ? snippetOf(text, near, snippetLength) : snippet;
  };
  for (const [index, { text = '' }] of found.hits.entries()) {
    if (text !== '') hits[index]!.snippet = bestOf(text);
  }
}

type ToMessage = (explanation: Explanation, rank: number) => ExplanationMessage;

async function addExplanations(
  explained: Explained,
  { hits: found, query: { offset = 0 } }: Found,
  hits: readonly Hit[],
  message: ToMessage,
): Promise<void> {
  const ids = found.map(({ documentId }) => documentId);
  const explanations = await explanationsOf(explained, ids);
  for (const [index, id] of ids.entries()) {
    hits[index]!.explanation = message(explanations.get(id)!, offset + index + 1);
  }
}

async function explainDocument(
  { found }: AnsweredSearch,
  explained: Explained,
  documentId: string,
  message: ToMessage,
): Promise<DocumentExplanation> {
  const fate = await fateOf(explained, documentId, found.hits);
  const { explanation, rank = 0, version = 0, filterPath = '', score, offset } = fate;
  return {
    documentId,
    fate: `DOCUMENT_FATE_${fate.fate}`,
    message: fate.message,
    filterPath,
    explanation: explanation ? message(explanation, rank) : null,
    version,
    ...(score !== undefined && { score }),
    ...(offset !== undefined && { offset }),
  };
}

function explanationMessage(
  { passages, dense, sparse, terms, teacher, origin }: Explanation,
  rank: number,
  words: ReadonlyMap<number, string>,
  teacherName = '',
): ExplanationMessage {
  return {
    rank,
    passages,
    dense: placeMessage(dense),
    sparse: placeMessage(sparse),
    terms: terms.map(({ term, score }) => ({ term: words.get(term) ?? '', score })),
    teacher: placeMessage(teacher),
    teacherName: teacher ? teacherName : '',
    origin: origin ? originMessage(origin) : null,
  };
}

function originMessage({ ingested, position = '', foreign, covered }: ExplainedOrigin): DocumentOrigin {
  const coverage =
    covered === undefined
      ? 'FRESHNESS_COVERAGE_UNSPECIFIED'
      : covered
        ? 'FRESHNESS_COVERAGE_COVERED'
        : 'FRESHNESS_COVERAGE_LATER';
  if (!ingested) return { position, coverage, unknown: foreign ? WRITTEN_BY_OTHERS : WRITTEN_BEFORE };
  const { at, sequence, trace: traceId = '' } = ingested;
  const ingestedAt = { seconds: String(Math.floor(at / 1000)), nanos: (at % 1000) * 1e6 };
  return { ingestedAt, traceId, sequence: String(sequence), position, coverage };
}

function placeMessage(place: FusedPlace | undefined): RankingPlace | null {
  if (!place) return null;
  const { score, rank = 0, passage, share: fusedShare = 0 } = place;
  return { score, rank, rankBound: RANK_BOUND, passage, fusedShare };
}

/** Adds whole texts, best hits first, until they are too much for one answer. */
async function addTexts({ found, store, plan, call }: AnsweredSearch, hits: readonly Hit[]): Promise<void> {
  const { collection, hits: all } = found;
  const keys = all.map(({ documentId }) => ({ tenant: plan.query.tenant, documentId }));
  let left = MAX_DOCUMENT_TEXT_BYTES;
  for (let start = 0; start < keys.length; start += DOCUMENTS_PER_READ) {
    // What comes after a text that is too large is not read: whoever wants fewer texts asks for fewer hits.
    const read =
      left < 0
        ? []
        : await store.readDocuments(collection, keys.slice(start, start + DOCUMENTS_PER_READ), {}, call);
    for (let index = start; index < Math.min(keys.length, start + DOCUMENTS_PER_READ); index++) {
      const text = read[index - start]?.text;
      const bytes = text === undefined ? 0 : Buffer.byteLength(text);
      const hit = hits[index]!;
      if (left < bytes || left < 0) {
        left = -1;
        hit.documentTextAbsence = 'TEXT_ABSENCE_TOO_LARGE';
      } else if (text === undefined) {
        hit.documentTextAbsence = 'TEXT_ABSENCE_NOT_STORED';
      } else {
        left -= bytes;
        hit.documentText = text;
      }
    }
  }
}
