import { serviceAddress, type SearchRequest } from './client.ts';
import { invalidArgument } from './errors.ts';
import { described } from './request.ts';

/** What the attributes of `<scalingnote-search>` say. */
export interface Settings {
  endpoint: string;
  request: Omit<SearchRequest, 'query'>;
  debounceMs: number;
  minLength: number;
  timeoutMs: number;
  /** Fingerprint of the space of the tower that encodes on the page; `undefined` to send the text. */
  tower: string | undefined;
}

/** What holds where an attribute is left out. */
export const DEFAULTS = { debounceMs: 120, minLength: 1, timeoutMs: 5_000, label: 'Search', limit: 8 };

/** A list that is longer is none to choose from as one types. */
const MAX_LIMIT = 50;

/** What an attribute does, by its name. */
const ATTRIBUTES = new Map<string, (value: string, settings: Settings) => void>(
  Object.entries({
    endpoint: (value, settings) => (settings.endpoint = serviceAddress(value, 'endpoint')),
    collection: (value, { request }) => (request.collection = filled('collection', value)),
    tenant: (value, { request }) => (request.tenant = filled('tenant', value)),
    limit: (value, { request }) => (request.limit = whole('limit', value, 1, MAX_LIMIT)),
    mode: (value, { request }) => {
      if (!/^(dense|sparse|hybrid)$/.test(value)) {
        throw invalidArgument('mode', `is ${described(value)}; give dense, sparse or hybrid`);
      }
      request.mode = value as 'dense';
    },
    debounce: (value, settings) => (settings.debounceMs = whole('debounce', value, 0, 10_000)),
    'min-length': (value, settings) => (settings.minLength = whole('min-length', value, 1, 100)),
    timeout: (value, settings) => (settings.timeoutMs = whole('timeout', value, 1, 600_000)),
    tower: (value, settings) => {
      if (!/^sp1_[0-9a-z]+$/.test(value)) {
        throw invalidArgument('tower', `is ${described(value)}; give the fingerprint of the space, sp1_...`);
      }
      settings.tower = value;
    },
    // The element itself shows these, whatever else is wrong.
    label: (value) => void filled('label', value),
    placeholder: () => {},
  }),
);

/** Attributes that any element may have: HTML gives them their meaning. */
const GLOBAL =
  /^(?:data-.*|aria-.*|on.*|xml.*|item.*|(?:accesskey|autofocus|class|contenteditable|dir|draggable|enterkeyhint|exportparts|hidden|id|inert|inputmode|is|lang|nonce|part|popover|role|slot|spellcheck|style|tabindex|title|translate))$/;

/** Reads attributes; those that any element may have are passed over. @throws {WebError} that names the wrong one */
export function readSettings(attributes: Iterable<{ name: string; value: string }>): Settings {
  const { debounceMs, minLength, timeoutMs, limit } = DEFAULTS;
  const settings: Settings = {
    endpoint: '',
    request: { limit },
    debounceMs,
    minLength,
    timeoutMs,
    tower: undefined,
  };
  for (const { name, value } of attributes) {
    if (GLOBAL.test(name)) continue;
    const read = ATTRIBUTES.get(name);
    if (read === undefined) {
      const known = [...ATTRIBUTES.keys()].join(', ');
      throw invalidArgument(name, `is no attribute that is known here; known are ${known}, and data-*`);
    }
    read(value, settings);
  }
  if (settings.endpoint === '')
    throw invalidArgument('endpoint', 'is missing; give the address of the service');
  const { mode = 'dense' } = settings.request;
  if (settings.tower !== undefined && mode !== 'dense') {
    throw invalidArgument('mode', `is ${mode}, which needs the text; leave it out, or leave the tower out`);
  }
  return settings;
}

function filled(name: string, value: string): string {
  if (value.trim() !== '') return value;
  throw invalidArgument(name, 'is empty; give a value, or leave the attribute out');
}

function whole(name: string, value: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw invalidArgument(name, `is ${described(value)}; give a whole number from ${least} to ${most}`);
}
