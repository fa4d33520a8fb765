import { chmod, copyFile, link, mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hashFile } from '../towers/hash.ts';
import type { LocalTower } from '../towers/pull.ts';
import { outputOf } from '../towers/session/model.ts';
import type { Model } from './onnx/model.ts';
import { readModel } from './onnx/read.ts';
import { toPlain } from './onnx/rewrite/plain.ts';
import { writeModel } from './onnx/write.ts';

/** The files of a tower that hold its weights. The second one is there for large models alone. */
const MODEL_FILE = 'model.onnx';
const DATA_FILE = 'model.onnx_data';

const TOKENIZER_FILES = ['tokenizer.json', 'tokenizer_config.json'];

/** Models above this have their weights in a file of their own: protobuf can't hold 2 GiB. */
const MAX_INLINE_BYTES = 2 ** 30;

/** Mode of a copy: its owner may write, everybody may read. */
const WRITABLE = 0o644;

/** File → sha256. */
export type FileHashes = Readonly<Record<string, string>>;

/**
 * Reads the graph of a tower in plain operators: quantised weights become float32 ones.
 *
 * @param directory - the tower's folder
 * @returns the graph, and the name of the output that holds its vectors
 * @throws {OnnxError} `OPERATOR_UNSUPPORTED`, `FEATURE_UNSUPPORTED` for a graph that can't be rewritten
 */
export async function readTowerGraph(directory: string): Promise<{ model: Model; output: string }> {
  const source = await readModel(join(directory, MODEL_FILE));
  const output = outputOf(source.graph.outputs.map(({ name }) => name));
  return { model: await toPlain(source, [output]), output };
}

/** Writes a model into a tower's folder. @returns hashes of its files */
export async function writeWeights(folder: string, model: Model): Promise<FileHashes> {
  await mkdir(folder, { recursive: true });
  let bytes = 0;
  for (const { data } of model.graph.initializers.values()) bytes += data.byteLength;
  const external = bytes > MAX_INLINE_BYTES;
  // Another tower may share the old files: they are replaced, not overwritten.
  for (const file of [MODEL_FILE, DATA_FILE]) await rm(join(folder, file), { force: true });
  await writeModel(join(folder, MODEL_FILE), model, external ? { externalData: DATA_FILE } : {});
  const files = external ? [MODEL_FILE, DATA_FILE] : [MODEL_FILE];
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [file, await hashFile(join(folder, file))] as const)),
  );
}

/** Gives one tower the files of another as hard links, or as copies where the file system has no links. */
export async function linkFiles(from: string, to: string, files: readonly string[]): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const file of files) {
    await rm(join(to, file), { force: true });
    await link(join(from, file), join(to, file)).catch(() => copyFiles(from, to, [file]));
  }
}

/** Copies files. Those of the cache can't be written to; their copies can. */
export async function copyFiles(from: string, to: string, files: readonly string[]): Promise<void> {
  for (const file of files) {
    await mkdir(dirname(join(to, file)), { recursive: true });
    await rm(join(to, file), { force: true });
    await copyFile(join(from, file), join(to, file));
    await chmod(join(to, file), WRITABLE);
  }
}

/** Gives a tower the tokenizer of another. @returns hashes of its files */
export async function copyTokenizer(
  { directory, manifest }: Pick<LocalTower, 'directory' | 'manifest'>,
  to: string,
): Promise<FileHashes> {
  const files = TOKENIZER_FILES.filter((file) => manifest.files[file] !== undefined);
  await copyFiles(directory, to, files);
  return Object.fromEntries(files.map((file) => [file, manifest.files[file]!]));
}

/** What a tower in a folder is called. */
export function towerName(folder: string): string {
  return basename(folder).replaceAll(/[^\w.-]/g, '-');
}
