import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { compare, type Cosines } from '../towers/adopt/cosines.ts';
import { writeManifest } from '../towers/directory.ts';
import type { QuantizedWeights, TowerManifest } from '../towers/manifest.ts';
import { openTower } from '../towers/open.ts';
import { pullTower } from '../towers/pull.ts';
import { fingerprint, type SpaceDefinition } from '../towers/space.ts';
import type { Tower } from '../towers/tower.ts';
import { TrainingError } from './errors.ts';
import { evaluate } from './evaluation/evaluate.ts';
import { halveWeights } from './onnx/halve.ts';
import type { Model } from './onnx/model.ts';
import { PORTABLE_INT8_MAX, quantizeWeights } from './onnx/quantize.ts';
import { copyFiles, type FileHashes, readTowerGraph, towerName, writeWeights } from './tower-folder.ts';

/** Vectors that have less in common than this are not the same tower's in fewer bits: something broke. */
const LEAST_MEDIAN = 0.8;

/** What to make of which tower. */
export interface QuantizeRequest {
  /** The document tower. */
  reference: string;
  /** Folder of the new one, which is not there yet. */
  out: string;
  weights: QuantizedWeights;
  /** Texts that both towers encode, at least one. */
  texts: readonly string[];
  /** Folders in BEIR layout, on which both towers are measured. @default none */
  datasets?: readonly string[] | undefined;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
}

/** A document tower in fewer bits, as its manifest describes it. */
export interface QuantizeReport {
  out: string;
  name: string;
  /** Fingerprint of its space, which is its own. */
  space: string;
  quantization: NonNullable<TowerManifest['quantization']>;
}

/**
 * Makes a document tower with smaller weights: one of its own space, since its vectors differ. What it keeps is measured
 * and written into its manifest.
 *
 * @throws {TrainingError} `REQUEST_INVALID` @throws {OnnxError} `OPERATOR_UNSUPPORTED` for an operator that can't be taken
 * apart, `FEATURE_UNSUPPORTED` @throws {TowerError}
 */
export async function quantizeTower(request: QuantizeRequest): Promise<QuantizeReport> {
  const { reference, out, weights, texts, datasets = [], cacheDir } = request;
  if (existsSync(out)) throw invalid(`${out} is there already; give a folder that is not`);
  if (texts.length === 0) throw invalid('there are no texts to compare the towers on; give at least one');
  const base = await pullTower(reference, { cacheDir });
  const { manifest, directory } = base;
  requireDocumentTower(manifest);
  const { model, output } = await readTowerGraph(directory);
  const smaller = IN_FEWER_BITS[weights](model);
  if (bytesOf(smaller) >= bytesOf(model)) {
    throw invalid(
      `${manifest.name} has no matrix or table that is large enough to be worth ${weights} weights`,
    );
  }
  const graph = graphFiles(manifest);
  const without = (files: FileHashes): FileHashes =>
    Object.fromEntries(Object.entries(files).filter(([path]) => !graph.has(path)));
  try {
    const made = await writeWeights(out, smaller);
    await copyFiles(directory, out, Object.keys(without(manifest.files)));
    const { fingerprint: from, ...space } = manifest.space;
    const definition: SpaceDefinition = { ...space, weights: { ...without(space.weights), ...made } };
    const { batchInvariant: _, ...common } = manifest;
    const draft: TowerManifest = {
      ...common,
      name: towerName(out),
      space: { ...definition, fingerprint: fingerprint(definition) },
      files: { ...without(manifest.files), ...made },
      // Activations are scaled by the largest one of a run: a text's vector would depend on its neighbours.
      ...((weights === 'int8' || manifest.batchInvariant === false) && { batchInvariant: false }),
      source: `scalingnote towers quantize --weights ${weights} ${manifest.name}`,
    };
    await writeManifest(out, draft);
    const towers: Tower[] = [];
    try {
      for (const each of [`file:${directory}`, `file:${out}`]) {
        towers.push(await openTower(each, { cacheDir, log: request.log }));
      }
      const [before, after] = towers as [Tower, Tower];
      const cosine = await compared(before, after, texts);
      if (!(cosine.median >= LEAST_MEDIAN)) {
        throw invalid(
          `with ${weights} weights the vectors of ${manifest.name} have a median cosine of ${cosine.median.toFixed(4)} ` +
            `to those before (output "${output}"): it does not bear them; choose other weights`,
        );
      }
      const ndcg10 = [];
      for (const dataset of datasets) ndcg10.push(await ndcgOf(dataset, before, after, cacheDir));
      const { median, percentile5, lowest } = cosine;
      const quantization = {
        of: manifest.name,
        space: from,
        weights,
        cosine: { texts: texts.length, median, percentile5, lowest },
        ...(ndcg10.length > 0 && { ndcg10 }),
      };
      await writeManifest(out, { ...draft, quantization });
      return { out, name: draft.name, space: draft.space.fingerprint, quantization };
    } finally {
      await Promise.all(towers.map((tower) => tower.close()));
    }
  } catch (error) {
    await rm(out, { recursive: true, force: true });
    throw error;
  }
}

const IN_FEWER_BITS: Readonly<Record<QuantizedWeights, (model: Model) => Model>> = {
  // Vectors must not depend on the processor.
  int8: (model) => quantizeWeights(model, [], 8, PORTABLE_INT8_MAX),
  'int8-weights': (model) => quantizeWeights(model, [...model.graph.initializers.keys()]),
  fp16: (model) => halveWeights(model),
};

function bytesOf({ graph }: Model): number {
  return [...graph.initializers.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
}

function requireDocumentTower({ name, role, runtime, lookup }: TowerManifest): void {
  if (runtime !== undefined) throw invalid(`${name} runs on a server: its weights are not here`);
  if (lookup !== undefined) {
    throw invalid(`${name} is a lookup student: its tables have fewer bits already (distill --bits)`);
  }
  if (role !== 'document') {
    throw invalid(
      `${name} is a query tower: with other weights it would leave its space; quantise the document tower, and distil from it`,
    );
  }
}

/** Files that hold the graph and its weights; all others, with the weights of layers after it, are taken over as they are. */
function graphFiles({ space, head = [] }: TowerManifest): ReadonlySet<string> {
  const afterIt = new Set(head.map((layer) => ('weights' in layer ? layer.weights : '')));
  const ofGraph = Object.entries(space.weights).filter(([, sha256]) => !afterIt.has(sha256));
  return new Set([...ofGraph.map(([path]) => path), 'model.onnx']);
}

async function compared(before: Tower, after: Tower, texts: readonly string[]): Promise<Cosines> {
  const tokens = await before.tokenizeAll(texts);
  const [rows, stored] = [await after.encodeAll(tokens), await before.encodeAll(tokens)];
  const { dimensions } = before.manifest;
  const each = texts.map((_, row) => stored.subarray(row * dimensions, (row + 1) * dimensions));
  return compare(rows, each, dimensions);
}

async function ndcgOf(
  dataset: string,
  before: Tower,
  after: Tower,
  cacheDir: string | undefined,
): Promise<{ dataset: string; before: number; after: number }> {
  const measure = async (documentTower: Tower) => {
    const request = { dataset, documentTower, queryTowers: [] };
    return evaluate(cacheDir === undefined ? request : { ...request, cacheDir });
  };
  const [first, second] = [await measure(before), await measure(after)];
  return { dataset: first.dataset, before: first.results[0]!.ndcg10, after: second.results[0]!.ndcg10 };
}

function invalid(message: string): TrainingError {
  return new TrainingError('REQUEST_INVALID', message);
}
