import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import * as z from 'zod';
import { MANIFEST_FILE, writeManifest } from '../../towers/directory.ts';
import type { HubFacts } from '../../towers/hub/facts.ts';
import type { HubReport } from '../../towers/hub/import.ts';
import { refusePointer } from '../../towers/hub/pointer.ts';
import { type HubOptions, type LocalTower, pullTower } from '../../towers/pull.ts';
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
export interface ImportRequest extends Pick<HubOptions, 'reference' | 'referenceCosine'> {
  /** Folder in the layout of Hugging Face's hub. */
  source: string;
  /** A tower whose graph the weights go into, where the folder has weights and no graph. */
  graph?: string | undefined;
  /** Folder of the new tower. @default the cache */
  out?: string | undefined;
  /** The ONNX file, where the folder has several. */
  model?: string | undefined;
  /** What goes before what the folder says. */
  facts?: HubFacts;
  cacheDir?: string | undefined;
  log?: ((message: string) => void) | undefined;
}

/** What was imported. */
export interface ImportReport extends HubReport {
  out: string;
  name: string;
  space: string;
  /** Weights that were taken over; absent where the folder has a graph of its own. */
  weights?: number;
}

/**
 * Makes a document tower of a model that was trained elsewhere: of its ONNX export, or of its safetensors and the graph of
 * a tower of the same architecture. The tower is run once: see `towers/hub/probe.ts`.
 *
 * @throws {TrainingError} `REQUEST_INVALID` for weights that the graph lacks or has otherwise: the message names them
 * @throws {TowerError} for a folder that is no tower: without tokenizer, of a setting that can't be applied, ...
 */
export async function importTower(request: ImportRequest): Promise<ImportReport> {
  const source = resolve(request.source);
  const files = await readdir(source).catch((error: unknown) => {
    throw new TrainingError('REQUEST_INVALID', `there is no folder ${source}`, { cause: error });
  });
  if (files.includes(MANIFEST_FILE)) {
    throw new TrainingError(
      'REQUEST_INVALID',
      `${source} is a tower already (it has ${MANIFEST_FILE}): use it as file:${source}, or take the file out`,
    );
  }
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
    return describe(source, request);
  }
  const graph = await pullTower(request.graph, { cacheDir: request.cacheDir });
  await requireShards(source, shards);
  const { model, count } = await fill(graph, source, shards);
  const temporary = await mkdtemp(join(tmpdir(), 'scalingnote-import-'));
  // A folder's name can say which family a model is of.
  const staged = join(temporary, basename(source));
  try {
    await mkdir(staged);
    // What the folder says of tokenizer, pooling and prompts counts; what it does not say is as in the graph's tower.
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      const from = files.includes(file) ? source : graph.directory;
      await cp(join(from, file), join(staged, file)).catch(() => undefined);
    }
    const entries = await readdir(source, { withFileTypes: true });
    const wanted = entries.filter((entry) => entry.isDirectory() || /\.jsonl?$/.test(entry.name));
    for (const { name } of wanted) await cp(join(source, name), join(staged, name), { recursive: true });
    await writeModel(join(staged, 'model.onnx'), model);
    return { ...(await describe(staged, request)), weights: count };
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Imports a folder with an ONNX file. */
async function describe(folder: string, request: ImportRequest): Promise<ImportReport> {
  const { facts = {}, reference, referenceCosine, model, cacheDir, out } = request;
  let report: HubReport | undefined;
  const hub: HubOptions = {
    facts,
    model,
    reference,
    referenceCosine,
    onReport: (found) => (report = found),
  };
  const pulled = await pullTower(`file:${folder}`, { cacheDir, log: request.log, hub });
  const tower = out === undefined ? pulled : await place(pulled, request.source, resolve(out));
  const { name, space } = tower.manifest;
  return { out: tower.directory, name, space: space.fingerprint, ...report! };
}

/** Copies a tower out of the cache, under its own name. */
async function place(tower: LocalTower, source: string, out: string): Promise<LocalTower> {
  await mkdir(out, { recursive: true });
  await copyFiles(tower.directory, out, Object.keys(tower.manifest.files));
  const manifest = {
    ...tower.manifest,
    name: towerName(out),
    source: `scalingnote towers import ${basename(resolve(source))}`,
  };
  await writeManifest(out, manifest);
  return { directory: out, manifest };
}

/** `model.safetensors.index.json`: which file has which tensor. */
const ShardIndex = z.object({ weight_map: z.record(z.string(), z.string()) });

/** @throws {TrainingError} where a part of the weights is not there */
async function requireShards(source: string, shards: readonly string[]): Promise<void> {
  for (const shard of shards) await refusePointer(join(source, shard), join(source, shard));
  const file = 'model.safetensors.index.json';
  const text = await readFile(join(source, file), 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const index = ShardIndex.safeParse(JSON.parse(text));
  if (!index.success) {
    const message = `${source}/${file} can't be used: ${z.prettifyError(index.error)}`;
    throw new TrainingError('REQUEST_INVALID', message);
  }
  const missing = [...new Set(Object.values(index.data.weight_map))].filter((each) => !shards.includes(each));
  if (missing.length === 0) return;
  const message = `${source} lacks parts of the weights that ${file} names: ${missing.join(', ')}; fetch them, too`;
  throw new TrainingError('REQUEST_INVALID', message);
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
