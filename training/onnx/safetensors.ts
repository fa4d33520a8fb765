import { open, readFile, rename, rm } from 'node:fs/promises';
import * as z from 'zod';
import { OnnxError } from './errors.ts';
import { byteLength, viewAs, type ElementType, type Tensor } from './tensor.ts';

/** Names of element types in the format, those that we have too. */
const TYPES: Readonly<Record<string, ElementType>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U64: 'uint64',
  U32: 'uint32',
  U16: 'uint16',
  U8: 'uint8',
  BOOL: 'bool',
};

const NAMES = new Map(Object.entries(TYPES).map(([name, type]) => [type, name]));

/** Length of the header, at the front: an unsigned 64-bit integer. */
const LENGTH_BYTES = 8;

/** The format's own limit: a longer header is no header. */
const MAX_HEADER_BYTES = 100_000_000;

const Entry = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});
const Header = z.record(z.string(), z.unknown());
const Metadata = z.record(z.string(), z.string());

/** Tensors by name, and what else a file says. */
export interface Safetensors {
  tensors: Map<string, Tensor>;
  metadata: Readonly<Record<string, string>>;
}

/**
 * Reads a file of tensors as Hugging Face's models come (https://github.com/huggingface/safetensors).
 * @throws {OnnxError} `MODEL_INVALID` for bytes that are none, `FEATURE_UNSUPPORTED` for an element type that we lack
 */
export async function readSafetensors(file: string): Promise<Safetensors> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new OnnxError('MODEL_INVALID', `can't read ${file}: ${(error as Error).message}`, { cause: error });
  });
  const invalid = (why: string): OnnxError =>
    new OnnxError('MODEL_INVALID', `${file} is no safetensors file: ${why}`);
  if (bytes.length < LENGTH_BYTES) throw invalid('it is too short');
  const length = Number(bytes.readBigUInt64LE(0));
  const start = LENGTH_BYTES + length;
  if (length > MAX_HEADER_BYTES || start > bytes.length) throw invalid('its header is longer than it is');
  let header: z.output<typeof Header>;
  try {
    header = Header.parse(JSON.parse(bytes.toString('utf8', LENGTH_BYTES, start)));
  } catch {
    throw invalid('its header is no JSON object');
  }
  const { __metadata__: stated = {}, ...entries } = header;
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(entries)) {
    const parsed = Entry.safeParse(entry);
    if (!parsed.success) throw invalid(`"${name}" has no type, shape and place`);
    const { dtype, shape, data_offsets: offsets } = parsed.data;
    const type = TYPES[dtype];
    if (type === undefined) {
      throw new OnnxError('FEATURE_UNSUPPORTED', `${file}: "${name}" has numbers of type ${dtype}`);
    }
    const [from, to] = offsets;
    if (to - from !== byteLength(type, shape) || start + to > bytes.length) {
      throw invalid(`"${name}" is not as long as its shape says`);
    }
    tensors.set(name, { type, dims: shape, data: viewAs(type, bytes.subarray(start + from, start + to)) });
  }
  const metadata = Metadata.safeParse(stated);
  if (!metadata.success) throw invalid('its metadata are no texts');
  return { tensors, metadata: metadata.data };
}

/** Writes tensors. What was there before stays until the new file is whole and durable. */
export async function writeSafetensors(file: string, { tensors, metadata }: Safetensors): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { type, dims, data }] of tensors) {
    const dtype = NAMES.get(type);
    if (dtype === undefined) {
      throw new OnnxError('FEATURE_UNSUPPORTED', `"${name}": safetensors has no type ${type}`);
    }
    header[name] = { dtype, shape: [...dims], data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
  }
  const json = JSON.stringify(header);
  // Spaces at the end of the header, so that the tensors begin where every type of number may.
  const size = Buffer.byteLength(json);
  const head = Buffer.from(json + ' '.repeat((LENGTH_BYTES - (size % LENGTH_BYTES)) % LENGTH_BYTES));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64LE(BigInt(head.length));
  const draft = `${file}.part`;
  try {
    const handle = await open(draft, 'w');
    try {
      await handle.writeFile(length);
      await handle.writeFile(head);
      for (const { data } of tensors.values()) {
        await handle.writeFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
