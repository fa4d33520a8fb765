import type { Collection__Output } from '../proto/generated/scalingnote/v1/Collection.ts';
import type { SearchResponse__Output } from '../proto/generated/scalingnote/v1/SearchResponse.ts';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { Tower__Output } from '../proto/generated/scalingnote/v1/Tower.ts';
import { fromStruct } from '../proto/struct.ts';
import type { Collection, SearchResult, ServiceInfo, Space, Tower } from './answers.ts';

/** Messages of the wire as this package answers with them. */

export function fromTower(tower: Tower__Output | null): Tower {
  return {
    name: tower?.name ?? '',
    role: tower?.role === 'TOWER_ROLE_DOCUMENT' ? 'document' : 'query',
    space: fromSpace(tower?.space ?? null),
    device: tower?.device ?? '',
    maxTokens: tower?.maxTokens ?? 0,
    ...(tower?.retention === undefined ? {} : { retention: tower.retention }),
  };
}

export function fromServiceInfo(service: ServiceInfo__Output | null): ServiceInfo {
  return {
    version: service?.version ?? '',
    pid: service?.pid ?? 0,
    uptimeSeconds: service?.uptimeSeconds ?? 0,
    tower: fromTower(service?.tower ?? null),
    store: service?.store ?? '',
  };
}

export function fromCollection(collection: Collection__Output | null): Collection {
  return {
    name: collection?.name ?? '',
    physicalName: collection?.physicalName ?? '',
    space: fromSpace(collection?.space ?? null),
    documents: Number(collection?.documents ?? 0),
    passages: Number(collection?.passages ?? 0),
  };
}

export function fromSearchResponse(response: SearchResponse__Output): SearchResult {
  return {
    hits: response.hits.map((hit) => ({
      id: hit.documentId,
      score: hit.score,
      title: hit.title,
      passage: hit.passage,
      text: hit.text,
      metadata: fromStruct(hit.metadata),
      version: Number(hit.version),
    })),
    timings: {
      tokenizeMs: response.timings?.tokenizeMs ?? 0,
      queueMs: response.timings?.queueMs ?? 0,
      encodeMs: response.timings?.encodeMs ?? 0,
      searchMs: response.timings?.searchMs ?? 0,
      totalMs: response.timings?.totalMs ?? 0,
      cached: response.timings?.cached ?? false,
    },
    queryTower: fromTower(response.queryTower),
  };
}

function fromSpace(space: { fingerprint: string; dimensions: number } | null): Space {
  return { fingerprint: space?.fingerprint ?? '', dimensions: space?.dimensions ?? 0 };
}
