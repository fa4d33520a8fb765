import type { Collection__Output } from '../proto/generated/scalingnote/v1/Collection.ts';
import type { ServiceInfo__Output } from '../proto/generated/scalingnote/v1/ServiceInfo.ts';
import type { Tower__Output } from '../proto/generated/scalingnote/v1/Tower.ts';

/** The vector space that one document tower defines. */
export interface Space {
  /** `sp1_` and 32 hex digits. */
  fingerprint: string;
  dimensions: number;
}

/** A model that maps text to vectors of one space. */
export interface Tower {
  name: string;
  /** What it was made to read. A query service may run a document tower: a student's teacher. */
  role: 'document' | 'query';
  space: Space;
  /** Where it runs: `cpu`, `cuda:0`, ... */
  device: string;
  /** Longest input in tokens. */
  maxTokens: number;
  /** Student's nDCG@10 divided by its teacher's, where it is a student and that was measured. */
  retention?: number;
}

/** What a service is and what it has loaded. */
export interface ServiceInfo {
  version: string;
  pid: number;
  uptimeSeconds: number;
  tower: Tower;
  /** `embedded` or `qdrant`. */
  store: string;
}

/** A logical collection. */
export interface Collection {
  name: string;
  physicalName: string;
  space: Space;
  documents: number;
  passages: number;
}

/** From the wire. */
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

/** From the wire. */
export function fromServiceInfo(service: ServiceInfo__Output | null): ServiceInfo {
  return {
    version: service?.version ?? '',
    pid: service?.pid ?? 0,
    uptimeSeconds: service?.uptimeSeconds ?? 0,
    tower: fromTower(service?.tower ?? null),
    store: service?.store ?? '',
  };
}

/** From the wire. */
export function fromCollection(collection: Collection__Output | null): Collection {
  return {
    name: collection?.name ?? '',
    physicalName: collection?.physicalName ?? '',
    space: fromSpace(collection?.space ?? null),
    documents: Number(collection?.documents ?? 0),
    passages: Number(collection?.passages ?? 0),
  };
}

function fromSpace(space: { fingerprint: string; dimensions: number } | null): Space {
  return { fingerprint: space?.fingerprint ?? '', dimensions: space?.dimensions ?? 0 };
}
