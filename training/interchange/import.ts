import { cp, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { writeManifest } from '../../towers/directory.ts';
import { localPooling } from '../../towers/manifest.ts';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import type { Pooling } from '../../towers/space.ts';
import { TrainingError } from '../errors.ts';
import { findLayers } from '../gradient/layers.ts';
import type { Model } from '../onnx/model.ts';
import { withParameters } from '../onnx/parameters.ts';
import { readSafetensors } from '../onnx/safetensors.ts';
import { float32, type Tensor, toNumbers, transpose } from '../onnx/tensor.ts';
import { writeModel } from '../onnx/write.ts';
import { copyFiles, readTowerGraph, towerName } from '../tower-folder.ts';
import { canonicalName, nameWeights } from './names.ts';

/** Tensors that encoders are saved with and do without: heads of other tasks, and counters. */
const UNUSED = /(?:^|\.)(?:pooler|cls|lm_head|classifier|predictions)\.|position_ids$|inv_freq$/;

/** What to import. */
export interface ImportRequest {
  /** Folder in the layout of Hugging Face's hub. */
  source: string;
  /** A tower whose graph the weights go into, where the folder has weights and no graph. */
  graph?: string | undefined;
  /** Folder of the new tower. */
  out: string;
  /** SPDX expression. @default what the folder says, else `NOASSERTION` */
  license?: string | undefined;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
}

/** What was imported. */
export interface ImportReport {
  out: string;
  name: string;
  space: string;
  dimensions: number;
  pooling: Pooling;
  /** Weights that were taken over; absent where the folder has a graph of its own. */
  weights?: number;
}

/**
 * Makes a document tower of a model that was trained elsewhere: of its ONNX export, or of its safetensors and the graph of
 * a tower of the same architecture.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for weights that the graph lacks or has otherwise: the message names them
 * @throws {TowerError} for a folder that is no tower: without tokenizer, of unknown pooling, ...
 */
export async function importTower(request: ImportRequest): Promise<ImportReport> {
  const source = resolve(request.source);
  const out = resolve(request.out);
  const cache = { cacheDir: request.cacheDir };
  const files = await readdir(source).catch((error: unknown) => {
    throw new TrainingError('REQUEST_INVALID', `there is no folder ${source}`, { cause: error });
  });
  const shards = files.filter((file) => file.endsWith('.safetensors')).sort();
  if (request.graph === undefined) {
    const hasGraph = files.some((file) => file.endsWith('.onnx') || file === 'onnx');
    if (!hasGraph && shards.length > 0) {
      throw new TrainingError(
        'REQUEST_INVALID',
        `${source} has weights and no ONNX file: name a tower of the same architecture with --graph, or export the model ` +
          `(optimum-cli export onnx --model ${source} ${join(source, 'onnx')})`,
      );
    }
    return describe(await place(await pullTower(`file:${source}`, cache), request, out));
  }
  const graph = await pullTower(request.graph, cache);
  const { model, count } = await fill(graph, source, shards);
  const staged = await mkdtemp(join(tmpdir(), 'scalingnote-import-'));
  try {
    // What the folder says of tokenizer, pooling and prompts counts; what it does not say is as in the graph's tower.
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      const from = files.includes(file) ? source : graph.directory;
      await cp(join(from, file), join(staged, file)).catch(() => undefined);
    }
    for (const file of files.filter((each) => each.endsWith('.json') || each === '1_Pooling')) {
      await cp(join(source, file), join(staged, file), { recursive: true });
    }
    await writeModel(join(staged, 'model.onnx'), model);
    const tower = await pullTower(`file:${staged}`, cache);
    return { ...describe(await place(tower, request, out)), weights: count };
  } finally {
    await rm(staged, { recursive: true, force: true });
  }
}

function describe({ directory, manifest }: LocalTower): ImportReport {
  const { name, space, dimensions } = manifest;
  return { out: directory, name, space: space.fingerprint, dimensions, pooling: localPooling(manifest) };
}

/** Copies a tower out of the cache, under its own name. */
async function place(
  tower: LocalTower,
  { source, license }: ImportRequest,
  out: string,
): Promise<LocalTower> {
  await mkdir(out, { recursive: true });
  await copyFiles(tower.directory, out, Object.keys(tower.manifest.files));
  const manifest = {
    ...tower.manifest,
    name: towerName(out),
    source: `scalingnote towers import ${basename(resolve(source))}`,
    ...(license !== undefined && { license }),
  };
  await writeManifest(out, manifest);
  return { directory: out, manifest };
}

/** The graph of a tower with the weights of a folder. */
async function fill(
  graph: LocalTower,
  source: string,
  shards: readonly string[],
): Promise<{ model: Model; count: number }> {
  if (shards.length === 0) {
    throw new TrainingError('REQUEST_INVALID', `${source} has no .safetensors file to fill the graph with`);
  }
  const tensors = new Map<string, { name: string; value: Tensor }>();
  for (const shard of shards) {
    const found = await readSafetensors(join(source, shard));
    for (const [name, value] of found.tensors) tensors.set(canonicalName(name), { name, value });
  }
  const { model: plain, output } = await readTowerGraph(graph.directory);
  const { weights, tables } = await findLayers(plain, output);
  const values = new Map<string, Tensor>();
  const missing: string[] = [];
  const otherwise: string[] = [];
  for (const { name, candidates, transposed } of nameWeights(plain, [...weights, ...tables])) {
    const key = candidates.find((candidate) => tensors.has(candidate));
    if (key === undefined) {
      missing.push(candidates.at(-1)!);
      continue;
    }
    const { name: called, value } = tensors.get(key)!;
    tensors.delete(key);
    const expected = plain.graph.initializers.get(name)!.dims;
    const taken = transposed ? swapped(value) : float32(value.dims, toNumbers(value));
    if (taken.dims.join() !== expected.join()) {
      const wanted = transposed ? expected.toReversed() : expected;
      otherwise.push(`${called} is [${value.dims.join(', ')}], not [${wanted.join(', ')}]`);
    }
    values.set(name, taken);
  }
  const unused = [...tensors.values()].map(({ name }) => name).filter((name) => !UNUSED.test(name));
  refuseUnlike(graph, source, { missing, otherwise, unused });
  return { model: withParameters(plain, values), count: values.size };
}

/** @throws {TrainingError} where folder and graph are not of one architecture */
function refuseUnlike(
  graph: LocalTower,
  source: string,
  found: { missing: string[]; otherwise: string[]; unused: string[] },
): void {
  const parts = (
    [
      ['it lacks', found.missing],
      ['of another shape:', found.otherwise],
      ['the graph has no place for', found.unused],
    ] as const
  ).flatMap(([why, names]) => (names.length === 0 ? [] : [`${why} ${some(names)}`]));
  if (parts.length === 0) return;
  throw new TrainingError(
    'REQUEST_INVALID',
    `the weights in ${source} are not those of the graph of ${graph.manifest.name}: ${parts.join('; ')}`,
  );
}

/** Names that a message lists: a few show what is wrong, a hundred would hide it. */
const TOLD = 3;

function some(names: readonly string[]): string {
  const more = names.length - TOLD;
  return names.slice(0, TOLD).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function swapped(value: Tensor): Tensor {
  const [rows = 0, columns = 0] = value.dims;
  return float32([columns, rows], transpose(Float32Array.from(toNumbers(value)), rows, columns));
}
