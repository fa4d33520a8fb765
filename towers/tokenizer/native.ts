import type * as AddOn from 'tokenizers';
import { TowerError } from '../errors.ts';

/** One implementation of a `tokenizer.json`: text to token ids, however many. */
export interface Implementation {
  readonly name: 'native' | 'javascript';
  /** @param special whether special tokens are put around, as the file's post-processor says */
  ids(text: string, special?: boolean): Promise<number[]>;
  /** {@link ids} of many texts, without special tokens, in order. */
  idsOfAll(texts: readonly string[]): Promise<number[][]>;
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
    return idsOf(await this.#tokenizer.encode(text, null, { addSpecialTokens: special }));
  }

  async idsOfAll(texts: readonly string[]): Promise<number[][]> {
    if (texts.length === 1) return [await this.ids(texts[0]!)];
    return (await this.#tokenizer.encodeBatch([...texts], { addSpecialTokens: false })).map(idsOf);
  }
}

function idsOf(encoding: AddOn.Encoding): number[] {
  return encoding.getIds();
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
