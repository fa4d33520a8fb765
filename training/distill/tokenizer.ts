import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { MANIFEST_FILE } from '../../towers/directory.ts';
import { hashFile } from '../../towers/hash.ts';
import { loadTokenizer } from '../../towers/open.ts';
import { type LocalTower, pullTower } from '../../towers/pull.ts';
import type { Tower } from '../../towers/tower.ts';
import { TrainingError } from '../errors.ts';
import { copyFiles } from '../tower-folder.ts';

/** How a student reads. */
export interface StudentTokenizer {
  /** Folder and files of the tokenizer, and what the student's manifest says of them. */
  readonly tower: LocalTower;
  /** Whether it is the teacher's own: then a token is the same thing to both. */
  readonly own: boolean;
  /** Ids of texts, special tokens included, cut where one is longer than the student reads. */
  read(texts: readonly string[]): Promise<readonly (readonly number[])[]>;
  close(): Promise<void>;
}

/** Names of the files that a tokenizer may have. */
const TOKENIZER = 'tokenizer.json';
const SETTINGS = 'tokenizer_config.json';

/**
 * The tokenizer of a student: its teacher's, or that of another tower, folder or file. No teacher's graph and no other
 * tower's model is opened for it.
 *
 * @param reference - a tower, a folder that holds `tokenizer.json`, or such a file. @default the teacher's
 * @throws {TrainingError} `REQUEST_INVALID` where there is no tokenizer
 * @throws {TowerError} for a tower that can't be had, or a tokenizer that can't be used
 */
export async function openStudentTokenizer(
  teacher: Tower,
  reference: string | undefined,
  options: { cacheDir?: string | undefined } = {},
): Promise<StudentTokenizer> {
  const { manifest } = teacher;
  if (reference === undefined) {
    if (manifest.files[TOKENIZER] === undefined) {
      throw new TrainingError(
        'REQUEST_INVALID',
        `the teacher ${manifest.name} has no tokenizer here that a student could read with: name one with --tokenizer`,
      );
    }
    return {
      tower: { directory: teacher.directory, manifest },
      own: true,
      read: async (texts) => (await teacher.tokenizeAll(texts, { prompt: '' })).map(({ ids }) => ids),
      close: async () => undefined,
    };
  }
  const found = await filesOf(reference, options);
  // It is read as the finished student will read: by the same files, with the teacher's length.
  const folder = await mkdtemp(join(tmpdir(), 'scalingnote-tokenizer-'));
  try {
    await copyFiles(found.directory, folder, found.files);
    const hashes = await Promise.all(
      found.files.map(async (file) => [file, await hashFile(join(folder, file))] as const),
    );
    const tower: LocalTower = {
      directory: folder,
      manifest: { ...manifest, files: Object.fromEntries(hashes) },
    };
    const tokenizer = await loadTokenizer(tower);
    return {
      tower,
      own: false,
      read: async (texts) => {
        const all: (readonly number[])[] = [];
        for (const text of texts) {
          const { ids } = await tokenizer.encode(text);
          all.push(ids);
        }
        return all;
      },
      close: () => rm(folder, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Where the files of a tokenizer lie. */
async function filesOf(
  reference: string,
  options: { cacheDir?: string | undefined },
): Promise<{ directory: string; files: string[] }> {
  const path = resolve(reference);
  const isFile = basename(path) === TOKENIZER && (await exists(path));
  const folder = isFile ? dirname(path) : path;
  const plain =
    isFile || ((await exists(join(path, TOKENIZER))) && !(await exists(join(path, MANIFEST_FILE))));
  const directory = plain ? folder : (await pullTower(reference, options)).directory;
  const files: string[] = [];
  for (const file of [TOKENIZER, SETTINGS]) if (await exists(join(directory, file))) files.push(file);
  if (files[0] === TOKENIZER) return { directory, files };
  throw new TrainingError('REQUEST_INVALID', `${reference} has no ${TOKENIZER} for the student to read with`);
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The parts of a `tokenizer.json` that say what its tokens stand for. */
interface TokenizerFile {
  model: {
    type?: string;
    vocab: Record<string, number> | [string, number][];
    continuing_subword_prefix?: string | null;
  };
  pre_tokenizer?: Step | null;
  decoder?: Step | null;
  added_tokens?: { id: number; content: string; special?: boolean }[];
}

interface Step {
  type?: string;
  pretokenizers?: Step[];
  decoders?: Step[];
}

/**
 * What each token of a tokenizer stands for, by id: empty for special tokens, for ids that no token has, and for bytes
 * that are no text alone.
 */
export async function tokenTexts(directory: string): Promise<string[]> {
  const file = JSON.parse(await readFile(join(directory, TOKENIZER), 'utf8')) as TokenizerFile;
  const { model, added_tokens: added = [] } = file;
  const entries = Array.isArray(model.vocab)
    ? model.vocab.map(([token], id) => [token, id] as const)
    : Object.entries(model.vocab);
  const byBytes = [file.pre_tokenizer, file.decoder].some(isByteLevel);
  const prefix = model.type === 'WordPiece' ? (model.continuing_subword_prefix ?? '##') : '';
  const texts: string[] = [];
  for (const [token, id] of entries) {
    texts[id] = byBytes ? fromBytes(token) : fromPiece(token, prefix);
  }
  for (const { id, content, special } of added) texts[id] = special === true ? '' : content;
  return Array.from(texts, (text) => text?.trim() ?? '');
}

function isByteLevel(step: Step | null | undefined): boolean {
  if (step === null || step === undefined) return false;
  return (
    step.type === 'ByteLevel' || [...(step.pretokenizers ?? []), ...(step.decoders ?? [])].some(isByteLevel)
  );
}

/** A piece of SentencePiece or WordPiece: `▁` is a space, `<0x41>` a byte. */
function fromPiece(token: string, prefix: string): string {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
  if (byte !== undefined) return fromUtf8([Number.parseInt(byte, 16)]);
  const bare = prefix !== '' && token.startsWith(prefix) ? token.slice(prefix.length) : token;
  return bare.replaceAll('▁', ' ');
}

/** Letters that stand for bytes which can't be printed: those from U+0100 on, in the order of the bytes. */
const BYTES = new Map<string, number>();
for (let byte = 0, next = 0x100; byte < 0x100; byte++) {
  const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
  BYTES.set(String.fromCodePoint(printable ? byte : next++), byte);
}

function fromBytes(token: string): string {
  const bytes = [...token].map((letter) => BYTES.get(letter));
  return bytes.includes(undefined) ? token : fromUtf8(bytes as number[]);
}

/** Text of bytes in UTF-8; empty where they are only a part of a letter. */
function fromUtf8(bytes: readonly number[]): string {
  const text = new TextDecoder().decode(Uint8Array.from(bytes));
  return text.includes('\uFFFD') ? '' : text;
}
