import type { Context, MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type * as z from 'zod';
import { parseExactly } from '../../../clients/exact-json.ts';
import { badRequest, HttpError } from './errors.ts';
import { unknownName } from './unknown-name.ts';

/** A search with a filter of hundreds of values is far below this. */
const DEFAULT_MAX_BYTES = 64 * 1024;

/**
 * Rejects bodies of other media types, and larger ones. Every route that takes a body needs this: a page of another site
 * can send a form, as text/plain for example, without asking the server first.
 */
export function takes(types = ['application/json'], maxBytes = DEFAULT_MAX_BYTES): MiddlewareHandler {
  const limit = bodyLimit({
    maxSize: maxBytes,
    onError: ({ req }) => {
      throw new HttpError(413, 'BODY_TOO_LARGE', `${req.path} takes bodies of at most ${maxBytes} bytes`);
    },
  });
  return (context, next) => {
    const type = context.req.header('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
    if (types.includes(type)) return limit(context, next);
    throw new HttpError(415, 'MEDIA_TYPE_NOT_SUPPORTED', `${context.req.path} takes ${types.join(' or ')}`);
  };
}

/** Parses and checks a JSON body. @throws {HttpError} 400, naming the field */
export async function readJson<Schema extends z.ZodObject>(
  { req }: Context,
  schema: Schema,
): Promise<z.infer<Schema>> {
  const value = parsed(await req.text());
  const checked = schema.safeParse(value);
  if (checked.success) return checked.data;
  const { issues } = checked.error;
  // A name that is spelt wrong is why another one is missing.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  if (issue?.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    throw badRequest([...issue.path, key].join('.'), unknownName(key, Object.keys(schema.shape)));
  }
  throw badRequest(issue?.path.join('.') || 'body', issue?.message ?? 'does not match the schema');
}

/** @throws {HttpError} for what is no JSON, and for what reading it would change: a key that comes twice */
function parsed(text: string): unknown {
  try {
    return parseExactly(text);
  } catch (error) {
    const { message } = error as Error;
    throw badRequest('body', error instanceof SyntaxError ? `is not JSON: ${message}` : message);
  }
}
