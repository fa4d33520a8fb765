import { StoreError } from '../../errors.ts';
import { isObject, type Mapping, pathOf, type Payload, valueAt } from './mapping.ts';

/** Who wrote payloads, by their looks. */
export type Writer = 'LangChain' | 'LlamaIndex' | 'Haystack' | 'a script';

/** Where the parts of documents seem to be. */
export interface Detected {
  writer: Writer;
  mapping: Mapping;
}

/** Parts that somebody names; an empty path is none. */
export type MappingOverrides = Partial<Pick<Mapping, 'id' | 'title' | 'text' | 'metadata'>>;

/** Share of a sample's payloads that have to have a field. */
const MOST = 0.9;

/** Names that scripts give to the parts of documents, the likeliest first. */
const TEXTS = [
  'text',
  'content',
  'page_content',
  'document',
  'body',
  'chunk',
  'passage',
  'chunk_text',
  'abstract',
];
const TITLES = ['title', 'headline', 'heading', 'subject', 'name'];
const IDS = ['document_id', 'doc_id', 'docid', 'id', '_id'];
const METADATA = ['metadata', 'meta'];

/** Keys that LlamaIndex adds to a node's metadata; the last one only where it keeps the text apart. */
const LLAMA_KEYS = ['_node_content', '_node_type', 'document_id', 'doc_id', 'ref_doc_id', 'text'];

/** What LlamaIndex writes for a node that belongs to no document. */
const LLAMA_NONE = 'None';

/**
 * Finds the parts of documents in payloads.
 *
 * @throws {StoreError} `STORE_INVALID_ARGUMENT` where there is no text, or a named field is in too few payloads
 */
export function detectMapping(payloads: readonly Payload[], overrides: MappingOverrides): Detected {
  const sample = new Sample(payloads);
  const { writer, mapping } = sample.shape();
  const named = { ...mapping, ...overrides };
  for (const [part, path] of Object.entries(overrides)) {
    if (path !== '' && !sample.has(path, FITS[part as keyof MappingOverrides])) {
      throw new StoreError(
        'STORE_INVALID_ARGUMENT',
        `--${part}-field ${path}: fewer than ${100 * MOST} % of the payloads have ${WANTED[part as keyof MappingOverrides]} there; ` +
          `they have the keys ${sample.keys().join(', ') || '(none)'}`,
      );
    }
  }
  if (named.text === '') {
    throw new StoreError(
      'STORE_INVALID_ARGUMENT',
      'no field of the payloads is the text that was encoded, and without it nothing can be compared; name it with ' +
        `--text-field (the payloads have the keys ${sample.keys().join(', ') || '(none)'})`,
    );
  }
  return { writer, mapping: { ...named, hidden: hiddenIn(named, writer) } };
}

/** The text that LlamaIndex encodes of a node, with the metadata that it puts before it; `undefined` for other payloads. */
export function withHeader(payload: Payload): string | undefined {
  const node = valueAt(payload, ['_node_content', 'text']);
  if (typeof node !== 'string') return undefined;
  const part = (key: string): unknown => valueAt(payload, ['_node_content', key]);
  const metadata = part('metadata');
  if (!isObject(metadata)) return undefined;
  const excluded = part('excluded_embed_metadata_keys');
  const keys = Object.keys(metadata).filter((key) => !(Array.isArray(excluded) && excluded.includes(key)));
  const text = (key: string, fallback: string): string => {
    const value = part(key);
    return typeof value === 'string' ? value : fallback;
  };
  const line = text('metadata_template', '{key}: {value}');
  const lines = keys.map((key) => filled(line, { key, value: shown(metadata[key]) }));
  const separator = text('metadata_separator', text('metadata_seperator', '\n'));
  if (lines.length === 0) return node;
  const whole = text('text_template', '{metadata_str}\n\n{content}');
  return filled(whole, { metadata_str: lines.join(separator), content: node }).trim();
}

type Fit = (value: unknown) => boolean;

const isText: Fit = (value) => typeof value === 'string' && value !== '';
const isId: Fit = (value) => isText(value) || Number.isSafeInteger(value);

const FITS: Readonly<Record<keyof MappingOverrides, Fit>> = {
  id: isId,
  title: (value) => typeof value === 'string',
  text: isText,
  metadata: isObject,
};

const WANTED: Readonly<Record<keyof MappingOverrides, string>> = {
  id: 'a string or a whole number',
  title: 'a string',
  text: 'a text',
  metadata: 'an object',
};

class Sample {
  readonly #payloads: readonly Payload[];

  constructor(payloads: readonly Payload[]) {
    this.#payloads = payloads;
  }

  shape(): Detected {
    if (this.has('_node_content', isText)) return { writer: 'LlamaIndex', mapping: this.#llamaIndex() };
    if (this.has('page_content', isText)) {
      const metadata = this.has('metadata', isObject) ? 'metadata' : '';
      return { writer: 'LangChain', mapping: this.#plain({ text: 'page_content', id: '', metadata }) };
    }
    if (this.has('content', isText) && this.has('meta', isObject)) {
      const mapping = this.#plain({ text: 'content', metadata: 'meta' });
      return {
        writer: 'Haystack',
        mapping: { ...mapping, order: this.#first(['meta.split_id'], Number.isFinite) },
      };
    }
    return { writer: 'a script', mapping: this.#plain({}) };
  }

  keys(): string[] {
    return [...new Set(this.#payloads.flatMap((payload) => Object.keys(payload)))].slice(0, 32);
  }

  /** Whether most payloads have something that fits. */
  has(path: string, fits: Fit): boolean {
    const keys = pathOf(path);
    const found = this.#payloads.filter((payload) => fits(valueAt(payload, keys))).length;
    return found > 0 && found >= MOST * this.#payloads.length;
  }

  #llamaIndex(): Mapping {
    const text = this.#first(['_node_content.text', 'text'], isText);
    const id = this.#first(
      ['doc_id', 'ref_doc_id', 'document_id'],
      (value) => isId(value) && value !== LLAMA_NONE,
    );
    const hasNone =
      id !== '' && this.#payloads.some((payload) => valueAt(payload, pathOf(id)) === LLAMA_NONE);
    return {
      id: hasNone ? '' : id,
      title: this.#first(TITLES, isText),
      text,
      metadata: '',
      order: this.#first(['_node_content.start_char_idx'], Number.isFinite),
      hidden: [],
    };
  }

  #plain({ text, id, metadata }: Partial<Mapping>): Mapping {
    const own = metadata ?? this.#first(METADATA, isObject);
    const titles = own === '' ? TITLES : [...TITLES, ...TITLES.map((title) => `${own}.${title}`)];
    return {
      id: id ?? this.#first(IDS, isId),
      title: this.#first(titles, isText),
      text: text ?? (this.#first(TEXTS, isText) || this.#longest()),
      metadata: own,
      order: '',
      hidden: [],
    };
  }

  #first(paths: readonly string[], fits: Fit): string {
    return paths.find((path) => this.has(path, fits)) ?? '';
  }

  /** The one field of texts that look like texts; empty for none or several. */
  #longest(): string {
    const proses = this.keys().filter(
      (key) =>
        /^[\w-]+$/.test(key) &&
        this.has(key, (value) => isText(value) && /\S\s+\S+\s+\S/.test(value as string)),
    );
    return proses.length === 1 ? proses[0]! : '';
  }
}

/** Keys of the payload that a document has elsewhere. */
function hiddenIn({ id, title, text, metadata }: Mapping, writer: Writer): string[] {
  if (metadata !== '') return [];
  const roots = [id, title, text].flatMap((path) => pathOf(path).slice(0, 1));
  return [...new Set([...roots, ...(writer === 'LlamaIndex' ? LLAMA_KEYS : [])])];
}

function filled(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole);
}

/** As Python's `str` shows the values that metadata have. */
function shown(value: unknown): string {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
