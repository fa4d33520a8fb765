import { copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MANIFEST_FILE } from '../../towers/directory.ts';
import { hashFile } from '../../towers/hash.ts';
import { TowerManifest } from '../../towers/manifest.ts';
import type { LocalTower } from '../../towers/pull.ts';
import { fingerprint, type SpaceDefinition } from '../../towers/space.ts';
import type { Model } from '../onnx/model.ts';
import { writeModel } from '../onnx/write.ts';

const MODEL_FILE = 'model.onnx';
const DATA_FILE = 'model.onnx_data';
const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'];

/** Models above this have their weights beside them, as protobuf can't hold 2 GiB. */
const MAX_INLINE_BYTES = 2 ** 30;

/** Two encoders that are to become towers of one new space. */
export interface TowersRequest {
  /** Where their tokenizer and everything else but the weights is from. */
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
  const document = join(out, 'document');
  const query = join(out, 'query');
  const tokenizer = TOKENIZER_FILES.filter((file) => base.manifest.files[file] !== undefined);
  const weights = await writeWeights(document, documentModel);
  const queryWeights =
    queryModel === documentModel
      ? await linkWeights(document, query, weights)
      : await writeWeights(query, queryModel);
  const tokenizerHashes = Object.fromEntries(tokenizer.map((file) => [file, base.manifest.files[file]!]));
  for (const folder of [document, query]) {
    for (const file of tokenizer) await copyFile(join(base.directory, file), join(folder, file));
  }
  const { fingerprint: _, ...before } = base.manifest.space;
  const definition: SpaceDefinition = { ...before, weights, tokenizer: tokenizerHashes, documentPrompt };
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
    // Who has the document tower alone can still ask as its teacher does, where the weights are the same.
    ...(queryModel === documentModel && { queryPrompt }),
    files: { ...weights, ...tokenizerHashes },
  });
  await writeManifest(query, {
    ...common,
    name: `${name}-query`,
    role: 'query',
    prompt: queryPrompt,
    files: { ...queryWeights, ...tokenizerHashes },
  });
  return { document, query, space: space.fingerprint };
}

async function writeManifest(folder: string, manifest: TowerManifest): Promise<void> {
  const text = `${JSON.stringify(TowerManifest.parse(manifest), undefined, 2)}\n`;
  await writeFile(join(folder, MANIFEST_FILE), text);
}

async function writeWeights(folder: string, model: Model): Promise<Record<string, string>> {
  await mkdir(folder, { recursive: true });
  let bytes = 0;
  for (const { data } of model.graph.initializers.values()) bytes += data.byteLength;
  const external = bytes > MAX_INLINE_BYTES;
  // A file that another tower shares must not be written into.
  for (const file of [MODEL_FILE, DATA_FILE]) await rm(join(folder, file), { force: true });
  await writeModel(join(folder, MODEL_FILE), model, external ? { externalData: DATA_FILE } : {});
  const files = external ? [MODEL_FILE, DATA_FILE] : [MODEL_FILE];
  const hashes: Record<string, string> = {};
  for (const file of files) hashes[file] = await hashFile(join(folder, file));
  return hashes;
}

/** The same files under another folder; copies where the file system has no links. */
async function linkWeights(
  from: string,
  to: string,
  weights: Readonly<Record<string, string>>,
): Promise<Record<string, string>> {
  await mkdir(to, { recursive: true });
  for (const file of Object.keys(weights)) {
    await rm(join(to, file), { force: true });
    await link(join(from, file), join(to, file)).catch(() => copyFile(join(from, file), join(to, file)));
  }
  return { ...weights };
}
