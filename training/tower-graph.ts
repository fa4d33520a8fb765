import { join } from 'node:path';
import { outputOf } from '../towers/session/model.ts';
import type { Model } from './onnx/model.ts';
import { readModel } from './onnx/read.ts';
import { toPlain } from './onnx/rewrite/plain.ts';

/** Name of the graph in a tower's folder. */
export const MODEL_FILE = 'model.onnx';

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
