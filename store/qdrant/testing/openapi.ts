import { existsSync, readFileSync } from 'node:fs';
import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import type { Seen } from './fake-server.ts';

/** The server's own OpenAPI document, in a folder beside the project if there is one. */
const DOCUMENT = new URL('../../../../../shared/qdrant/openapi.json', import.meta.url);

/** Why requests can't be checked; `undefined` if they can. */
export const openapiMissing = existsSync(DOCUMENT)
  ? undefined
  : 'the OpenAPI document of Qdrant is not there (../shared/qdrant/openapi.json)';

type Json = Record<string, unknown>;

interface Operation {
  parameters?: { name: string; in: string; schema: Json }[];
  requestBody?: { content: { 'application/json': { schema: Json } } };
}

/** Checks requests against Qdrant's OpenAPI document. An unknown field is an error too. */
export class RequestChecker {
  readonly #paths: Record<string, Record<string, Operation>>;
  readonly #ajv: Ajv;
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor() {
    const document = JSON.parse(readFileSync(DOCUMENT, 'utf8')) as {
      paths: Record<string, Record<string, Operation>>;
      components: { schemas: Record<string, Json> };
    };
    this.#paths = document.paths;
    this.#ajv = new Ajv({ strict: false, allErrors: true, coerceTypes: false });
    addFormats.default(this.#ajv);
    for (const format of ['uint', 'uint8', 'uint32', 'uint64']) {
      this.#ajv.addFormat(format, {
        type: 'number',
        validate: (value) => Number.isInteger(value) && value >= 0,
      });
    }
    this.#ajv.addSchema({ $id: 'openapi', components: tighten(document.components) as Json });
  }

  /** What is wrong with a request, in words; `undefined` for a correct one. */
  check({ method, path, query, body }: Seen): string | undefined {
    const verb = method.toLowerCase();
    // If "points/query" and "points/{id}" both match, take the one with fewer placeholders.
    const [template] = Object.keys(this.#paths)
      .filter((candidate) => matches(candidate, path) && this.#paths[candidate]![verb])
      .sort((a, b) => a.split('{').length - b.split('{').length);
    const operation = template === undefined ? undefined : this.#paths[template]![verb];
    if (!operation) return `${method} ${path} is not an operation of the API`;
    const known = operation.parameters?.filter((parameter) => parameter.in === 'query') ?? [];
    for (const [name, value] of query) {
      const parameter = known.find((one) => one.name === name);
      if (!parameter) return `${method} ${template} has no parameter "${name}"`;
      const wrong = this.#validate(`${method} ${template}?${name}`, parameter.schema, parse(value));
      if (wrong) return `${method} ${path}: "${name}" is ${value}: ${wrong}`;
    }
    const schema = operation.requestBody?.content['application/json'].schema;
    if (!schema) return body === '' ? undefined : `${method} ${template} takes no body`;
    const wrong = this.#validate(`${method} ${template}`, schema, JSON.parse(body));
    return wrong && `${method} ${path}: ${wrong} in ${body}`;
  }

  #validate(key: string, schema: Json, value: unknown): string | undefined {
    let validate = this.#compiled.get(key);
    if (!validate) {
      validate = this.#ajv.compile(tighten(schema) as Json);
      this.#compiled.set(key, validate);
    }
    return validate(value) ? undefined : this.#ajv.errorsText(validate.errors);
  }
}

/** Makes schemas reject unknown fields, which the server would ignore. */
function tighten(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(tighten);
  if (typeof node !== 'object' || node === null) return node;
  const schema = Object.fromEntries(Object.entries(node).map(([key, value]) => [key, tighten(value)]));
  if (typeof schema['$ref'] === 'string') return { $ref: schema['$ref'].replace(/^#/, 'openapi#') };
  // OpenAPI 3.0 writes "or null" as a schema of its own with nothing else in it.
  if (schema['nullable'] === true && schema['type'] === undefined) return { type: 'null' };
  if (schema['type'] === 'object' && 'properties' in schema && !('additionalProperties' in schema)) {
    return { ...schema, additionalProperties: false };
  }
  return schema;
}

function matches(template: string, path: string): boolean {
  const [wanted, given] = [template.split('/'), path.split('/')];
  return (
    wanted.length === given.length &&
    wanted.every((part, index) => part === given[index] || (part.startsWith('{') && given[index] !== ''))
  );
}

function parse(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
