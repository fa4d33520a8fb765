import type { Collection__Output } from '../proto/generated/scalingnote/v1/Collection.ts';
import type { Fusion__Output } from '../proto/generated/scalingnote/v1/Fusion.ts';
import type { NoGoodAnswer__Output } from '../proto/generated/scalingnote/v1/NoGoodAnswer.ts';
import type { Reranking__Output } from '../proto/generated/scalingnote/v1/Reranking.ts';
import type { ResultSet__Output } from '../proto/generated/scalingnote/v1/ResultSet.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { TextAnalysis__Output } from '../proto/generated/scalingnote/v1/TextAnalysis.ts';
import type { Tower__Output } from '../proto/generated/scalingnote/v1/Tower.ts';
import { fromDocumentExplanation, fromHit } from './from-hit.ts';
import { fromValue } from '../proto/struct.ts';
import type {
  Collection,
  CollectionAnalysis,
  Fusion,
  ResultSet,
  SearchResult,
  ServiceInfo,
  Space,
  Tower,
} from './answers.ts';

/** Messages of the wire as this package answers with them. */

export function fromTower(tower: Tower__Output | null): Tower {
  const { name = '', device = '', maxTokens = 0, retention } = tower ?? {};
  return {
    name,
    role: tower?.role === 'TOWER_ROLE_DOCUMENT' ? 'document' : 'query',
    space: fromSpace(tower?.space),
    device,
    maxTokens,
    ...(retention !== undefined && { retention }),
  };
}

export function fromServiceInfo(service: ServiceInfo__Output | null): ServiceInfo {
  const { version = '', pid = 0, uptimeSeconds = 0, tower = null, store = '' } = service ?? {};
  const { notServingReason = '', writesRefusedReason = '' } = service ?? {};
  return {
    version,
    pid,
    uptimeSeconds,
    tower: fromTower(tower),
    store,
    ...(notServingReason !== '' && { notServingReason }),
    ...(writesRefusedReason !== '' && { writesRefusedReason }),
  };
}

export function fromCollection({ name, physicalName, identity, ...rest }: Collection__Output): Collection {
  const counts = { documents: Number(rest.documents), passages: Number(rest.passages) };
  return {
    name,
    physicalName,
    space: fromSpace(rest.space),
    ...counts,
    identity,
    ...(rest.readOnly && { readOnly: true }),
    ...(rest.admittedSpaces.length > 0 && { admittedSpaces: rest.admittedSpaces }),
    ...(rest.analysis && { analysis: fromAnalysis(rest.analysis) }),
  };
}

function fromAnalysis({ unfinished, ...analysis }: TextAnalysis__Output): CollectionAnalysis {
  return { ...analysis, ...(unfinished && { unfinished }) };
}

export function fromSearchResponse(response: SearchResponse__Output): SearchResult {
  const { hits, timings, queryTower, explainedDocument, queryTruncation, collection, fusion } = response;
  const { tokenizeMs = 0, queueMs = 0, encodeMs = 0, searchMs = 0, totalMs = 0 } = timings ?? {};
  return {
    hits: hits.map(fromHit),
    timings: { tokenizeMs, queueMs, encodeMs, searchMs, totalMs, cached: timings?.cached ?? false },
    queryTower: fromTower(queryTower),
    collection,
    ...(response.didYouMean !== '' && { didYouMean: response.didYouMean }),
    ...(response.completions.length > 0 && { completions: response.completions }),
    ...(explainedDocument && { explainedDocument: fromDocumentExplanation(explainedDocument) }),
    ...(queryTruncation && { queryTruncation }),
    ...(fusion && { fusion: fromFusion(fusion) }),
    ...fromThresholds(response),
    ...(response.resultSet && { resultSet: fromResultSet(response.resultSet) }),
    ...(response.reranking && { reranking: fromReranking(response.reranking) }),
    ...(response.denseLegAbsence === 'DENSE_LEG_ABSENCE_DEADLINE' && { denseLegAbsence: 'deadline' }),
    ...(response.denseLegAbsence === 'DENSE_LEG_ABSENCE_TOWER_AWAY' && { denseLegAbsence: 'tower_away' }),
  };
}

function fromNoGoodAnswer({
  bestScore,
  bestPercentile,
}: NoGoodAnswer__Output): NonNullable<SearchResult['noGoodAnswer']> {
  return { bestScore, ...(bestPercentile !== undefined && { bestPercentile }) };
}

function fromReranking({ skipped, ...rest }: Reranking__Output): NonNullable<SearchResult['reranking']> {
  return {
    ...rest,
    ...(skipped === 'RERANK_SKIPPED_DEADLINE' && { skipped: 'deadline' }),
    ...(skipped === 'RERANK_SKIPPED_AWAY' && { skipped: 'away' }),
  };
}

function fromThresholds({
  noGoodAnswer,
  percentileQueries,
}: SearchResponse__Output): Pick<SearchResult, 'noGoodAnswer' | 'percentileQueries'> {
  return {
    ...(noGoodAnswer && { noGoodAnswer: fromNoGoodAnswer(noGoodAnswer) }),
    ...(percentileQueries > 0 && { percentileQueries }),
  };
}

function fromResultSet({ kind, count, exact, candidates, facets }: ResultSet__Output): ResultSet {
  return {
    kind: kind === 'RESULT_SET_KIND_MATCHES' ? 'matches' : 'best',
    ...(count > 0 && { count }),
    exact,
    candidates,
    facets: facets.map(({ values, ...facet }) => ({
      ...facet,
      values: values.map(({ value, documents }) => ({
        value: fromValue(value!) as string | number | boolean,
        documents,
      })),
    })),
  };
}

function fromFusion({ method, k, denseWeight = 0 }: Fusion__Output): Fusion {
  const name = method.slice('FUSION_METHOD_'.length).toLowerCase() as Fusion['method'];
  return { method: name, ...(k !== undefined && { k }), denseWeight };
}

function fromSpace(space: Partial<Space> | null | undefined): Space {
  return { fingerprint: space?.fingerprint ?? '', dimensions: space?.dimensions ?? 0 };
}
