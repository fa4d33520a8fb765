import type * as AddOn from 'tokenizers';
import { TowerError } from '../errors.ts';

/** One implementation of a `tokenizer.json`: text to token ids, however many. */
export interface Implementation {
  readonly name: 'native' | 'javascript';
  /** @param special whether special tokens are put around, as the file's post-processor says */
  ids(text: string, special?: boolean): Promise<number[]>;
  /** {@link ids} of many texts, in order. */
  idsOfAll(texts: readonly string[], special?: boolean): Promise<number[][]>;
}

/**
 * The reference implementation, a native add-on that works on threads of its own. Truncation and padding that the file
 * asks for are switched off: the tower's `maxTokens` decides, as `max_length` does in Python.
 *
 * @param file text of a `tokenizer.json`
 * @throws {TowerError} `TOWER_MODEL_UNSUPPORTED` where this platform has no add-on, or it refuses the file
 */
export async function nativeTokenizer(file: string): Promise<Implementation> {
  let add: typeof AddOn;
  try {
    add = await import('tokenizers');
  } catch (error) {
    const message = `the tokenizer add-on can't be loaded on ${process.platform}-${process.arch}: ${String(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
  try {
    const tokenizer = add.Tokenizer.fromString(file);
    tokenizer.disableTruncation();
    tokenizer.disablePadding();
    return new NativeTokenizer(tokenizer);
  } catch (error) {
    const message = `the reference tokenizer refuses tokenizer.json: ${messageOf(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
}

class NativeTokenizer implements Implementation {
  readonly name = 'native';
  readonly #tokenizer: AddOn.Tokenizer;

  constructor(tokenizer: AddOn.Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  async ids(text: string, special = false): Promise<number[]> {
    return idsOf(await refusing(this.#tokenizer.encode(text, null, { addSpecialTokens: special })));
  }

  async idsOfAll(texts: readonly string[], special = false): Promise<number[][]> {
    if (texts.length === 1) return [await this.ids(texts[0]!, special)];
    const encodings = await refusing(this.#tokenizer.encodeBatch([...texts], { addSpecialTokens: special }));
    return encodings.map(idsOf);
  }
}

/** Names what the reference has nothing for: a letter outside the vocabulary where there is no unknown token. */
async function refusing<T>(encoding: Promise<T>): Promise<T> {
  try {
    return await encoding;
  } catch (error) {
    const message = `the reference tokenizer has no tokens for a text: ${messageOf(error)}`;
    throw new TowerError('TOWER_MODEL_UNSUPPORTED', message, { cause: error });
  }
}

function idsOf(encoding: AddOn.Encoding): number[] {
  return encoding.getIds();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
