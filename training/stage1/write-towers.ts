import { join } from 'node:path';
import { writeManifest } from '../../towers/directory.ts';
import type { LocalTower } from '../../towers/pull.ts';
import { fingerprint, type SpaceDefinition } from '../../towers/space.ts';
import type { Model } from '../onnx/model.ts';
import { copyTokenizer, linkFiles, writeWeights } from '../tower-folder.ts';

/** Two encoders that are to become towers of one new space. */
export interface TowersRequest {
  /** Gives its tokenizer, and everything else but the weights. */
  base: LocalTower;
  /** Of both towers. */
  name: string;
  documentModel: Model;
  /** The same object where both sides have the same weights. */
  queryModel: Model;
  documentPrompt: string;
  queryPrompt: string;
  /** What made them. */
  source: string;
}

/** Folders of two towers, and their space. */
export interface WrittenTowers {
  document: string;
  query: string;
  space: string;
}

/**
 * Writes a document tower and its teacher query tower as `document` and `query` in a folder: a space of their own.
 */
export async function writeTowers(out: string, request: TowersRequest): Promise<WrittenTowers> {
  const { base, documentModel, queryModel, documentPrompt, queryPrompt, name, source } = request;
  const [document, query] = [join(out, 'document'), join(out, 'query')];
  const shared = queryModel === documentModel;
  const weights = await writeWeights(document, documentModel);
  if (shared) await linkFiles(document, query, Object.keys(weights));
  const queryWeights = shared ? weights : await writeWeights(query, queryModel);
  const tokenizer = await copyTokenizer(base, document);
  await copyTokenizer(base, query);
  const { fingerprint: _, ...before } = base.manifest.space;
  const definition: SpaceDefinition = { ...before, weights, tokenizer, documentPrompt };
  const space = { ...definition, fingerprint: fingerprint(definition) };
  const common = {
    space,
    dimensions: definition.dimensions,
    pooling: definition.pooling,
    normalize: definition.normalize,
    maxTokens: base.manifest.maxTokens,
    license: base.manifest.license,
    source,
  };
  await writeManifest(document, {
    ...common,
    name: `${name}-document`,
    role: 'document',
    prompt: documentPrompt,
    // With shared weights, the document tower alone can ask as its teacher does.
    ...(shared && { queryPrompt }),
    files: { ...weights, ...tokenizer },
  });
  await writeManifest(query, {
    ...common,
    name: `${name}-query`,
    role: 'query',
    prompt: queryPrompt,
    files: { ...queryWeights, ...tokenizer },
  });
  return { document, query, space: space.fingerprint };
}
