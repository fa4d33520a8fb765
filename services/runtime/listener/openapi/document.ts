import type { DescMessage, DescMethod } from '@bufbuild/protobuf';
import { packageVersion } from '../../service-info.ts';
import { registry } from '../json.ts';
import { SEARCH_STREAM_PATH, SESSION_NAME } from '../session-name.ts';
import { type Comments, readComments } from './comments.ts';
import { methodRule } from './rules.ts';
import { plainAddresses } from './plain.ts';
import { scopeInWords, SECURITY_SCHEMES, securityOf } from './security.ts';
import { reference, type Schema, Schemas } from './schemas.ts';

/** Longest deadline that a header can name, in milliseconds: ten digits. */
const MAX_TIMEOUT_MS = 9_999_999_999;

const JSON_TYPE = 'application/json';

const ABOUT =
  'JSON over HTTP, at the port of gRPC. Names of fields are in lowerCamelCase; the names of the contract ' +
  '(`score_threshold`) are taken, too. A field that the message does not have is refused, and so is one that is given ' +
  'twice. What has its default value is left out of answers. Lengths of texts count bytes of UTF-8, so that a text has ' +
  'no more characters than `maxLength`. Every method has an address of the Connect protocol, and a plain one under ' +
  '`/v1/`, which mean the same. A service that has keys takes a key or a certificate with each call, with the scope that ' +
  'the operation names (`x-scope`); one without keys takes neither.';

const HEADERS = [
  {
    name: 'connect-timeout-ms',
    in: 'header',
    description: 'When the caller stops waiting, in milliseconds from now; it does not if this is left out.',
    schema: { type: 'integer', minimum: 0, maximum: MAX_TIMEOUT_MS },
    example: 10_000,
  },
  {
    name: 'traceparent',
    in: 'header',
    description: 'W3C trace context of the caller.',
    schema: { type: 'string' },
  },
];

/** The error JSON of the Connect protocol. */
const ERROR: Schema = {
  type: 'object',
  description: 'Why a call failed.',
  required: ['code', 'message', 'details'],
  properties: {
    code: {
      type: 'string',
      description: 'Status of gRPC, in lower case.',
      enum: [
        'canceled',
        'unknown',
        'invalid_argument',
        'deadline_exceeded',
        'not_found',
        'already_exists',
        'permission_denied',
        'resource_exhausted',
        'failed_precondition',
        'aborted',
        'out_of_range',
        'unimplemented',
        'internal',
        'unavailable',
        'data_loss',
        'unauthenticated',
      ],
    },
    message: {
      type: 'string',
      description: 'What is wrong, and what to do. It begins with the name of the field, where one is wrong.',
    },
    details: {
      type: 'array',
      description:
        'Messages of `google.rpc`: ErrorInfo with a stable reason; BadRequest with the fields that are wrong; RetryInfo ' +
        'with the wait before the next attempt.',
      items: {
        type: 'object',
        required: ['type', 'value'],
        properties: {
          type: { type: 'string', examples: ['google.rpc.ErrorInfo'] },
          value: {
            type: 'string',
            description: 'Bytes of the message in base64, without padding.',
            contentEncoding: 'base64',
          },
        },
      },
    },
  },
};

/**
 * What a service answers with JSON, as OpenAPI 3.1. It is made of the contract: messages, comments, and the limits that
 * the handlers check.
 *
 * @param paths of the methods that the service has
 */
export function openApi(paths: Iterable<string>): Schema {
  const own = [...paths];
  const comment = readComments();
  const schemas = new Schemas(comment);
  const plain = plainAddresses(own);
  const services = [...new Set(plain.map(({ method }) => method.parent))];
  const names = services.map(({ name }) => name);
  const routes: Record<string, Schema> = {};
  for (const { address, verb, path, method } of plain) {
    const rule = methodRule(method.name);
    const request = schemas.message(method.input, true);
    const operation = (id: string, hasBody: boolean): Schema => ({
      operationId: id,
      summary: `${method.name} (${id === method.name ? 'plain' : 'Connect'})`,
      description: `${comment(method)} ${scopeInWords(path)}`,
      tags: [method.parent.name],
      ...securityOf(path),
      parameters: HEADERS,
      ...(hasBody && {
        requestBody: {
          required: true,
          content: { [JSON_TYPE]: { schema: rule ? { allOf: [request, rule] } : request } },
        },
      }),
      responses: {
        200: {
          description: comment(method.output) || 'The answer.',
          content: { [JSON_TYPE]: { schema: schemas.message(method.output, false) } },
        },
        ...ERRORS,
      },
    });
    routes[address] = { [verb.toLowerCase()]: operation(method.name, verb === 'POST') };
    routes[path] = { post: operation(`${method.parent.name}_${method.name}`, true) };
  }
  const stream = streamedSearch(own);
  if (stream) routes[SEARCH_STREAM_PATH] = { post: searchStreamOperation(stream, schemas, comment) };
  return {
    openapi: '3.1.0',
    info: {
      title: `scalingnote ${names.join(', ')}`,
      version: packageVersion,
      description: ABOUT,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/', description: 'The service that served this document.' }],
    security: [...Object.keys(SECURITY_SCHEMES).map((name) => ({ [name]: [] })), {}],
    tags: services.map((one) => ({ name: one.name, description: comment(one) })),
    paths: routes,
    components: {
      securitySchemes: SECURITY_SCHEMES,
      schemas: { ...schemas.components, Error: ERROR },
      responses: {
        Refused: refusal(
          'The request can\u2019t be served as it is. The error says what to change, or when to come again.',
        ),
        Failed: refusal('The service, or what it needs, failed. The error says whether to come again.'),
      },
    },
  };
}

/** The method that {@link SEARCH_STREAM_PATH} stands for, where the service has it. */
function streamedSearch(paths: readonly string[]): DescMethod | undefined {
  const name = 'scalingnote.v1.QueryService';
  if (!paths.includes(`/${name}/SearchStream`)) return undefined;
  return registry.getService(name)?.method['searchStream'];
}

function searchStreamOperation(method: DescMethod, schemas: Schemas, comment: Comments): Schema {
  const { fields } = method.output;
  const of = (name: string): DescMessage => fields.find((field) => field.name === name)!.message!;
  return {
    operationId: 'SearchStream',
    summary: 'SearchStream (plain)',
    description:
      `${comment(method)} Here each query is a request of its own, and those of one session are the stream. An error of ` +
      `a query is the error of its request. ${scopeInWords(pathOf(method))}`,
    ...securityOf(pathOf(method)),
    tags: [method.parent.name],
    parameters: [
      {
        name: 'session',
        in: 'query',
        required: true,
        description: 'Names the session: a random UUID for each search box, for example.',
        schema: { type: 'string', pattern: SESSION_NAME.source },
      },
      ...HEADERS,
    ],
    requestBody: {
      required: true,
      content: { [JSON_TYPE]: { schema: schemas.message(method.input, true) } },
    },
    responses: {
      200: {
        description: 'The answer to this query: its result, or the newer query that superseded it.',
        content: {
          [JSON_TYPE]: {
            schema: {
              type: 'object',
              required: ['sequence'],
              properties: {
                sequence: { type: 'string', description: 'The number of the query.' },
                result: schemas.message(of('result'), false),
                superseded: schemas.message(of('superseded'), false),
              },
              oneOf: [{ required: ['result'] }, { required: ['superseded'] }],
            },
          },
          'text/event-stream': {
            schema: {
              type: 'string',
              description:
                'For `accept: text/event-stream`: one event `result`, `superseded` or `error`, whose id is the sequence ' +
                'and whose data is the JSON of the answer or of the error.',
            },
          },
        },
      },
      ...ERRORS,
    },
  };
}

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

const ERRORS = {
  '4XX': { $ref: '#/components/responses/Refused' },
  '5XX': { $ref: '#/components/responses/Failed' },
};

function refusal(description: string): Schema {
  return { description, content: { [JSON_TYPE]: { schema: reference('Error') } } };
}
