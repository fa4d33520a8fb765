import { type Mode, SCORES } from '../../scores.ts';
import { MAX_EXPLAINED, MAX_ID_BYTES } from '../../validate.ts';
import { FILTER_VALUES, type Keywords, VISIBLE_TEXT } from './limits.ts';

/** One condition, and what holds where it does. */
function rule(condition: object, consequence: object): Keywords {
  // oxlint-disable-next-line unicorn/no-thenable -- it is a keyword of JSON Schema
  return { if: condition, then: { properties: consequence } };
}

/** A test of the field `document_id` compares strings. */
function idRule(name: string, value: object): Keywords {
  return rule({ required: ['field'], properties: { field: { const: 'document_id' } } }, { [name]: value });
}

/** The scores that a search can give. */
function modeRule(mode: Mode, names: readonly string[]): Keywords {
  const { from, to } = SCORES[mode];
  return rule(
    { ...(mode !== 'dense' && { required: ['mode'] }), properties: { mode: { enum: names } } },
    { scoreThreshold: { minimum: from, ...(to < Infinity && { maximum: to }) } },
  );
}

/** A field is there, and like this. */
function given(name: string, value: object): Keywords {
  return { required: [name], properties: { [name]: value } };
}

/** Not all of these together. */
function never(...all: readonly object[]): Keywords {
  return { not: { allOf: all } };
}

const HYBRID = given('mode', { const: 'SEARCH_MODE_HYBRID' });
const SORTED = given('sort', { type: 'object' });
const BY_PERCENTILE = given('percentileThreshold', { type: 'number' });
const EXPLAINED = {
  anyOf: [given('explain', { const: true }), given('explainDocumentId', { minLength: 1 })],
};
/** Has something to count, to sort or to leave out. */
const USES_SET = {
  anyOf: [
    given('withCount', { const: true }),
    given('facets', { minItems: 1 }),
    SORTED,
    { allOf: [HYBRID, BY_PERCENTILE] },
  ],
};

/** What a message has to be as a whole. */
const MESSAGE_RULES: Readonly<Record<string, Keywords>> = {
  SearchRequest: {
    allOf: [
      rule(
        { required: ['explain'], properties: { explain: { const: true } } },
        { limit: { maximum: MAX_EXPLAINED } },
      ),
      modeRule('dense', ['SEARCH_MODE_UNSPECIFIED', 'SEARCH_MODE_DENSE']),
      // No words are matched.
      rule(
        { properties: { mode: { enum: ['SEARCH_MODE_UNSPECIFIED', 'SEARCH_MODE_DENSE'] } } },
        { language: { maxLength: 0 } },
      ),
      modeRule('sparse', ['SEARCH_MODE_SPARSE']),
      modeRule('hybrid', ['SEARCH_MODE_HYBRID']),
      never(given('fusion', { type: 'object' }), { not: HYBRID }),
      never(given('candidates', { minimum: 1 }), { not: USES_SET }),
      never(SORTED, EXPLAINED),
      never(HYBRID, BY_PERCENTILE, EXPLAINED),
      never(given('rerank', { minimum: 1 }), { anyOf: [SORTED, EXPLAINED] }),
    ],
  },
  Fusion: never(
    given('k', {}),
    given('method', { enum: ['FUSION_METHOD_SCORES', 'FUSION_METHOD_DISTRIBUTION'] }),
  ),
  DeleteRequest: {
    oneOf: [
      { required: ['documentIds'], properties: { documentIds: { minItems: 1 } } },
      { required: ['filter'] },
    ],
  },
  Condition: { minProperties: 1, maxProperties: 1 },
  Equals: idRule('value', { type: 'string', maxLength: MAX_ID_BYTES }),
  AnyOf: {
    ...idRule('values', { items: { type: 'string', maxLength: MAX_ID_BYTES } }),
    anyOf: FILTER_VALUES.map(({ type }) => ({ properties: { values: { items: { type } } } })),
  },
  Range: { anyOf: ['gt', 'gte', 'lt', 'lte'].map((name) => ({ required: [name] })) },
};

/** What the request of a method has to be, beyond what its message is wherever it stands. */
const METHOD_RULES: Readonly<Record<string, Keywords>> = {
  Search: { required: ['query'], properties: { query: VISIBLE_TEXT } },
};

/** Keywords of JSON Schema for a message as a whole. */
export function messageRule(message: string): Keywords {
  return MESSAGE_RULES[message] ?? {};
}

/** Keywords of JSON Schema for the request of a method; `undefined` for none beyond those of its message. */
export function methodRule(method: string): Keywords | undefined {
  return METHOD_RULES[method];
}
