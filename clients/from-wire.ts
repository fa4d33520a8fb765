import type { Collection__Output } from '../proto/generated/scalingnote/v1/Collection.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { TextAnalysis__Output } from '../proto/generated/scalingnote/v1/TextAnalysis.ts';
import type { Tower__Output } from '../proto/generated/scalingnote/v1/Tower.ts';
import { fromDocumentExplanation, fromHit } from './from-hit.ts';
import type { Collection, CollectionAnalysis, SearchResult, ServiceInfo, Space, Tower } from './answers.ts';

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
  const { hits, timings, queryTower, explainedDocument, queryTruncation, collection } = response;
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
  };
}

function fromSpace(space: Partial<Space> | null | undefined): Space {
  return { fingerprint: space?.fingerprint ?? '', dimensions: space?.dimensions ?? 0 };
}
