import type { TowerManifest } from '../manifest.ts';
import { fingerprint, type HeadLayer, type SpaceDefinition } from '../space.ts';
import type { HubLayer } from './modules.ts';
import type { HubUse } from './read.ts';

/**
 * The longest passage window. A model may read more, but one vector for a longer text says less about each part of it. On
 * SciFact, all-MiniLM-L6-v2 has nDCG@10 0.640 with 256 tokens and 0.633 with 512.
 */
const MAX_WINDOW_TOKENS = 510;

/** Share of a window that the next passage repeats. */
const OVERLAP = 1 / 8;

/** What {@link hubManifest} puts together. */
export interface HubParts {
  name: string;
  source: string;
  use: HubUse;
  /** Path in the tower → sha256. */
  weights: Readonly<Record<string, string>>;
  tokenizer: Readonly<Record<string, string>>;
  /** Path in the source → sha256, of the files that layers name. */
  hashes: ReadonlyMap<string, string>;
  dimensions: number;
  /** Tokens that a text has room for beside the document prompt and the special tokens. */
  room: number;
  batchInvariant: boolean;
}

/** Makes the manifest of a document tower in hub layout. */
export function hubManifest(parts: HubParts): TowerManifest {
  const { name, source, use, weights, tokenizer, hashes, dimensions, batchInvariant } = parts;
  const { pooling, poolPrompt, normalize, documentPrompt, queryPrompt, maxTokens, truncation } = use;
  const head = use.layers.map((layer) => headLayer(layer, hashes));
  const tokens = Math.min(parts.room, MAX_WINDOW_TOKENS);
  const headKeys = {
    ...(poolPrompt ? {} : { poolPrompt: false as const }),
    ...(head.length === 0 ? {} : { head }),
  };
  const space: SpaceDefinition = {
    weights,
    tokenizer,
    documentPrompt,
    maxTokens,
    truncation,
    pooling,
    ...headKeys,
    normalize,
    dimensions,
    passageWindow: { tokens, overlap: Math.round(tokens * OVERLAP) },
  };
  return {
    name,
    role: 'document',
    space: { ...space, fingerprint: fingerprint(space) },
    dimensions,
    pooling,
    ...headKeys,
    normalize,
    ...(batchInvariant ? {} : { batchInvariant }),
    prompt: documentPrompt,
    ...(queryPrompt === documentPrompt ? {} : { queryPrompt }),
    maxTokens,
    files: { ...weights, ...tokenizer, ...headFiles(use.layers, hashes) },
    license: use.license,
    source,
  };
}

/** Files of the layers over the pooled vector, path → sha256. */
export function headFiles(
  layers: readonly HubLayer[],
  hashes: ReadonlyMap<string, string>,
): Record<string, string> {
  return Object.fromEntries(
    layers.flatMap((layer) => (layer.type === 'normalize' ? [] : [[layer.file, hashes.get(layer.file)!]])),
  );
}

function headLayer(layer: HubLayer, hashes: ReadonlyMap<string, string>): HeadLayer {
  if (layer.type === 'normalize') return { type: 'normalize' };
  const weights = hashes.get(layer.file)!;
  if (layer.type === 'layer_norm') return { type: 'layer_norm', weights };
  const { activation, residual } = layer;
  return { type: 'dense', weights, activation, ...(residual ? { residual } : {}) };
}
