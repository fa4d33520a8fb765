import { createReadStream } from 'node:fs';
import { join } from 'node:path';

/** How a graph holds its weights, as its operators show. */
export type Precision = '4 bit' | '8 bit' | 'floating point';

/** Operators that compute with quantised weights, and the bits of them. */
const OPERATORS: readonly (readonly [name: string, precision: Precision])[] = [
  ['MatMulNBits', '4 bit'],
  ['DynamicQuantizeLinear', '8 bit'],
  ['MatMulInteger', '8 bit'],
  ['QLinearMatMul', '8 bit'],
];

/** Longest name of an operator, so that none is missed where two pieces of the file meet. */
const OVERLAP = 32;

/** Looks for operators in a tower's graph. */
export async function precisionOf(directory: string): Promise<Precision> {
  let edge = Buffer.alloc(0);
  for await (const piece of createReadStream(join(directory, 'model.onnx'))) {
    const bytes = Buffer.concat([edge, piece as Buffer]);
    const found = OPERATORS.find(([name]) => bytes.includes(name));
    if (found) return found[1];
    edge = bytes.subarray(-OVERLAP);
  }
  return 'floating point';
}
