import type { GetTenantUsageResponse__Output } from '../proto/generated/scalingnote/v1/GetTenantUsageResponse.ts';

/** A tenant, with what it has. */
export interface TenantCounts {
  /** Empty for data without a tenant. */
  tenant: string;
  documents: number;
  passages: number;
}

/** What a drop of a tenant removed. */
export interface TenantDropped {
  /** A line for each physical collection that has, or had, something of the tenant. */
  drops: { physicalName: string; documents: number; remaining: number }[];
  /** Whether nothing is left, as counted after the drop. Where it is not, call again. */
  complete: boolean;
}

/** What a tenant has, and what it may have; what is absent has no limit. */
export interface TenantUsage {
  documents: number;
  passages: number;
  /** Titles, texts, metadata as JSON, and vectors. */
  bytes: number;
  ingestStreams: number;
  maxDocuments?: number;
  maxBytes?: number;
  maxRequestsPerSecond?: number;
  maxTokensPerSecond?: number;
  maxIngestStreams?: number;
}

export function fromTenantUsage(wire: GetTenantUsageResponse__Output): TenantUsage {
  const { documents, passages, bytes, ingestStreams, ...limits } = wire;
  const { maxDocuments, maxBytes, maxRequestsPerSecond, maxTokensPerSecond, maxIngestStreams } = limits;
  const found = { maxDocuments, maxBytes, maxRequestsPerSecond, maxTokensPerSecond, maxIngestStreams };
  return {
    documents: Number(documents),
    passages: Number(passages),
    bytes: Number(bytes),
    ingestStreams,
    ...Object.fromEntries(
      Object.entries(found).flatMap(([name, value]) => (value === undefined ? [] : [[name, Number(value)]])),
    ),
  };
}
