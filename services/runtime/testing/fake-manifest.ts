import { fingerprint, type SpaceDefinition } from '../../../towers/space.ts';
import type { Tower } from '../../../towers/tower.ts';

export const DIMENSIONS = 8;

/** The manifest of a query tower that exists only in tests. Another name of the space is another space. */
export function fakeManifest(space: string, changes: Partial<Tower['manifest']>): Tower['manifest'] {
  const definition: SpaceDefinition = {
    weights: { 'model.onnx': Buffer.from(space).toString('hex').padEnd(64, '0').slice(0, 64) },
    tokenizer: {},
    documentPrompt: '',
    maxTokens: 64,
    truncation: 'right',
    pooling: 'mean',
    normalize: true,
    dimensions: DIMENSIONS,
    passageWindow: { tokens: 60, overlap: 0 },
  };
  return {
    name: space,
    role: 'query',
    space: { ...definition, fingerprint: fingerprint(definition) },
    dimensions: DIMENSIONS,
    pooling: 'mean',
    normalize: true,
    prompt: '',
    maxTokens: 64,
    files: {},
    license: 'Apache-2.0',
    source: 'a test',
    ...changes,
  };
}
