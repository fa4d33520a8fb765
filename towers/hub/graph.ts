import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { posix } from 'node:path';
import { TowerError } from '../errors.ts';

/** What an ONNX file says of itself, without its weights. */
export interface GraphFacts {
  /** Names of its outputs. */
  outputs: string[];
  /** Files of external data, relative to the model's folder. */
  external: string[];
  /** Operators that are not ONNX's own, as `domain:Operator`. */
  foreign: string[];
  /** Operators that quantise by what happens to be in a batch. */
  dynamic: string[];
  /** Tensor → its dimensions, of the tensors that are looked up by token id. */
  tables: Map<string, readonly number[]>;
}

/** Bytes that are read at a time. */
const WINDOW = 1 << 16;

/** The longest name of an operator, tensor or file that is believed. */
const MAX_TEXT = 4_096;

/** Operators whose scale is taken from the whole input, all texts of a batch together. */
const DYNAMIC = new Set(['DynamicQuantizeLinear', 'DynamicQuantizeMatMul', 'DynamicQuantizeLSTM']);

/** A field of a protobuf message: its number and, of what has a length, where it lies. */
type Field = { number: number; value: number; start: number; end: number };

/**
 * Walks through an ONNX file (onnx.proto3) field by field, and skips the weights: a graph may have gigabytes of them.
 *
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` for a file that is none
 */
export function scanGraph(file: string, called: string): GraphFacts {
  const facts: GraphFacts = { outputs: [], external: [], foreign: [], dynamic: [], tables: new Map() };
  const descriptor = openSync(file, 'r');
  try {
    const bytes = new Bytes(descriptor);
    const start = bytes.text(0, Math.min(bytes.size, 40));
    const refuse = (why: string): TowerError =>
      new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `${called} is no ONNX model: ${why} (${bytes.size} bytes, which begin with ${JSON.stringify(start)}); export ` +
          'the model again, or fetch the file again',
      );
    let graphs = 0;
    let versions = 0;
    try {
      for (const field of bytes.fields(0, bytes.size)) {
        if (field.number === 7) {
          graphs++;
          readGraph(bytes, field, facts);
        } else if (field.number === 8) {
          versions++;
        } else if (field.number > 25) {
          throw new Malformed(`it has a field ${field.number}`);
        }
      }
    } catch (error) {
      if (error instanceof Malformed) throw refuse(error.message);
      throw error;
    }
    if (graphs === 0 || versions === 0) throw refuse('it has no graph or no set of operators');
  } finally {
    closeSync(descriptor);
  }
  for (const location of facts.external) {
    const path = posix.normalize(location);
    if (posix.isAbsolute(path) || path.startsWith('..')) {
      throw new TowerError(
        'TOWER_MODEL_UNSUPPORTED',
        `${called} has external data in "${location}", outside of its own folder`,
      );
    }
  }
  return facts;
}

function readGraph(bytes: Bytes, graph: Field, facts: GraphFacts): void {
  const dims = new Map<string, readonly number[]>();
  const lookups = new Set<string>();
  for (const { number, start, end } of bytes.fields(graph.start, graph.end)) {
    if (number === 1) {
      const { op, domain, inputs } = readNode(bytes, start, end, facts);
      if (domain !== '' && domain !== 'ai.onnx') add(facts.foreign, `${domain}:${op}`);
      if (DYNAMIC.has(op)) add(facts.dynamic, op);
      if (op === 'Gather' && inputs[1] === 'input_ids') lookups.add(inputs[0]!);
    } else if (number === 5) {
      const tensor = readTensor(bytes, start, end, facts);
      dims.set(tensor.name, tensor.dims);
    } else if (number === 12) {
      for (const part of bytes.fields(start, end)) {
        if (part.number === 1) facts.outputs.push(bytes.text(part.start, part.end));
      }
    }
  }
  for (const name of lookups) {
    const found = dims.get(name);
    if (found !== undefined) facts.tables.set(name, found);
  }
}

function readNode(
  bytes: Bytes,
  from: number,
  to: number,
  facts: GraphFacts,
): { op: string; domain: string; inputs: string[] } {
  const node = { op: '', domain: '', inputs: [] as string[] };
  for (const { number, start, end } of bytes.fields(from, to)) {
    if (number === 1) node.inputs.push(bytes.text(start, end));
    if (number === 4) node.op = bytes.text(start, end);
    if (number === 7) node.domain = bytes.text(start, end);
    // A constant's tensor may have its data elsewhere, too.
    if (number === 5) {
      for (const attribute of bytes.fields(start, end)) {
        if (attribute.number === 5) readTensor(bytes, attribute.start, attribute.end, facts);
      }
    }
  }
  return node;
}

function readTensor(
  bytes: Bytes,
  from: number,
  to: number,
  facts: GraphFacts,
): { name: string; dims: number[] } {
  const tensor = { name: '', dims: [] as number[] };
  for (const { number, value, start, end } of bytes.fields(from, to)) {
    if (number === 1 && end === start) tensor.dims.push(value);
    if (number === 1 && end > start) tensor.dims.push(...bytes.varints(start, end));
    if (number === 8) tensor.name = bytes.text(start, end);
    if (number === 13) {
      const entry = { key: '', value: '' };
      for (const part of bytes.fields(start, end)) {
        if (part.number === 1) entry.key = bytes.text(part.start, part.end);
        if (part.number === 2) entry.value = bytes.text(part.start, part.end);
      }
      if (entry.key === 'location') add(facts.external, entry.value);
    }
  }
  return tensor;
}

function add(list: string[], value: string): void {
  if (!list.includes(value)) list.push(value);
}

/** What can't be read as a message. */
class Malformed extends Error {}

/** The bytes of a file, a window at a time. */
class Bytes {
  readonly size: number;
  readonly #descriptor: number;
  #window = Buffer.alloc(0);
  #start = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.size = fstatSync(descriptor).size;
  }

  #at(position: number): number {
    if (position < this.#start || position >= this.#start + this.#window.length) {
      const window = Buffer.alloc(Math.min(WINDOW, this.size - position));
      const read = window.length === 0 ? 0 : readSync(this.#descriptor, window, 0, window.length, position);
      if (read === 0) throw new Malformed('it ends in the middle of a field');
      this.#window = window.subarray(0, read);
      this.#start = position;
    }
    return this.#window[position - this.#start]!;
  }

  /** @returns value and the position after it */
  #varint(position: number): [value: number, next: number] {
    let value = 0;
    for (let shift = 0; shift < 10; shift++) {
      const byte = this.#at(position + shift);
      value += (byte & 0x7f) * 2 ** (7 * shift);
      if (byte < 0x80) return [value, position + shift + 1];
    }
    throw new Malformed('it has a number of more than ten bytes');
  }

  varints(start: number, end: number): number[] {
    const values: number[] = [];
    for (let position = start; position < end;) {
      const [value, next] = this.#varint(position);
      values.push(value);
      position = next;
    }
    return values;
  }

  text(start: number, end: number): string {
    const bytes = Buffer.alloc(Math.min(end - start, MAX_TEXT));
    for (let i = 0; i < bytes.length; i++) bytes[i] = this.#at(start + i);
    return bytes.toString('utf8');
  }

  /** Fields of the message that lies between two positions. */
  *fields(start: number, end: number): Generator<Field, void, undefined> {
    for (let position = start; position < end;) {
      const [tag, after] = this.#varint(position);
      const number = Math.floor(tag / 8);
      const type = tag % 8;
      let field: Field;
      if (type === 0) {
        const [value, next] = this.#varint(after);
        field = { number, value, start: next, end: next };
      } else if (type === 2) {
        const [length, next] = this.#varint(after);
        field = { number, value: 0, start: next, end: next + length };
      } else if (type === 1 || type === 5) {
        field = { number, value: 0, start: after, end: after + (type === 1 ? 8 : 4) };
      } else {
        throw new Malformed(`it has a field of wire type ${type}`);
      }
      if (number === 0 || field.end > end) throw new Malformed('a field is longer than what holds it');
      yield field;
      position = field.end;
    }
  }
}
