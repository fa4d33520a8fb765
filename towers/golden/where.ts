import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, cpus } from 'node:os';
import * as z from 'zod';

/** What computed: for people, who look for the difference when a record and a model disagree. */
export const Where = z.strictObject({
  /** As the tower calls it: `cpu`, `cuda:0`, an endpoint. */
  device: z.string(),
  /** Name, architecture, and those instructions that change how 8-bit numbers are multiplied. */
  processor: z.string(),
  /** What ran the model, with its version. */
  runtime: z.string(),
});
export type Where = z.infer<typeof Where>;

/** Instruction sets that ONNX Runtime has kernels of their own for. */
const INSTRUCTIONS = ['avx2', 'avx_vnni', 'avx512f', 'avx512_vnni', 'amx_int8', 'asimddp', 'i8mm'];

/** This machine. */
export function hereOn(device = 'cpu'): Where {
  const name = cpus()[0]?.model.trim() || 'unknown processor';
  return {
    device,
    processor: [name, arch(), ...instructions()].join(', '),
    runtime: `onnxruntime-node ${runtimeVersion()}`,
  };
}

/** Linux says which there are; elsewhere the name of the processor has to do. */
function instructions(): string[] {
  try {
    const text = readFileSync('/proc/cpuinfo', 'utf8');
    const flags = new Set(/^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1]?.trim().split(' '));
    return INSTRUCTIONS.filter((each) => flags.has(each));
  } catch {
    return [];
  }
}

function runtimeVersion(): string {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return version;
}
